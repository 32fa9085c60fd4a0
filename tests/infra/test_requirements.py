"""The pins: exact, complete for what the code imports, and what the tests really ran on."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest

from tests.infra.repository import ROOT, files

PIN = re.compile(r"([A-Za-z0-9_.-]+)==([0-9][A-Za-z0-9.!]*)")
DISTRIBUTION_OF = {
    "sklearn": "scikit-learn",
    "google": "protobuf",
    "yaml": "pyyaml",
    "xdist": "pytest-xdist",
    "xgboost": "xgboost-cpu",
}
NOT_ON_ALL_SYSTEMS = {"watchdog"}


def pins(file: str) -> dict[str, str]:
    """Normalised package names with their versions; anything but a pin, a comment or an include is an error."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    matches = [PIN.fullmatch(line) for line in lines]
    assert all(matches), f"not an exact pin in {file}: {lines[matches.index(None)]}"
    return {normalised(match[1]): match[2] for match in matches if match}


def normalised(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def imported(pattern: str) -> set[str]:
    """The third-party packages that files of the pattern import, at the top or inside functions."""
    names = set()
    for path in files(pattern):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"app", "tests", "bench", "scripts"}
    return {normalised(DISTRIBUTION_OF.get(top, top)) for top in tops}


def test_what_the_app_imports_is_pinned() -> None:
    assert imported("app/**/*.py") <= set(pins("requirements.txt"))


def test_what_the_tests_import_is_pinned() -> None:
    assert imported("tests/**/*.py") <= set(pins("requirements.txt")) | set(pins("requirements-dev.txt"))


def test_no_package_is_pinned_twice() -> None:
    assert not set(pins("requirements.txt")) & set(pins("requirements-dev.txt"))


def test_the_boosting_libraries_are_tested_at_the_versions_of_their_extra() -> None:
    extra, development = pins("requirements-boosting.txt"), pins("requirements-dev.txt")
    assert {name: development[name] for name in extra if name in development} == {
        name: extra[name] for name in ("lightgbm", "onnxmltools", "xgboost-cpu")
    }
    assert not set(extra) & set(pins("requirements.txt"))


def test_the_development_file_brings_the_other() -> None:
    assert "\n-r requirements.txt\n" in (ROOT / "requirements-dev.txt").read_text()


def test_the_command_is_built_with_the_pinned_setuptools() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert build["requires"] == [f"setuptools=={pins('requirements.txt')['setuptools']}"]


@pytest.mark.parametrize(
    ("package", "version"), [*pins("requirements.txt").items(), *pins("requirements-dev.txt").items()]
)
def test_the_tests_run_on_the_pinned_version(package: str, version: str) -> None:
    if package in NOT_ON_ALL_SYSTEMS and sys.platform != "linux":
        pytest.skip(f"{package} is not installed on {sys.platform}")
    assert metadata.version(package) == version
