"""Two hosts, each with an api and a monitor and folders of its own: one PostgreSQL, one registry on S3, one key."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import suppress

import psycopg
import pytest
import requests

from app.domain.log_event import Cursor
from app.inference.registry import ModelRegistry
from app.inference.s3 import S3Client
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.keys import load_or_create
from tests.e2e.api_process import ROOT, ROW, ApiProcess, MonitorProcess, free_port
from tests.unit.store.archive import conftest as archives
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

s3_server = archives.s3_server
ADMIN = {"Authorization": "Bearer token-of-the-tests"}


class Relay:
    """Carries bytes to a port of this host; cut, it carries none and drops no connection, as a failing network does."""

    def __init__(self, target, port=0):
        self._target, self._carries = target, threading.Event()
        self._carries.set()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self._carries.clear()

    def mend(self):
        self._carries.set()

    def _accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._join, args=(self._socket.accept()[0],), daemon=True).start()

    def _join(self, source):
        self._carries.wait()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as target, source:
            threading.Thread(target=self._carry, args=(target, source), daemon=True).start()
            self._carry(source, target)

    def _carry(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                self._carries.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


class Host:
    """An api and a monitor in `folder`."""

    def __init__(self, folder, api, monitor=None, **settings):
        self.models, self.settings = folder / "models", {"MODEL_DIR": str(folder / "models"), **settings}
        self.api, self.monitor = api, monitor

    @classmethod
    def started(cls, folder, **settings):
        folder.mkdir()
        return cls(folder, ApiProcess(folder, **settings), MonitorProcess(folder, **settings), **settings)

    def kill(self):
        self.api.kill()
        self.monitor.kill()

    def command(self, *words):
        """The output of a command of this host."""
        env = {**os.environ, **self.settings, "DATA_DIR": str(self.api.folder / "data")}
        done = subprocess.run([sys.executable, "-m", "app", *words], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shared(trained, s3_server, tmp_path, postgres_url, request):
    """The settings that both hosts have; the registry has v1 and v2."""
    place = f"s3://logs/{tmp_path.name}"
    aws = {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    client = S3Client(place, aws)
    for path in (path for path in (trained / "models").rglob("*") if path.is_file()):
        client.put(str(path.relative_to(trained / "models")), path.read_bytes())
    key = shutil.copy(trained / "data" / "keys" / "deployment.key", tmp_path / "secret")
    own = {"MODEL_DIR": place, "DEPLOYMENT_KEY_FILE": str(key), "DATABASE_URL": postgres_url, "WEB_CONCURRENCY": "1"}
    return {**aws, **own, "ADMIN_TOKEN": "token-of-the-tests", "AUTO_DECIDE": "off"}


@pytest.fixture
def hosts(shared, tmp_path, postgres_server):
    """Both hosts, ready; the second reaches the database by the relay `hosts[1].relay`."""
    relay = Relay(postgres_server.port)
    by_relay = shared["DATABASE_URL"].replace(f":{postgres_server.port}/", f":{relay.port}/")
    first = Host.started(tmp_path / "a", **shared)
    second = Host.started(tmp_path / "b", **shared | {"DATABASE_URL": by_relay})
    second.relay = relay
    try:
        for host in (first, second):
            host.api.wait_until("/health/ready")
        yield first, second
    finally:
        relay.mend()
        for host in (first, second):
            host.monitor.stop()
            host.api.stop()


def labelled(api):
    return sum(variant["labelled"] for variant in api.get("/experiment").json()["variants"])


def versions(api):
    return {entry["version"] for entry in api.get("/models").json()["models"] if entry["serving"]}


def test_users_keep_their_version_feedback_finds_its_way_and_one_publication_reaches_both(hosts, shared, tmp_path):
    one, other = (host.api for host in hosts)
    assert one.get("/config").json() == other.get("/config").json()
    sticky = requests.patch(f"{one.url}/config", json={"policy": "sticky"}, headers=ADMIN, timeout=10)
    assert sticky.ok, sticky.text
    eventually(lambda: other.get("/config").json()["epoch"] == sticky.json()["epoch"])
    users = [{**ROW, "user_id": f"user-{number}"} for number in range(40)]
    chosen = [[api.post("/predict", user).json() for user in users] for api in (one, other)]
    assert [each["model_version"] for each in chosen[0]] == [each["model_version"] for each in chosen[1]]
    assert {each["model_version"] for each in chosen[0]} == {"v1", "v2"}
    for answers, api in zip(chosen, (other, one), strict=True):
        feedback = [{"prediction_id": each["prediction_id"], "actual": "setosa"} for each in answers]
        assert api.post("/feedback", {"feedback": feedback}).json() == {"accepted": 40, "duplicates": 0}
    eventually(lambda: labelled(one) == labelled(other) == 80, explain=lambda: (labelled(one), labelled(other)))
    assert "Published v3 in s3://logs/" in published_elsewhere(tmp_path / "elsewhere", shared)
    assert requests.post(f"{one.url}/models/reload", headers=ADMIN, timeout=30).ok
    eventually(lambda: versions(one) == versions(other) == {"v1", "v2", "v3"})
    eventually(lambda: one.get("/config").json() == other.get("/config").json())
    assert one.post("/predict", ROW, headers={"X-Model-Version": "v3"}).ok


def published_elsewhere(folder, shared):
    """What training v3 says in a third place, which has the key and nothing else."""
    env = {**os.environ, **shared, "DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "app", "train", "--version", "v3", "--variant", "logistic_regression"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    return done.stdout + done.stderr


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
        started.append(Host(folder, ApiProcess(folder, **own), **own))
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
    shutil.copytree(first.models / "v3", second.models / "v3")
    eventually(lambda: reloaded(second)["lacking"] == {})
    assert versions(second.api) == {"v1", "v2", "v3"}
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


class Players:
    """Predict at one host and tell the outcome at the other, until `stop`. `served` has the ids by the host's port,
    `refused` how outcomes were."""

    def __init__(self, *pairs):
        self.acknowledged, self.served, self.refused = [], defaultdict(list), []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._play, args=pair) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _play(self, predicts, takes):
        while not self._stop.is_set():
            with suppress(requests.RequestException):
                answer = requests.post(f"{predicts.url}/predict", json=ROW, timeout=5)
                if answer.ok:
                    told = {"prediction_id": answer.json()["prediction_id"], "actual": "setosa"}
                    self.served[predicts.port].append(told["prediction_id"])
                    answer = requests.post(f"{takes.url}/feedback", json=told, timeout=40)
                    if answer.ok:
                        self.acknowledged.append(told["prediction_id"])
                    else:
                        self.refused.append((takes.port, answer.status_code, "Retry-After" in answer.headers))
            self._stop.wait(0.02)

    def more(self, number):
        """Wait until so many further outcomes are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) >= before + number)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def logged(url):
    """The ids of all predictions in the log."""
    log, cursor, ids = EventLog(Database(url)), Cursor(), set()
    while len(page := log.page(cursor, 5000)):
        ids |= {each.prediction_id for each in page.predictions}
        cursor = page.cursor
    return ids


