"""The scripts: clean, strict, and plain about wrong use."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT, name, scripts

SOURCED = [path for path in scripts() if path.read_text().startswith("# shellcheck shell=bash\n")]
# A script for an image without bash begins with #!/bin/sh; shellcheck is what guards it.
FOR_PLAIN_SH = [path for path in scripts() if path.read_text().startswith("#!/bin/sh\n")]
COMMANDS = [path for path in scripts() if path not in SOURCED and path not in FOR_PLAIN_SH]
FOR_PEOPLE = ["install.sh", "run_demo.sh", "run_tests.sh"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60)


def test_shellcheck_has_no_complaint() -> None:
    result = run(str(ROOT / ".venv/bin/shellcheck"), "-x", *map(name, scripts()))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", COMMANDS, ids=name)
def test_a_script_is_executable_and_strict(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()


@pytest.mark.parametrize("script", COMMANDS, ids=name)
def test_a_script_begins_in_its_main_function(script: Path) -> None:
    assert script.read_text().endswith('\nmain "$@"\n')


@pytest.mark.parametrize("script", FOR_PEOPLE)
def test_help_names_every_option_that_the_script_takes(script: str) -> None:
    taken = set(
        re.findall(r"^      (?:.* \| )?(--[a-z-]+)(?: \| -\w)?(?: \| --[a-z-]+)?\)", (ROOT / script).read_text(), re.M)
    )
    result = run(f"./{script}", "--help")
    assert result.returncode == 0
    assert taken
    assert not [option for option in taken if option not in result.stdout]


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--requests"], ["--requests", "many"], ["--requests", "-1"]])
def test_the_demo_refuses_wrong_arguments_before_it_does_anything(arguments: list[str]) -> None:
    result = run("./run_demo.sh", *arguments)
    assert result.returncode == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_the_installer_refuses_an_unknown_option() -> None:
    result = run("./install.sh", "--nonsense")
    assert result.returncode == 2
    assert "unknown option: --nonsense" in result.stderr


@pytest.mark.parametrize(("away", "stays"), [("0 0 1 1 0 0", True), ("0 1 1 1 1 1 1 1 1", False)])
def test_the_demo_outlives_a_container_that_restarts_and_no_other(tmp_path: Path, away: str, stays: bool) -> None:
    """`away`: whether the edge is away (1) each time it is looked at, with a second between and five of patience."""
    script = f"""
    say() {{ :; }}
    fail() {{ echo "$*"; exit 1; }}
    sleep() {{ :; }}
    . {ROOT}/scripts/docker_demo.sh
    GONE_SECONDS=5
    looks=({away} end)
    stack_runs() {{
      state="${{looks[0]}}"
      looks=("${{looks[@]:1}}")
      [ "$state" != end ] || {{ echo stays; exit 0; }}
      [ "$state" = 0 ]
    }}
    wait() {{ SECONDS=$((SECONDS + 1)); }}
    stay_with_stack
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
    expected = "stays" if stays else "the edge has not run for 5 s: it ended, or the stack was stopped elsewhere"
    assert done.stdout.strip() == expected
