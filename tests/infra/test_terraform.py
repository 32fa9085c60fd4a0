"""terraform/: formatted, valid for the real provider, its own tests green, its scanner silent, its README complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.repository import ROOT
from tests.infra.terraform_runs import COMMAND, module_copy, terraform

README = ROOT / "terraform" / "README.md"
MODULE = sorted((ROOT / "terraform").glob("*.tf"))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return module_copy(tmp_path_factory.mktemp("terraform"))


def variables_of_the_module() -> dict[str, str]:
    """The variables of variables.tf with the text of their blocks."""
    text = (ROOT / "terraform" / "variables.tf").read_text()
    return dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.M | re.S))


def readme_rows() -> dict[str, list[str]]:
    """The rows of the README's tables: name, and the cells behind it."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README.read_text(), re.M)
    return {name: cells.split(" | ") for name, cells in rows}


def test_it_is_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed: the format of terraform/ was not checked")
    result = terraform(ROOT / "terraform", "fmt", "-check", "-recursive", "-diff")
    assert result.returncode == 0, result.stdout


def test_the_real_provider_takes_it(module: Path) -> None:
    result = terraform(module, "validate", "-no-color")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
def test_what_must_not_be_is_not(module: Path) -> None:
    result = terraform(module, "test", "-no-color")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Success! \d\d passed, 0 failed", result.stdout)


@pytest.mark.e2e
def test_the_scanner_finds_nothing() -> None:
    result = subprocess.run(
        [COMMAND, "checkov"], capture_output=True, text=True, env=os.environ | {"PYTHON": sys.executable}, timeout=600
    )
    if "could not install" in result.stderr:
        pytest.skip(f"checkov could not be installed, terraform/ was not scanned: {result.stderr[-200:]}")
    report = json.loads(result.stdout)
    assert "results" in report, f"nothing was scanned: {report}"
    assert [check["check_id"] for check in report["results"]["failed_checks"]] == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 30


@pytest.mark.parametrize("name", ["tests", "a folder", "docker"])
def test_the_scanner_gets_the_module_without_its_tests_wherever_the_clone_lies(tmp_path: Path, name: str) -> None:
    """With a stand-in for checkov, which says what it is given."""
    clone, state = tmp_path / name / "clone", tmp_path / name / "cache/terraform"
    (clone / ".ci").mkdir(parents=True)
    for file in ("terraform", "checkov.lock"):
        shutil.copy(ROOT / ".ci" / file, clone / ".ci")
    shutil.copytree(ROOT / "terraform", clone / "terraform", ignore=shutil.ignore_patterns(".terraform"))
    (state / "checkov/bin").mkdir(parents=True)
    (state / "checkov/.pin").write_text(f"{hashlib.sha256((clone / '.ci/checkov.lock').read_bytes()).hexdigest()}  -\n")
    scanner = state / "checkov/bin/checkov"
    scanner.write_text('#!/bin/sh\necho "$*" | grep -c -e --skip-path\ncd "$2" && find . -name "*.tf*"\nexit 1\n')
    scanner.chmod(0o755)
    command, environment = [str(clone / ".ci/terraform"), "checkov"], os.environ | {"CI_CACHE": str(state.parent)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    skips, *given = result.stdout.split()
    assert result.returncode == 1, result.stderr  # the scanner's own status
    assert skips == "0"
    assert set(given) >= {f"./{path.name}" for path in MODULE}
    assert not [path for path in given if "/tests/" in path]


def test_every_skipped_check_has_a_reason() -> None:
    skips = [line for path in MODULE for line in path.read_text().splitlines() if "checkov:skip" in line]
    assert skips
    assert not [line for line in skips if not re.search(r"checkov:skip=CKV2?_AWS_\d+:.{20,}", line)]


@pytest.mark.parametrize("name", variables_of_the_module())
def test_a_variable_is_typed_and_described(name: str) -> None:
    block = variables_of_the_module()[name]
    assert re.search(r"^  type +=", block, re.M)
    assert re.search(r'^  description += ".{10,}"$', block, re.M)


def test_the_readme_has_every_variable_and_every_output_and_no_other() -> None:
    outputs = re.findall(r'^output "(\w+)"', (ROOT / "terraform" / "outputs.tf").read_text(), re.M)
    assert set(readme_rows()) == {*variables_of_the_module(), *outputs}


@pytest.mark.parametrize("name", variables_of_the_module())
def test_the_readme_states_the_default(name: str) -> None:
    default = re.search(r"^  default +=\s*(.*)$", variables_of_the_module()[name], re.M)
    stated = readme_rows()[name][0]
    assert stated == (f"`{default[1]}`" if default else "required")