def test_a_cut_network_and_a_killed_host_lose_nothing_that_was_acknowledged(hosts, postgres_url):
    first, second = hosts
    players = Players(
        (first.api, second.api), (second.api, first.api), (first.api, first.api), (second.api, second.api)
    )
    try:
        players.more(40)
        assert players.refused == []
        second.relay.cut()
        answered = players.served[second.api.port]
        before = len(answered)
        eventually(lambda: len(answered) > before + 40)  # answers need no database
        players.more(20)  # nor does the first host need the second
        # A connection that says nothing is given up after 12 s, and then labels are refused at once.
        eventually(lambda: second.api.port in [port for port, *_ in players.refused], explain=lambda: players.refused)
        second.api.wait_until("/health/ready", 503)
        second.relay.mend()
        second.api.wait_until("/health/ready")
        kept = len(answered)
        players.more(40)
        first.kill()
        players.more(40)
    finally:
        players.stop()
    # The first host's labels too, where the second was cut off while it had the lock of all writers.
    assert {refusal[1:] for refusal in players.refused} == {(503, True)}
    # What the cut host answered meanwhile waited in its memory. The first one's last answers died with it.
    eventually(lambda: set(answered[:kept]) <= logged(postgres_url))
    acknowledged = set(players.acknowledged)
    with psycopg.connect(postgres_url) as connection:
        kept = {row[0] for row in connection.execute("SELECT prediction_id FROM feedback").fetchall()}
    assert acknowledged <= kept
    # The second host's monitor takes over where the first led, and counts what both logged.
    eventually(lambda: labelled(second.api) >= len(acknowledged))
    assert second.monitor.stop() == 0
    rebuilt = json.loads(second.command("monitor", "--rebuild", "--json"))
    assert rebuilt["states_equal"]
    assert all(rebuilt["states_equal"].values())
