"""Real servers for the tests of this folder; v1 and v2 are trained once, also where workers run side by side."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.e2e.api_process import ROOT, ApiProcess, MonitorProcess, serving
from tests.e2e.browser import chromium
from tests.turns import made_once


@pytest.fixture(scope="session")
def trained(pytestconfig, tmp_path_factory):
    """A folder with models/ (v1 and v2 of Iris) and data/ (the key): to be copied, not used."""
    return made_once(pytestconfig, tmp_path_factory.getbasetemp(), "trained", train)


def train(folder):
    """Train both versions into the folder."""
    env = {**os.environ, "MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}
    subprocess.run([sys.executable, "-m", "app", "train"], cwd=ROOT, env=env, check=True, capture_output=True)


@pytest.fixture
def installation(trained, tmp_path):
    """A folder of one's own with the trained versions."""
    shutil.copytree(trained, tmp_path / "installation")
    return tmp_path / "installation"


@pytest.fixture
def start(installation):
    """Starts apis in `installation` (or another folder); they are stopped at the end."""
    started = []

    def begin(folder=installation, ready=True, **environment):
        api = ApiProcess(folder, **environment)
        started.append(api)
        return api.wait_until("/health/ready") if ready else api

    yield begin
    for api in started:
        api.stop()


@pytest.fixture(scope="module")
def shared_api(trained, tmp_path_factory):
    """An api for the tests of a file that change nothing which another of them sees: a start takes seconds."""
    with serving(trained, tmp_path_factory.mktemp("shared")) as api:
        yield api


@pytest.fixture
def watch(installation):
    """Starts monitors in `installation` (or another folder); they are stopped at the end."""
    started = []

    def begin(folder=installation, **environment):
        started.append(MonitorProcess(folder, **environment))
        return started[-1]

    yield begin
    for monitor in started:
        monitor.stop()


@pytest.fixture(scope="module")
def browser():
    """A browser for the tests of a file."""
    with chromium() as running:
        yield running
