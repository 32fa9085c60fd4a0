"""Two hosts apart: the api, the monitor and the edge of each in containers, with a PostgreSQL and an S3 that both reach
over a network from which one can be cut off."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest
import requests

from app.domain.log_event import Cursor
from app.store.engine import Database
from app.store.event_log import EventLog
from tests.e2e.api_process import ROOT, ROW
from tests.infra.terraform_runs import aws_stand_in
from tests.stack import clean_environment, container_of, output
from tests.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
ADMIN = {"Authorization": "Bearer token-of-the-tests"}
POSTGRES = "postgres:15-bookworm"
PASSWORD = "word-of-the-hosts"
CUT_S = 20


class Compose(msgspec.Struct, frozen=True):
    """A project of docker-compose.yml: what `added` says is beside it, as in docker-compose.override.yml."""

    project: str
    added: Path
    settings: dict[str, str]

    def __call__(self, *words: str) -> str:
        files = ("-f", "docker-compose.yml", "-f", str(self.added))
        return output(
            "docker", "compose", "--env-file", "/dev/null", "-p", self.project, *files, *words, **self.settings
        )

    def container(self, service: str) -> str:
        """The id of the container of `service`."""
        return container_of(self.project, service)

    def address(self, service: str, network: str) -> str:
        """Where the container of `service` is in a network."""
        form = f'{{{{ (index .NetworkSettings.Networks "{network}").IPAddress }}}}'
        return output("docker", "inspect", "-f", form, self.container(service))

    def remove(self) -> None:
        """Nothing of it is left."""
        self("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")


class Host:
    """A host in the network `between`; its edge is at `url`."""

    def __init__(self, compose: Compose, between: str) -> None:
        self.compose, self.between = compose, between
        compose("up", "-d", "--no-build", "edge", "monitor")
        self.url = f"http://{output('docker', 'port', compose.container('edge'), '5080/tcp').splitlines()[0]}"

    def get(self, path: str) -> requests.Response:
        """GET at its edge."""
        return requests.get(self.url + path, timeout=30)

    def post(self, path: str, body: object = None, **headers: str) -> requests.Response:
        """POST at its edge."""
        return requests.post(self.url + path, json=body, headers=headers, timeout=60)

    def wait_until_ready(self, path: str = "/health/ready", status: int = 200) -> None:
        """Until it answers `path` with `status`."""
        answers = partial(self.get, path)
        eventually(
            lambda: answers().status_code == status, 120, lambda: answers().text, ignoring=requests.ConnectionError
        )

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Within the block neither of its containers that the database knows reaches it."""
        with ExitStack() as stack:
            for container in (self.compose.container(service) for service in ("api", "monitor")):
                output("docker", "network", "disconnect", self.between, container)
                stack.callback(output, "docker", "network", "connect", self.between, container)
            yield

    def kill(self) -> None:
        """End all that it is at once, as a loss of power does."""
        output("docker", "kill", *(self.compose.container(service) for service in ("edge", "api", "monitor")))

    def labelled(self) -> int:
        """How many outcomes its report counts."""
        return sum(variant["labelled"] for variant in self.get("/experiment").json()["variants"])

    def versions(self) -> set[str]:
        """What it serves."""
        return {entry["version"] for entry in self.get("/models").json()["models"] if entry["serving"]}


@pytest.fixture(scope="module")
def between() -> Iterator[str]:
    """The network of the hosts and what they share."""
    name = f"test-between-{secrets.token_hex(4)}"
    output("docker", "network", "create", name)
    yield name
    output("docker", "network", "rm", name)


@pytest.fixture(scope="module")
def composed(
    between: str, stack_images: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Compose]]:
    """Makes a project of which these services are in the network too, with more settings of their own."""
    folder = tmp_path_factory.mktemp("hosts")

    def make(name: str, services: tuple[str, ...], own: dict[str, object], **settings: str) -> Compose:
        added = folder / f"{name}.json"
        networks = {"between": {"external": True, "name": between}}
        each = {"networks": ["default", "between"], **own}
        added.write_text(json.dumps({"services": dict.fromkeys(services, each), "networks": networks}))
        ports = dict.fromkeys(("API_PORT", "UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT"), "0")
        compose = Compose(f"{between}-{name}", added, {"BAKEOFF_TAG": stack_images, **ports, **settings})
        stack.callback(compose.remove)
        return compose

    with ExitStack() as stack:
        yield make


