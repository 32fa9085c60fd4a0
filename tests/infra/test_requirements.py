"""The pins: exact, complete for what the code imports, with checksums, and what the tests really ran on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.infra.repository import ROOT, files, name

LOCKS = files("*.lock", ".ci/*.lock", ".ci/*/*.lock")
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


# --- locks ------------------------------------------------------------------------------------------------------------


def locked(lock: Path) -> dict[str, tuple[Requirement, set[str]]]:
    """The packages of a lock by their normalised names, each with the checksums of its files."""
    found = {}
    for entry in re.findall(r"^[^\s#].*\n(?: .*\n)*", lock.read_text(), re.M):
        requirement = Requirement(entry.split(" \\\n")[0])
        found[normalised(requirement.name)] = (requirement, set(re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", entry)))
    return found


def pinned_by(lock: Path) -> dict[str, str]:
    """What the lock's .txt pins, with what it includes; without extras."""
    text = re.sub(r"\[.*\]", "", lock.with_suffix(".txt").read_text())
    included = [pinned_by(lock.with_name(name).with_suffix(".lock")) for name in re.findall(r"^-r (\S+)$", text, re.M)]
    own = {normalised(match[1]): match[2] for match in re.finditer(rf"^{PIN.pattern}$", text, re.M)}
    return {name: version for pins in (*included, own) for name, version in pins.items()}


def test_all_that_a_machine_installs_has_a_lock() -> None:
    pinned = {
        path
        for path in files("*.txt", ".ci/*.txt", ".ci/*/*.txt")
        if re.search(rf"^{PIN.pattern}$", re.sub(r"\[.*\]", "", path.read_text()), re.M)
    }
    by_hand = {ROOT / f"bench/opponents/requirements-{name}.txt" for name in ("bentoml", "fastapi")}
    assert {path.with_suffix(".lock") for path in pinned - by_hand} == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_a_lock_has_what_its_file_pins_and_a_checksum_of_each(lock: Path) -> None:
    """`.ci/locks` renews it."""
    packages = locked(lock)
    assert {package: str(packages[package][0].specifier) for package in pinned_by(lock)} == {
        package: f"=={version}" for package, version in pinned_by(lock).items()
    }
    assert not [package for package, (_, checksums) in packages.items() if not checksums]


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt", "requirements-clients.txt"])
def test_the_file_pins_all_that_its_lock_brings_to_this_system(file: str) -> None:
    lock = (ROOT / file).with_suffix(".lock")
    here = {
        package
        for package, (requirement, _) in locked(lock).items()
        if requirement.marker is None
        or requirement.marker.evaluate({"python_version": "3.11", "sys_platform": "linux"})
    }
    assert here <= set(pinned_by(lock))


@pytest.mark.parametrize("other", ["dev", "boosting", "mlflow"])
def test_what_is_installed_beside_each_other_is_the_same_version_with_the_same_files(other: str) -> None:
    runtime, more = locked(ROOT / "requirements.lock"), locked(ROOT / f"requirements-{other}.lock")
    both = set(runtime) & set(more)
    assert both
    assert {package: more[package] for package in both} == {package: runtime[package] for package in both}


def part_of(lock: Path, names: str) -> subprocess.CompletedProcess[str]:
    """What docker/locked.py prints of the lock."""
    command = [sys.executable, str(ROOT / "docker/locked.py"), str(lock)]
    return subprocess.run(command, input=names, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("names", "entries"),
    [
        ("leaf", ["leaf"]),
        ("Top.Of_All # a comment\n", ["leaf", "middle", "top-of-all"]),
        ("middle other", ["leaf", "middle", "other"]),
    ],
)
def test_a_part_of_a_lock_has_what_its_packages_bring_in(tmp_path: Path, names: str, entries: list[str]) -> None:
    brought_by = {"leaf": "\n    #   -r x.txt\n    #   middle", "middle": " top-of-all", "other": " -r x.txt"}
    lock = tmp_path / "x.lock"
    lock.write_text(
        "# a header\n"
        + "".join(f"{n}==1 \\\n    --hash=sha256:{n}\n    # via{v}\n" for n, v in brought_by.items())
        + "top-of-all==1 \\\n    --hash=sha256:top\n    # via -r x.txt\n"
    )
    printed = part_of(lock, names).stdout
    assert re.findall(r"^(\S+)==1 \\\n    --hash=\S+$", printed, re.M) == entries
    assert "#" not in printed


def test_a_package_that_the_lock_does_not_have_is_refused() -> None:
    result = part_of(ROOT / "requirements.lock", "flask nothing-of-the-kind")
    assert result.returncode == 1
    assert result.stderr.endswith("requirements.lock does not have nothing-of-the-kind\n")


@pytest.mark.parametrize("image", ["api", "ui"])
def test_an_image_gets_all_that_its_packages_need_here(image: str) -> None:
    """By what the installed packages themselves say that they need."""
    names = (ROOT / f"docker/packages-{image}.txt").read_text()
    entries = {
        normalised(found) for found in re.findall(r"^(\S+)==", part_of(ROOT / "requirements.lock", names).stdout, re.M)
    }
    for package in entries:
        needs = [Requirement(each) for each in metadata.requires(package) or []]
        missing = {
            normalised(each.name) for each in needs if not each.marker or each.marker.evaluate({"extra": ""})
        } - entries
        assert not missing, f"{package} needs {missing}"


def test_nothing_is_installed_without_checksums() -> None:
    scripts = files("*.sh", ".ci/*", ".ci/*/run", "docker/Dockerfile.*")
    commands = [
        (name(path), command)
        for path in scripts
        for command in re.findall(
            r"^(?!#).*(?:pip\S*|npm) (?:install|ci) .*(?:\n.*-r .*)?", path.read_text().replace("\\\n", " "), re.M
        )
    ]
    assert len(commands) >= 8
    harmless = ("--require-hashes", "npm ci", 'npm install --prefix "${NODE%/*}" --package-lock-only', "--no-index")
    assert not [each for each in commands if not any(word in each[1] for word in harmless)]
