"""Hosts of one deployment whose registries differ, or cannot be reached. Hosts apart are in test_two_hosts_apart.py."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import requests

from app.inference.registry import ModelRegistry
from app.inference.s3 import S3Client
from app.store.keys import load_or_create
from tests.e2e.api_process import ROOT, ROW, ApiProcess, free_port
from tests.unit.store.archive import conftest as archives
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

s3_server = archives.s3_server
ADMIN = {"Authorization": "Bearer token-of-the-tests"}


class Relay:
    """Carries bytes from a port of this host to another one."""

    def __init__(self, target, port):
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._join, args=(self._socket.accept()[0],), daemon=True).start()

    def _join(self, source):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as target, source:
            threading.Thread(target=self._carry, args=(target, source), daemon=True).start()
            self._carry(source, target)

    def _carry(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


class Host:
    """An api in `folder`."""

    def __init__(self, folder, **settings):
        self.models, self.settings = folder / "models", {"MODEL_DIR": str(folder / "models"), **settings}
        self.api = ApiProcess(folder, **settings)

    def command(self, *words):
        """The output of a command of this host."""
        env = {**os.environ, **self.settings, "DATA_DIR": str(self.api.folder / "data")}
        done = subprocess.run([sys.executable, "-m", "app", *words], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shared(trained, s3_server, tmp_path, postgres_url, request):
    """The settings of a host; its registry on S3 has v1 and v2."""
    place = f"s3://logs/{tmp_path.name}"
    aws = {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    client = S3Client(place, aws)
    for path in (path for path in (trained / "models").rglob("*") if path.is_file()):
        client.put(str(path.relative_to(trained / "models")), path.read_bytes())
    key = shutil.copy(trained / "data" / "keys" / "deployment.key", tmp_path / "secret")
    own = {"MODEL_DIR": place, "DEPLOYMENT_KEY_FILE": str(key), "DATABASE_URL": postgres_url, "WEB_CONCURRENCY": "1"}
    return {**aws, **own, "ADMIN_TOKEN": "token-of-the-tests", "AUTO_DECIDE": "off"}


def versions(api):
    return {entry["version"] for entry in api.get("/models").json()["models"] if entry["serving"]}


def test_a_host_that_starts_without_the_bucket_says_so_until_it_is_back(shared, s3_server, tmp_path):
    port = free_port()
    shared["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    (tmp_path / "a").mkdir()
    api = ApiProcess(tmp_path / "a", **shared).wait_until("/health/ready", 503)
    assert "cannot be reached (ConnectionError)" in api.get("/health/ready").text
    Relay(int(s3_server.rpartition(":")[2]), port)
    api.wait_until("/health/ready")
    assert api.post("/predict", ROW).ok
    api.stop()
    port = free_port()
    shared["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    api = ApiProcess(tmp_path / "a", **shared).wait_until("/health/ready")
    assert versions(api) == {"v1", "v2"}
    assert "the copy in" in api.get("/models").json()["refused"][shared["MODEL_DIR"]]
    Relay(int(s3_server.rpartition(":")[2]), port)
    eventually(lambda: api.get("/models").json()["refused"] == {})
    api.stop()


@pytest.fixture
def beginning(trained, tmp_path, postgres_url):
    """Starts an api whose registry is a folder of its own, after `change` of it."""
    own = {"DATABASE_URL": postgres_url, "WEB_CONCURRENCY": "1", "ADMIN_TOKEN": "token-of-the-tests"}
    started = []

    def begin(name, change=lambda models: None):
        folder = shutil.copytree(trained, tmp_path / name)
        change(folder / "models")
        started.append(Host(folder, **own))
        return started[-1]

    yield begin
    for host in started:
        host.api.stop()


def published(models, name):
    """The files of v1 as a version `name` of another time."""
    registry = ModelRegistry(models, load_or_create(models.parent / "data").registry)
    artefact = registry.verified("v1")
    return registry.publish(artefact.manifest, artefact.files, name)


def retrained(models):
    shutil.rmtree(models / "v2")
    published(models, "v2")


def reloaded(host):
    answer = requests.post(f"{host.api.url}/models/reload", headers=ADMIN, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def test_hosts_with_folders_of_their_own_agree_on_what_a_version_is_and_on_what_is_retired(beginning):
    first = beginning("first")
    before = first.api.wait_until("/health/ready").get("/config").json()
    second = beginning("second", retrained)
    second.api.wait_until("/health/ready", 503)
    assert "the deployment's v2 is a different one" in second.api.get("/health").json()["models"]["v2"]["error"]
    assert first.api.get("/config").json() == before
    shutil.rmtree(second.models / "v2")
    shutil.copytree(first.models / "v2", second.models / "v2")
    assert reloaded(second)["refused"] == {}
    second.api.wait_until("/health/ready")
    published(first.models, "v3")
    eventually(lambda: [*reloaded(first)["lacking"].values()] == [["v3"]])
    asked = {"weights": {"v1": 1, "v2": 1, "v3": 1}}
    refused = requests.patch(f"{first.api.url}/config", json=asked, headers=ADMIN, timeout=10)
    assert refused.status_code == 409, refused.text
    assert "has not loaded v3, and would not be ready with that traffic" in refused.json()["error"]["message"]
    shutil.copytree(first.models / "v3", second.models / "v3")
    eventually(lambda: reloaded(second)["lacking"] == {})
    assert versions(second.api) == {"v1", "v2", "v3"}
    assert requests.patch(f"{first.api.url}/config", json=asked, headers=ADMIN, timeout=10).ok
    second.api.wait_until("/health/ready")
    without = {"weights": {"v1": 1, "v2": 1}}
    assert requests.patch(f"{first.api.url}/config", json=without, headers=ADMIN, timeout=10).ok
    first.command("retire", "v3")
    reloaded(first)
    eventually(lambda: versions(first.api) == versions(second.api) == {"v1", "v2"})
    assert not (second.models / "retired.json").exists()


def damaged(models):
    file = next(path for path in (models / "v2").iterdir() if path.name.startswith("model."))
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"!")


def test_the_damaged_file_of_one_host_changes_nothing_for_the_others(beginning):
    first = beginning("first")
    before = first.api.wait_until("/health/ready").get("/config").json()
    second = beginning("second", damaged)
    second.api.wait_until("/health/ready", 503)
    reason = second.api.get("/health/ready").json()["error"]["message"]
    assert "v2 has 50 % of the traffic and is not loaded here (refused: v2 (" in reason
    assert second.api.post("/predict", ROW).json()["assignment"] == "fallback"
    assert reloaded(second)["epoch"] == before["epoch"]
    assert first.api.get("/config").json() == second.api.get("/config").json() == before
    first.api.wait_until("/health/ready")


def test_a_version_in_shadow_that_only_another_host_has_holds_up_new_ones_until_it_is_retired(beginning):
    first = beginning("first")
    first.api.wait_until("/health/ready")
    beginning("second", lambda models: published(models, "v6")).api.wait_until("/health/ready")
    eventually(lambda: "v6" in first.api.get("/config").json()["weights"])
    published(first.models, "v6")
    shutil.rmtree(first.models / "v6")  # takes the number that the other host's has
    published(first.models, "v8")
    reason = reloaded(first)["excluded"]["v8"]
    assert reason.startswith("waits for v6, which is in the split and cannot be loaded on this host")
    assert first.api.get("/health").json()["excluded"] == {"v8": reason}
    first.command("retire", "v6")
    assert reloaded(first)["excluded"] == {}
    assert first.api.get("/config").json()["weights"].keys() == {"v1", "v2", "v8"}