@pytest.fixture(scope="module")
def database(composed: Callable[..., Compose], between: str) -> str:
    """The URL of the database of the profile `postgres`, as this machine reaches it."""
    if not output("docker", "images", "-q", POSTGRES):
        pytest.skip(f"there is no image {POSTGRES} (.ci/images makes a stand-in): no two hosts were started")
    compose = composed("database", ("postgres",), {}, POSTGRES_PASSWORD=PASSWORD)
    compose("up", "-d", "--wait", "postgres")
    return f"postgresql://bakeoff:{PASSWORD}@{compose.address('postgres', between)}/bakeoff"


@pytest.fixture(scope="module")
def registry(between: str) -> Iterator[dict[str, str]]:
    """The settings by which a registry on S3 is reached, from the network and from this machine."""
    gateway = output("docker", "network", "inspect", "-f", "{{ (index .IPAM.Config 0).Gateway }}", between)
    with aws_stand_in(gateway) as address:
        requests.put(f"{address}/models", timeout=60).raise_for_status()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        yield {"MODEL_DIR": "s3://models/iris", "AWS_ENDPOINT_URL": address, **keys}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the key that all have."""
    file = tmp_path_factory.mktemp("secrets") / "deployment.key"
    file.write_text(secrets.token_hex(32))
    file.chmod(0o444)
    return file


@pytest.fixture(scope="module")
def hosts(
    composed: Callable[..., Compose], between: str, database: str, registry: dict[str, str], key: Path
) -> tuple[Host, Host]:
    """Two, ready. The first has trained v1 and v2, and the second found them."""
    inside = f"postgresql://bakeoff:{PASSWORD}@postgres/bakeoff"
    mount = f"{key}:/run/secrets/deployment.key:ro"
    own = {"environment": {**registry, "DEPLOYMENT_KEY_FILE": "/run/secrets/deployment.key"}, "volumes": [mount]}
    settings = {
        "DATABASE_URL": inside,
        "WEB_CONCURRENCY": "1",
        "AUTO_DECIDE": "off",
        "ADMIN_TOKEN": "token-of-the-tests",
    }
    services = ("train", "api", "monitor")
    first, second = (Host(composed(name, services, own, **settings), between) for name in ("a", "b"))
    for host in (first, second):
        host.wait_until_ready()
    assert "nothing to train" in output("docker", "logs", second.compose.container("train"))
    return first, second


def published_elsewhere(folder: Path, key: Path, database: str, registry: dict[str, str]) -> str:
    """What training v3 says on this machine, which has the key and is none of the hosts."""
    own = {"DATA_DIR": str(folder), "DEPLOYMENT_KEY_FILE": str(key), "DATABASE_URL": database}
    command = [sys.executable, "-m", "app", "train", "--version", "v3", "--variant", "logistic_regression"]
    env = {**clean_environment(), **registry, **own}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


def test_users_keep_their_version_feedback_finds_its_way_and_one_publication_reaches_both(
    hosts: tuple[Host, Host], database: str, registry: dict[str, str], key: Path, tmp_path: Path
) -> None:
    one, other = hosts
    assert one.get("/config").json() == other.get("/config").json()
    sticky = requests.patch(f"{one.url}/config", json={"policy": "sticky"}, headers=ADMIN, timeout=10)
    assert sticky.ok, sticky.text
    eventually(lambda: other.get("/config").json()["epoch"] == sticky.json()["epoch"])
    users = [{**ROW, "user_id": f"user-{number}"} for number in range(40)]
    chosen = [[host.post("/predict", user).json() for user in users] for host in (one, other)]
    assert [each["model_version"] for each in chosen[0]] == [each["model_version"] for each in chosen[1]]
    assert {each["model_version"] for each in chosen[0]} == {"v1", "v2"}
    for answers, host in zip(chosen, (other, one), strict=True):
        feedback = [{"prediction_id": each["prediction_id"], "actual": "setosa"} for each in answers]
        assert host.post("/feedback", {"feedback": feedback}).json() == {"accepted": 40, "duplicates": 0}
    eventually(lambda: one.labelled() == other.labelled() == 80, explain=lambda: (one.labelled(), other.labelled()))
    assert "Published v3 in s3://models/" in published_elsewhere(tmp_path / "elsewhere", key, database, registry)
    reloaded = one.post("/models/reload", **ADMIN)
    assert reloaded.ok, reloaded.text
    eventually(lambda: one.versions() == other.versions() == {"v1", "v2", "v3"})
    eventually(lambda: one.get("/config").json() == other.get("/config").json())
    assert one.post("/predict", ROW, **{"X-Model-Version": "v3"}).ok


class Players:
    """Predict at one host and tell the outcome at the other, until `stop`. `served` has the ids by the host's URL,
    `refused` how outcomes were."""

    def __init__(self, *pairs: tuple[Host, Host]) -> None:
        self.acknowledged: list[str] = []
        self.served: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: list[tuple[str, int, bool]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._play, args=pair) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _play(self, predicts: Host, takes: Host) -> None:
        while not self._stop.is_set():
            with suppress(requests.RequestException):
                answer = predicts.post("/predict", ROW)
                if answer.ok:
                    told = {"prediction_id": answer.json()["prediction_id"], "actual": "setosa"}
                    self.served[predicts.url].append(told["prediction_id"])
                    answer = takes.post("/feedback", told)
                    if answer.ok:
                        self.acknowledged.append(told["prediction_id"])
                    else:
                        self.refused.append((takes.url, answer.status_code, "Retry-After" in answer.headers))
            self._stop.wait(0.02)

    def more(self, number: int) -> None:
        """Wait until so many further outcomes are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) >= before + number, explain=lambda: self.refused[-5:])

    def stop(self) -> None:
        """The last requests have ended with it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def logged(database: Database) -> set[str]:
    """The ids of all predictions in the log."""
    log, cursor, ids = EventLog(database), Cursor(), set()
    while len(page := log.page(cursor, 5000)):
        ids |= {each.prediction_id for each in page.predictions}
        cursor = page.cursor
    return ids


def test_a_cut_network_and_a_killed_host_lose_nothing_that_was_acknowledged(
    hosts: tuple[Host, Host], database: str
) -> None:
    """The last test of the module: one host is gone after it."""
    first, second = hosts
    players = Players((first, second), (second, first), (first, first), (second, second))
    try:
        players.more(40)
        assert players.refused == []
        answered = players.served[second.url]
        with second.cut_off():
            since, before = time.monotonic(), len(answered)
            eventually(lambda: len(answered) > before + 40)  # answers need no database
            players.more(20)  # nor does the first host need the second
            eventually(lambda: second.url in [url for url, *_ in players.refused], explain=lambda: players.refused)
            second.wait_until_ready(status=503)
            assert second.get("/health/ready?of=predictions").ok
            eventually(lambda: time.monotonic() > since + CUT_S)
        second.wait_until_ready()
        kept = len(answered)
        players.more(40)
        first.kill()
        players.more(40)
    finally:
        players.stop()
    # The first host's labels too, where the second was cut off while it had the lock of all writers.
    assert {refusal[1:] for refusal in players.refused} == {(503, True)}
    # What the cut host answered meanwhile waited in its memory. The first one's last answers died with it.
    with closing(Database(database)) as store:
        eventually(lambda: set(answered[:kept]) <= logged(store))
    acknowledged = set(players.acknowledged)
    with psycopg.connect(database) as connection:
        found = {row[0] for row in connection.execute("SELECT prediction_id FROM feedback").fetchall()}
    assert acknowledged <= found
    # The second host's monitor takes over where the first led, and counts what both logged.
    eventually(lambda: second.labelled() >= len(acknowledged))
    second.compose("stop", "monitor")
    command = (
        "docker",
        "exec",
        second.compose.container("api"),
        "python",
        "-m",
        "app",
        "monitor",
        "--rebuild",
        "--json",
    )
    rebuilt = json.loads(output(*command))
    assert rebuilt["states_equal"]
    assert all(rebuilt["states_equal"].values())
