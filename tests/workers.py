"""How tests share a machine, or several: the order in which files start, the number of workers, the host's network, the
time that each file takes of it, and the files of a part.

pytest-xdist hands out whole files (`--dist loadfile` in pyproject.toml), because costly fixtures live as long as their
module, and in the order of collection (`--no-loadscope-reorder`). `--dist loadgroup` is no alternative: with pytest 9.2
and xdist 3.8 it groups nothing (pytest-dev/pytest-xdist#1386), and where it works it appends the group to the names of
tests, by which `--last-failed` in .ci/run would not find them.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from tests.turns import in_turn

PROCESSOR_S = "processor_s"  # the property of a test's last report
STARTED_FIRST = (
    # A browser keeps containers and other browsers from starting. So what runs beside it needs none, and lasts until
    # the worker of one browser takes the next.
    "tests/e2e/test_ui_browser.py",
    "tests/e2e/test_clients.py",
    "tests/infra/test_terraform_life.py",
    "tests/e2e/test_ui_wide.py",
    "tests/e2e/test_nightly.py",
    "tests/e2e/test_drift.py",
    "tests/e2e/test_docs_page.py",
    "tests/e2e/test_ui_idle.py",
    # More than a minute each on two cores, the longest first, so that none is left to run alone at the end.
    "tests/e2e/test_jenkins_pipeline.py",
    "tests/e2e/test_deploy_rolls.py",
    "tests/e2e/test_compose_stack.py",
    "tests/e2e/test_user_data.py",
    "tests/e2e/test_installer_hosts.py",
    "tests/e2e/test_deploy_host.py",
    "tests/e2e/test_deploy_taking_over.py",
    "tests/e2e/test_two_hosts_apart.py",
    "tests/e2e/test_postgres_stack.py",
    "tests/e2e/test_compose_alerts.py",
    "tests/e2e/test_compose_demo.py",
    "tests/e2e/test_restore_drill.py",
    "tests/e2e/test_runbook_commands.py",
)


def rank(test_id: str) -> tuple[int, bool]:
    """The sort key of a test: files that start first, then others with real servers, then the rest."""
    file = test_id.split("::", 1)[0]
    at = STARTED_FIRST.index(file) if file in STARTED_FIRST else len(STARTED_FIRST)
    return at, not file.startswith("tests/e2e/")


def part_of(files: Mapping[str, bool], part: str) -> set[str]:
    """The files of a part of the tests: 2-of-6 is the second of six, each of which has a machine of its own.

    `files` says of each file whether it needs containers: those are of the first half of the parts, so that the other
    machines need no engine and no images. They are dealt out in the order in which they start, there and back again:
    the long ones come first, and so parts take about as long. Raises `ValueError` where there is no such part.
    """
    number, _, count = part.partition("-of-")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"{part}: there is no such part")
    half = int(count) // 2
    of_containers, of_others = range(1, half + 1), range(half + 1, int(count) + 1)
    found: set[str] = set()
    for hands, needs in ((of_containers or of_others, True), (of_others, False)):
        own = sorted(
            (file for file, needs_them in files.items() if needs_them is needs), key=lambda file: (rank(file), file)
        )
        dealt = zip(own, cycle([*hands, *reversed(hands)]), strict=False)
        found |= {file for file, hand in dealt if hand == int(number)}
    return found


def count(cores: int | None = None) -> int:
    """How many workers a machine bears: one a core, and one more because most tests wait; at most nine."""
    return min(cores or os.cpu_count() or 1, 8) + 1


@contextmanager
def host_network(marks: set[str]) -> Iterator[None]:
    """Keeps browsers and containers apart while tests with these marks run.

    Starting or stopping a container changes the host's network, and Chromium then drops what it is loading
    (ERR_NETWORK_CHANGED). A browser therefore has the network alone; containers share it.
    """
    if not marks & {"browser", "docker"}:
        yield
        return
    with in_turn(Path(tempfile.gettempdir()) / f"bakeoff-network-{os.getuid()}.lock", shared="browser" not in marks):
        yield


def processor_s() -> float:
    """The processor time of this process and of those it has waited for, in seconds; containers are not among them."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def slowest_files(reports: Iterable[pytest.TestReport], count: int = 40) -> list[str]:
    """A line for each of the files that took longest, fixtures included: seconds, those of the processor, and name; the
    last line is for all files."""
    wall_s: dict[str, float] = defaultdict(float)
    of_processor_s: dict[str, float] = defaultdict(float)
    for report in reports:
        file = report.nodeid.split("::", 1)[0]
        wall_s[file] += report.duration
        of_processor_s[file] += dict(report.user_properties).get(PROCESSOR_S, 0.0) if report.when == "teardown" else 0
    longest = sorted(wall_s, key=wall_s.__getitem__, reverse=True)[:count]
    times = [(wall_s[file], of_processor_s[file], file) for file in longest]
    times.append((sum(wall_s.values()), sum(of_processor_s.values()), f"all {len(wall_s)} files"))
    return [f"{wall:6.0f} s {processor:6.0f} s  {file}" for wall, processor, file in times]
