"""How tests share a machine: what starts first, how many workers there are, and what keeps out of a browser's way."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import workers
from tests.infra.repository import ROOT
from tests.waiting import consistently, eventually

BROWSER, DOCKER = {"e2e", "browser"}, {"e2e", "docker"}


def marks(file: str) -> set[str]:
    """The names of the marks in a file of tests."""
    return set(re.findall(r"pytest\.mark\.(\w+)", (ROOT / file).read_text()))


@pytest.mark.parametrize("file", workers.STARTED_FIRST)
def test_a_file_that_starts_first_exists(file: str) -> None:
    assert (ROOT / file).exists()


def test_what_starts_before_the_last_browser_needs_no_container() -> None:
    browsers = [at for at, file in enumerate(workers.STARTED_FIRST) if "browser" in marks(file)]
    assert len(browsers) == sum("browser" in marks(str(path)) for path in (ROOT / "tests/e2e").glob("test_*.py"))
    assert not any("docker" in marks(file) for file in workers.STARTED_FIRST[: browsers[-1]])


def test_files_with_servers_come_before_the_rest() -> None:
    files = ["tests/unit/test_a.py", "tests/e2e/test_a.py", *reversed(workers.STARTED_FIRST)]
    in_order = [*workers.STARTED_FIRST, "tests/e2e/test_a.py", "tests/unit/test_a.py"]
    assert sorted((f"{file}::test" for file in files), key=workers.rank) == [f"{file}::test" for file in in_order]


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_each_file_is_in_one_part_and_long_ones_are_dealt_out(count: int) -> None:
    files = {f"tests/unit/test_{number}.py" for number in range(50)} | {*workers.STARTED_FIRST}
    need = {file: file in workers.STARTED_FIRST and "docker" in marks(file) for file in files}
    parts = [workers.part_of(need, f"{number}-of-{count}") for number in range(1, count + 1)]
    assert sorted(file for part in parts for file in part) == sorted(files)
    with_containers = [part for part in parts if any(need[file] for file in part)]
    assert with_containers == parts[: max(1, count // 2)]
    for needed, own in ((True, with_containers), (False, parts[count // 2 :])):
        counts = [sum(need[file] is needed for file in part) for part in own]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("part", ["0-of-3", "4-of-3", "3", "1-of-0", "a-of-3", "1-of-b", "-1-of-3"])
def test_what_is_no_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="no such part"):
        workers.part_of({"tests/test_a.py": False}, part)


def test_a_part_of_the_tests_runs_its_files_only() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "tests/unit/routing"]
    command += ["tests/infra/test_edge_tls.py"]

    def collect(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120)

    def files(*options: str) -> set[str]:
        return {line.partition(":")[0] for line in collect(*options).stdout.splitlines() if "::" in line}

    first, second = files("--part", "1-of-2"), files("--part", "2-of-2")
    assert first == {"tests/infra/test_edge_tls.py"}  # with containers
    assert first | second == files()
    assert not first & second
    refused = collect("--part", "3-of-2")
    assert (refused.returncode, refused.stderr.strip()) == (4, "ERROR: --part 3-of-2: there is no such part")


@pytest.mark.parametrize(("cores", "expected"), [(1, 2), (2, 3), (4, 5), (64, 9)])
def test_one_worker_more_than_cores(cores: int, expected: int) -> None:
    assert workers.count(cores) == expected


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network lock that no real browser holds."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("own_lock")
@pytest.mark.parametrize("second", [BROWSER, DOCKER])
def test_neither_containers_nor_another_browser_start_beside_a_browser(second: set[str]) -> None:
    inside: list[str] = []

    def start() -> None:
        with workers.host_network(second):
            inside.append("second")

    with ThreadPoolExecutor(1) as pool:
        with workers.host_network(BROWSER):
            pool.submit(start)
            consistently(lambda: inside == [], for_s=0.2)
        eventually(lambda: inside == ["second"], 10)


@pytest.mark.usefixtures("own_lock")
@pytest.mark.parametrize(("first", "second"), [(DOCKER, DOCKER), (BROWSER, {"e2e"})])
def test_containers_run_side_by_side_and_other_servers_beside_a_browser(first: set[str], second: set[str]) -> None:
    with workers.host_network(first), workers.host_network(second):
        pass


def report(file: str, when: str, duration_s: float, processor_s: float | None = None) -> pytest.TestReport:
    properties = [] if processor_s is None else [(workers.PROCESSOR_S, processor_s)]
    options = {"keywords": {}, "outcome": "passed", "longrepr": None, "when": when}
    return pytest.TestReport(
        f"{file}::test", (file, 0, "test"), duration=duration_s, user_properties=properties, **options
    )


def test_the_files_that_took_longest_are_listed_with_their_fixtures_and_their_processor_time() -> None:
    reports = [report("a.py", "call", 1), report("a.py", "teardown", 0, 0.5), report("c.py", "call", 2)]
    reports += [report("b.py", "setup", 4), report("b.py", "call", 3), report("b.py", "teardown", 5, 2)]
    assert [line.split() for line in workers.slowest_files(reports, 2)] == [
        ["12", "s", "2", "s", "b.py"],
        ["2", "s", "0", "s", "c.py"],
        ["15", "s", "2", "s", "all", "3", "files"],
    ]
