"""How the tests are shared out among workers that run side by side (pytest-xdist).

A file goes to one worker as a whole, for most costly fixtures live as long as their module. The workers are not alike.
All but one begin with what takes longest: stacks and hosts, for which one mostly waits. The last one begins with what
computes, and helps the others when that is done. So no more stacks start at once than there are cores, and waiting
leaves no core idle.

A browser comes before all of that: whoever starts or stops a container changes this host's network, and Chromium then
drops what it is loading (ERR_NETWORK_CHANGED). Until it is done, the others do what needs no engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).parents[1]
BROWSER = "in a browser"
# What takes more than a minute on two cores, longest first.
LONGEST_FIRST = (
    "tests/e2e/test_jenkins_pipeline.py",
    "tests/e2e/test_deploy_rolls.py",
    "tests/e2e/test_user_data.py",
    "tests/e2e/test_installer_hosts.py",
    "tests/e2e/test_deploy_host.py",
    "tests/e2e/test_compose_stack.py",
    "tests/e2e/test_deploy_taking_over.py",
    "tests/e2e/test_postgres_stack.py",
    "tests/e2e/test_compose_alerts.py",
    "tests/e2e/test_compose_demo.py",
)
_KIND_OF_COMPOSE = re.compile(r"\[(docker[- ]compose)\b")


def file_of(test_id: str) -> str:
    """The path of a test's file from the repository's top."""
    return test_id.split("::", 1)[0]


def group(test_id: str) -> str:
    """What goes to one worker as a whole: a file, its part for one kind of Compose, or all that needs a browser."""
    file = file_of(test_id)
    kind = _KIND_OF_COMPOSE.search(test_id)
    if has_mark(file, "browser"):
        return BROWSER
    return f"{file} {kind[1]}" if kind else file


@cache
def has_mark(file: str, name: str) -> bool:
    """Whether a file of tests has such a mark somewhere; the one that shares out sees no more than names of tests."""
    path = ROOT / file
    return path.is_file() and f"pytest.mark.{name}" in path.read_text()


def needs_engine(group_name: str) -> bool:
    """Whether a group may start containers."""
    return has_mark(group_name.split(" docker", 1)[0], "docker")


def chosen(waiting: Iterable[str], browsing: bool) -> str:
    """The first group that may begin now; beside a browser those that start containers wait, as long as others do."""
    groups = list(waiting)
    return next((each for each in groups if not (browsing and needs_engine(each))), groups[0])


def rank(test_id: str) -> tuple[int, str]:
    """The order of the tests: a browser's, the longest files, others that start servers, all else; each in its own."""
    file = file_of(test_id)
    if has_mark(file, "browser"):
        return -1, ""
    if file in LONGEST_FIRST:
        return LONGEST_FIRST.index(file), ""
    return len(LONGEST_FIRST), "" if file.startswith("tests/e2e/") else "then"


def workers(cores: int | None = None) -> int:
    """How many workers a machine bears: one a core, and one more because most tests wait; no more than nine."""
    return min(cores or os.cpu_count() or 1, 8) + 1


class SharingOut(LoadScopeScheduling):
    """Gives a worker the next group from its end of the order."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = reversed(self.workqueue) if node is self.nodes[-1] else self.workqueue
        self.workqueue.move_to_end(chosen(waiting, self._browsing()), last=False)
        super()._assign_work_unit(node)

    def _browsing(self) -> bool:
        units = (units.get(BROWSER, {}) for units in self.assigned_work.values())
        return not all(done for unit in units for done in unit.values())
