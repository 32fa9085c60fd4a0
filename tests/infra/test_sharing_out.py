"""How the tests are shared out among workers: what stays together, what comes first, and who begins where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import sharing_out
from tests.infra.repository import ROOT

BROWSED = "tests/e2e/test_ui_browser.py"
STACK = "tests/e2e/test_compose_stack.py"
FILES = [*sharing_out.LONGEST_FIRST[:2], "tests/e2e/test_serving.py", "tests/unit/test_settings.py"]


class Worker:
    """Takes what it is told to run."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="gw")
        self.told: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.told += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def shared_out(tests: list[str], workers: int) -> list[list[str]]:
    """What each worker is told to run at first."""
    settings: dict[str, Any] = {"tx": ["popen"] * workers, "verbose": 0}
    option = SimpleNamespace(loadscopereorder=False, debug=False)
    config = SimpleNamespace(option=option, getvalue=settings.get, getoption=settings.get)
    scheduler = sharing_out.SharingOut(config)  # type: ignore[arg-type]
    nodes = [Worker() for _ in range(workers)]
    for node in nodes:
        scheduler.add_node(node)  # type: ignore[arg-type]
        scheduler.add_node_collection(node, tests)  # type: ignore[arg-type]
    scheduler.schedule()
    return [[tests[index] for index in node.told] for node in nodes]


@pytest.mark.parametrize("file", sharing_out.LONGEST_FIRST)
def test_a_file_that_is_named_is_there(file: str) -> None:
    assert (ROOT / file).exists()


def test_a_file_stays_together() -> None:
    assert sharing_out.group("tests/web/test_tokens.py::test_a[x::y]") == "tests/web/test_tokens.py"


@pytest.mark.parametrize("group", [STACK, f"{STACK} docker-compose", f"{STACK} docker compose"])
def test_what_starts_containers_is_known_by_its_mark(group: str) -> None:
    assert sharing_out.needs_engine(group)
    assert not sharing_out.needs_engine(FILES[2])


def test_a_stack_started_by_the_other_compose_is_another_group() -> None:
    kinds = [
        f"{STACK}::test_a[docker-compose-ui]",
        f"{STACK}::test_b[docker-compose]",
        f"{STACK}::test_b[docker compose]",
    ]
    assert [sharing_out.group(test).removeprefix(STACK) for test in kinds] == [
        " docker-compose",
        " docker-compose",
        " docker compose",
    ]


def test_the_longest_come_first_and_then_what_starts_servers() -> None:
    assert sorted([FILES[at] for at in (3, 1, 0, 2)], key=sharing_out.rank) == FILES


def test_a_browser_comes_before_the_longest_and_keeps_containers_from_starting_beside_it() -> None:
    tests = [f"{file}::test_{number}" for file in (BROWSED, *FILES) for number in range(3)]
    told = shared_out(sorted(tests, key=sharing_out.rank), 3)
    groups = [{sharing_out.group(test) for test in of_one} for of_one in told]
    assert groups == [{sharing_out.BROWSER}, {FILES[2]}, {FILES[3]}]


def test_where_nothing_else_is_left_containers_start_beside_a_browser() -> None:
    assert sharing_out.chosen(FILES[:2], browsing=True) == FILES[0]


@pytest.mark.parametrize("file", [BROWSED, "tests/e2e/test_ui_idle.py"])
def test_there_is_one_browser_at_a_time(file: str) -> None:
    assert sharing_out.group(f"{file}::test_a") == sharing_out.BROWSER


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (2, 3), (4, 5), (64, 9)])
def test_one_worker_more_than_cores(cores: int, workers: int) -> None:
    assert sharing_out.workers(cores) == workers


def test_all_workers_but_one_begin_with_the_longest() -> None:
    tests = [f"{file}::test_{number}" for file in FILES for number in range(3)]
    told = shared_out(tests, 3)
    assert [{sharing_out.group(test) for test in of_one} for of_one in told] == [{FILES[0]}, {FILES[1]}, {FILES[3]}]
