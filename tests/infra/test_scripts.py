"""The scripts: clean, strict, and plain about wrong use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
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


BARE = "bash cat dirname mkdir"


@pytest.fixture(params=["a folder", "tests", "docker"])
def fresh_host(request: pytest.FixtureRequest, tmp_path: Path):
    """Runs run_tests.sh of a clone in a folder of this name, with few tools; lint and pytest are stand-ins."""
    clone, tools = tmp_path / request.param / "clone", tmp_path / "bin"
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".ci").mkdir()
    tools.mkdir()
    for tool in BARE.split():
        (tools / tool).symlink_to(shutil.which(tool) or "missing")
    shutil.copy(ROOT / "run_tests.sh", clone)
    stand_ins = (clone / "install.sh", clone / ".ci/run", clone / ".venv/bin/python")
    for path in (*stand_ins, *(clone / ".venv/bin" / lint for lint in ("ruff", "mypy", "lint-imports", "shellcheck"))):
        path.write_text(f'#!/bin/bash\necho "{path.name} $*"\n')
        path.chmod(0o755)

    def tested(*arguments: str, **tools_here: str) -> subprocess.CompletedProcess[str]:
        for name_of_tool, body in tools_here.items():
            (tools / name_of_tool).write_text(f"#!/bin/bash\n{body}\n")
            (tools / name_of_tool).chmod(0o755)
        command, given = [str(clone / "run_tests.sh"), *arguments], {"PATH": str(tools), "HOME": str(tmp_path)}
        done = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 60}
        return subprocess.run(command, env=given, cwd=tmp_path, **done)

    return tested


def test_a_host_without_tools_passes_and_is_told_what_was_not_checked(fresh_host) -> None:
    result = fresh_host()
    assert result.returncode == 0, result.stderr
    assert "-m not docker and not browser " in result.stdout
    _, listed = result.stdout.split("== NOT CHECKED here\n")
    for want in ("containers", "browser", "promtool", "amtool", "haproxy", "wrk", "groovy", "node", "terraform"):
        assert re.search(rf"^  - .*{want}.*: \S", listed, re.M), want


@pytest.mark.parametrize("tool", ["promtool", "amtool", "haproxy", "wrk", "groovy", "node", "terraform", "docker"])
def test_a_tool_that_is_here_is_not_listed(fresh_host, tool: str) -> None:
    body = "echo amtool, version 0.28.1" if tool == "amtool" else "exit 0"
    listed = fresh_host(**{tool: body}).stdout.split("== NOT CHECKED here\n")[1]
    assert ("no Docker engine" if tool == "docker" else f"for want of {tool}") not in listed


def test_a_tool_that_is_too_old_for_its_tests_is_listed(fresh_host) -> None:
    """Debian 12 has it, and the tests of alerts are skipped."""
    assert "for want of amtool 0.26" in fresh_host(amtool="echo amtool, version 0.25.0").stdout


def test_all_is_ci_and_is_asked_for_first(fresh_host) -> None:
    refused = fresh_host("--all")
    assert (refused.returncode, "run \n" in refused.stdout) == (2, False)
    assert "--yes does it without asking" in refused.stderr
    assert fresh_host("--all", "--yes").stdout == "run \n"


@pytest.mark.parametrize("narrower", ["--fast", "--tests-only", "-x"])
def test_all_leaves_nothing_out(fresh_host, narrower: str) -> None:
    result = fresh_host("--all", "--yes", narrower)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--all leaves nothing out" in result.stderr


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
    . "{ROOT}/scripts/docker_demo.sh"
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


@pytest.fixture
def first_models(tmp_path: Path):
    """Runs docker/first_models.sh where the command line says this of the registry; None: it cannot read it."""

    def run_it(published: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        python = tmp_path / "python"
        says = "echo 'error: the registry cannot be read' >&2; exit 1" if published is None else f"echo '{published}'"
        python.write_text(
            f'#!/bin/bash\ncase "$*" in "-I "*) exec {sys.executable} "$@" ;; "-m app train") echo trains; exit 0 ;;\n'
            f"*) {says} ;; esac\n"
        )
        python.chmod(0o755)
        command = [str(ROOT / "docker/first_models.sh"), *arguments]
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | path, timeout=30)

    return run_it


def test_the_first_models_are_trained_where_there_is_none(first_models) -> None:
    assert first_models('{"versions": []}').stdout == "trains\n"
    assert "nothing to train" in first_models('{"versions": ["v1"]}').stdout
    assert first_models('{"versions": ["v1"]}', "--wait").stdout == ""


@pytest.mark.parametrize("arguments", [(), ("--wait",)])
def test_a_registry_that_cannot_be_read_is_no_full_one(first_models, arguments) -> None:
    failed = first_models(None, *arguments)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "error: the registry cannot be read\n"
