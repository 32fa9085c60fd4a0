"""CI's stages run beside each other, none hides another's output or failure, and a second try is reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

# Everything of .ci/run but its last line, and no change of folder.
FUNCTIONS = (ROOT / ".ci/run").read_text().replace('\ncd "$(dirname', '\n: "$(dirname').removesuffix('main "$@"\n')
STAGES = 'STAGES="$(mktemp -d)"; trap \'rm -r "$STAGES"\' EXIT\n'
# The real stages, replaced by ones that take no time.
QUICK = "prepare() { :; }\nlint() { echo linted; }\nall_tests() { echo tested; }\ndocker() { :; }\n"


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Carries out the script, which knows the functions of .ci/run, in the folder."""
    command = ["bash", "-c", FUNCTIONS + script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def suite_that_ends_with(folder: Path, *statuses: int) -> Path:
    """A run_tests.sh that ends with one status after the other, and the file that holds what it was called with."""
    (folder / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    script = 'echo "$*" >>calls\nstatus=$(head -n 1 statuses)\nsed -i 1d statuses\nexit "$status"\n'
    (folder / "run_tests.sh").write_text(f"#!/bin/sh\n{script}")
    (folder / "run_tests.sh").chmod(0o755)
    return folder / "calls"


def records_failures(folder: Path, *tries: list[str]) -> None:
    """Makes the suite of `suite_that_ends_with` record these failures as pytest does, one list for each try."""
    for number, names in enumerate(tries):
        (folder / f"failed.{number}").write_text(json.dumps(dict.fromkeys(names, True)))
    suite = folder / "run_tests.sh"
    kept = 'mkdir -p .pytest_cache/v/cache\nset -- failed.*\nmv "$1" .pytest_cache/v/cache/lastfailed\n'
    suite.write_text(suite.read_text().replace("status=$(", kept + "status=$(", 1))


def test_stages_that_run_together_keep_their_words_apart(tmp_path: Path) -> None:
    both = "begin one sh -c 'echo 1; sleep 0.2; echo 1'\nbegin two sh -c 'echo 2; echo 2 >&2'\nfinish one\nfinish two\n"
    assert bash(tmp_path, STAGES + both).stdout == "== one\n1\n1\n== two\n2\n2\n"


def test_a_stage_in_the_background_keeps_its_status(tmp_path: Path) -> None:
    result = bash(tmp_path, STAGES + 'begin one sh -c "exit 7"\nfinish one || echo "status $?"; cat "$STAGES/times"')
    assert "status 7\n" in result.stdout
    assert result.stdout.endswith(" s  one (status 7)\n")


def test_what_cannot_be_had_is_said_and_ends_nothing(tmp_path: Path) -> None:
    result = bash(tmp_path, f"{STAGES}attempt 'an engine' false\necho on")
    assert (result.returncode, result.stdout) == (0, "NOT AVAILABLE: an engine\non\n")


def test_a_package_that_the_archive_does_not_have_keeps_out_no_other(tmp_path: Path) -> None:
    fakes = 'missing_packages() { printf "%s\\n" wrk chromium npm; }\nas_root() { echo "$*" >>calls; }\n'
    result = bash(tmp_path, fakes + 'apt-cache() { [ "$2" != chromium ]; }\ninstall_tools')
    assert "Not in apt's archive: chromium" in result.stdout
    assert (tmp_path / "calls").read_text().splitlines()[-1].endswith("--no-install-recommends wrk npm")


@pytest.mark.parametrize(
    ("failure", "status"), [("", 0), ("lint() { return 1; }", 1), ("all_tests() { return 3; }", 3)]
)
def test_the_status_tells_what_failed(tmp_path: Path, failure: str, status: int) -> None:
    assert bash(tmp_path, f"{QUICK}{failure}\nmain").returncode == status


def test_all_is_shown_with_the_seconds_of_each_stage(tmp_path: Path) -> None:
    said = bash(tmp_path, f"{QUICK}main").stdout.splitlines()
    assert said[:3] == ["tested", "== lint", "linted"]
    assert said[-1].endswith(" s  lint")


def test_python_compiles_once_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    tested = f'all_tests() {{ "{sys.executable}" -c "import sys; print(sys.dont_write_bytecode)"; }}'
    assert bash(tmp_path, f"{QUICK}{tested}\nmain").stdout.startswith("False\n")


def test_what_failed_is_asked_once_more_and_that_is_said(tmp_path: Path) -> None:
    calls = suite_that_ends_with(tmp_path, 1, 0)
    result = bash(tmp_path, f"{STAGES}all_tests")
    assert result.returncode == 0
    assert "FAILED AT THE FIRST TRY" in result.stdout
    again = "--tests-only --last-failed --last-failed-no-failures none"
    assert calls.read_text().splitlines() == ["--tests-only", again]


@pytest.mark.parametrize("status", [0, 2, 5])
def test_nothing_else_is_asked_twice(tmp_path: Path, status: int) -> None:
    calls = suite_that_ends_with(tmp_path, status)
    assert bash(tmp_path, f"{STAGES}all_tests").returncode == status
    assert calls.read_text().splitlines() == ["--tests-only"]


def test_what_passed_only_at_the_second_try_is_listed_as_flaky_by_name(tmp_path: Path) -> None:
    flaky, broken = "tests/a.py::test_once[x y]", "tests/b.py::test_always"
    suite_that_ends_with(tmp_path, 1, 1)
    records_failures(tmp_path, [broken, flaky], [broken])
    said = bash(tmp_path, f"{STAGES}all_tests || list_flaky").stdout
    assert said.splitlines()[-2:] == ["== FLAKY (failed at the first try, passed at the second):", flaky]


def test_the_flaky_are_the_last_that_a_run_shows(tmp_path: Path) -> None:
    said = bash(tmp_path, f'{QUICK}all_tests() {{ echo tests/a.py::test_once >"$STAGES/flaky"; }}\nmain').stdout
    assert said.splitlines()[-1] == "tests/a.py::test_once"


def test_where_all_failed_again_nothing_is_flaky(tmp_path: Path) -> None:
    suite_that_ends_with(tmp_path, 1, 1)
    records_failures(tmp_path, ["tests/b.py::test_always"], ["tests/b.py::test_always"])
    assert "FLAKY" not in bash(tmp_path, f"{STAGES}all_tests || list_flaky").stdout


@pytest.mark.parametrize(
    ("part", "said", "passed_on"),
    [
        ("", ["== tests", "linted"], "--tests-only"),
        ("lint", ["linted"], None),
        ("2-of-3", ["== tests"], "--tests-only --part=2-of-3"),
    ],
)
def test_a_machine_runs_its_part(tmp_path: Path, part: str, said: list[str], passed_on: str | None) -> None:
    calls = suite_that_ends_with(tmp_path, 0)
    quick = QUICK.replace("all_tests", "all_others")
    result = bash(tmp_path, f"{quick}main {part and f'--part {part}'}")
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line in ("== tests", "linted")] == said
    assert (calls.read_text().strip() if calls.exists() else None) == passed_on


def test_a_machine_whose_part_needs_no_containers_prepares_none(tmp_path: Path) -> None:
    fakes = "install_tools() { :; }\nuse_uv() { :; }\ndocker_and_hosts() { echo containers; }\nlint() { :; }\n"
    fakes += 'attempt() { echo "has $1"; }\npackages_and_tools() { echo packages; }\nall_tests() { echo tested; }\n'
    prepared = {
        "": True,
        "1-of-1": True,
        "1-of-2": True,
        "2-of-2": False,
        "3-of-6": True,
        "4-of-6": False,
        "lint": False,
    }
    for part, containers in prepared.items():
        said = {*bash(tmp_path, f"{fakes}main {part and f'--part {part}'}").stdout.splitlines()}
        expected = {"packages", *["containers"][:containers], *["tested"][: part != "lint"]}
        assert said & {"packages", "containers", "tested"} == expected, part


@pytest.mark.parametrize(
    "options", ["--part", "--part 3-of-2", "--part 0-of-2", "--part tests", "--parts 1-of-2", "lint"]
)
def test_a_part_that_there_is_not_is_refused_with_the_usage(options: str) -> None:
    result = subprocess.run([ROOT / ".ci/run", *options.split()], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: .ci/run [--part lint|K-of-N]\n")
    assert result.stderr.splitlines()[-1].startswith(".ci/run: no such ")
