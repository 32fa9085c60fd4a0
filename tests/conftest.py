"""Fixtures for tests of several folders, and how pytest-xdist's workers run them."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres, stack, workers

BEGUN = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def stack_images() -> str:
    """The tag of images made of the files as they are now; built once, and again only when a file has changed."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers: what needs the images was not checked")
    with workers.host_network({"docker"}):  # it builds before the file's own turn begins
        return stack.build()


@pytest.fixture(scope="module", autouse=True)
def host_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keeps browsers and containers apart, for as long as the file's own servers live."""
    items = (item for item in request.session.items if item.path == request.path)
    with workers.host_network({mark.name for item in items for mark in item.iter_markers()}):
        yield


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server, started at its first use."""
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is here (apt-get install postgresql): nothing was checked on PostgreSQL")
    with postgres.server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_server):
    """A new schema of that server."""
    url = postgres_server.fresh()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """The URL of a store that nobody has used yet: a test that asks for it runs on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}"
    return request.getfixturevalue("postgres_url")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--part`, for tests on several machines."""
    parser.addoption("--part", metavar="K-of-N", help="run the files of the K-th of N parts only (.ci/run --part)")


def pytest_configure() -> None:
    """Hypothesis judges what is found, and not how fast a busy machine finds it."""
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order in which workers take the files, and those of a part; one process alone keeps pytest's order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: workers.rank(item.nodeid))
    part = config.getoption("part")
    if part:
        of_file: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            of_file[item.nodeid.split("::", 1)[0]].append(item)
        need = {file: any(item.get_closest_marker("docker") for item in own) for file, own in of_file.items()}
        try:
            files = workers.part_of(need, part)
        except ValueError as error:
            raise pytest.UsageError(f"--part {error}") from error
        config.hook.pytest_deselected(items=[item for file in need.keys() - files for item in of_file[file]])
        items[:] = [item for file, own in of_file.items() if file in files for item in own]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes what the processor has done before the test's fixtures are made."""
    item.stash[BEGUN] = workers.processor_s()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Adds to a test's last report what it took of the processor."""
    if call.when == "teardown":
        item.user_properties.append((workers.PROCESSOR_S, workers.processor_s() - item.stash[BEGUN]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The files that took longest, where workers shared them."""
    if not config.getoption("numprocesses", None):
        return
    reports = (each for kind in terminalreporter.stats.values() for each in kind)
    lines = workers.slowest_files(each for each in reports if isinstance(each, pytest.TestReport))
    terminalreporter.section("slowest files: wall time, and processor time without containers")
    for line in lines:
        terminalreporter.write_line(line)


def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return workers.count()
