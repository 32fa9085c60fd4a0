"""What tests of several folders share, and how they are shared out where workers run side by side."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres, sharing_out, stack


@pytest.fixture(scope="session")
def stack_images() -> str:
    """The tag of images made of the files as they are now; built once, and again only when a file has changed."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers: what needs the images was not checked")
    return stack.build()


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


def pytest_configure() -> None:
    """Hypothesis judges what is found, and not how fast a busy machine finds it."""
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, where there are workers to begin with them."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: sharing_out.rank(item.nodeid))


def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return sharing_out.workers()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing_out.SharingOut:
    """Ours, in every mode of distribution."""
    config.option.loadscopereorder = False  # the order is that of the tests
    return sharing_out.SharingOut(config, log)
