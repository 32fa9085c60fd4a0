"""The whole stack, started by each kind of Compose: it answers, counts, watches itself, and its parts are closed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import requests

from tests.stack import COMPOSE_V1, COMPOSE_V2, Stack, output, running
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

ROW = {"features": [5.1, 3.5, 1.4, 0.2]}
ADMIN = {"Authorization": "Bearer token-of-the-tests"}


@pytest.fixture(scope="module", params=[COMPOSE_V1, COMPOSE_V2])
def stack(request: pytest.FixtureRequest, stack_images: str) -> Iterator[Stack]:
    if shutil.which(request.param.split()[0]) is None:
        pytest.skip(f"{request.param} is not here: that it starts the stack was not checked")
    with running(stack_images, request.param) as started:
        yield started


def query(stack: Stack, text: str) -> list[float]:
    answer = requests.get(f"{stack.prometheus}/api/v1/query", params={"query": text}, timeout=10).json()
    return [float(series["value"][1]) for series in answer["data"]["result"]]


def test_both_versions_answer_through_the_edge(stack: Stack) -> None:
    for version in ("v1", "v2"):
        answer = requests.post(
            f"{stack.api}/predict", json=ROW, headers={"X-Model-Version": version, "X-Request-Id": "q-1"}, timeout=10
        )
        assert (answer.json()["prediction"], answer.json()["model_version"]) == ("setosa", version)
        assert answer.headers["X-Request-Id"] == "q-1"


def test_a_labelled_answer_is_counted_by_the_monitor(stack: Stack) -> None:
    ids = [requests.post(f"{stack.api}/predict", json=ROW, timeout=10).json()["prediction_id"] for _ in range(5)]
    feedback = {"feedback": [{"prediction_id": one, "actual": "setosa"} for one in ids]}
    assert requests.post(f"{stack.api}/feedback", json=feedback, timeout=10).json()["accepted"] == 5

    def labelled() -> int:
        variants = requests.get(f"{stack.api}/experiment", timeout=10).json()["variants"]
        return sum(variant["labelled"] for variant in variants)

    assert eventually(lambda: labelled() >= 5)


def test_prometheus_scrapes_every_part(stack: Stack) -> None:
    eventually(lambda: query(stack, 'up{job="api"} == 1'))
    eventually(lambda: len(query(stack, "up == 1")) >= 4)
    assert query(stack, "up == 0") == []


def test_prometheus_knows_alertmanager_and_has_rules(stack: Stack) -> None:
    found = requests.get(f"{stack.prometheus}/api/v1/alertmanagers", timeout=10).json()["data"]
    assert len(found["activeAlertmanagers"]) == 1
    assert requests.get(f"{stack.prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]


def test_the_dashboard_answers_and_reaches_the_api(stack: Stack) -> None:
    assert requests.get(f"{stack.ui}/_stcore/health", timeout=10).text == "ok"
    program = "import os, requests; print(requests.get(os.environ['API_URL'] + '/health', timeout=5).status_code)"
    assert stack.python("ui", "-c", program) == "200"


REACHES = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        print(place)
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("service", "reached"), [("ui", {"edge:5000"}), ("api", {"edge:5000", "api:5000", "prometheus:9090"})]
)
def test_a_part_reaches_no_more_than_it_needs(stack: Stack, service: str, reached: set[str]) -> None:
    places = ("edge:5000", "api:5000", "prometheus:9090", "alertmanager:9093")
    assert set(stack.python(service, "-c", REACHES, *places).split()) == reached


def test_the_edge_answers_for_the_metrics(stack: Stack) -> None:
    assert "\nmodel_version_requests_total{" in requests.get(f"{stack.api}/metrics", timeout=10).text


def test_the_administrators_token_arrives(stack: Stack) -> None:
    patch = {"json": {"drift_threshold": 0.2}, "timeout": 10}
    assert requests.patch(f"{stack.api}/config", **patch).status_code == 401
    assert requests.patch(f"{stack.api}/config", headers=ADMIN, **patch).status_code == 200


@pytest.mark.parametrize("service", ["api", "monitor", "ui"])
def test_a_part_can_write_to_its_own_places_only(stack: Stack, service: str) -> None:
    program = "open('/srv/bakeoff/app/x', 'w')"
    command = ["docker", "exec", stack.container(service), "python", "-c", f"import sys\ntry: {program}\n"]
    command[-1] += "except OSError as error: print(error.strerror)"
    assert output(*command) == "Read-only file system"


def test_nothing_of_the_stack_runs_as_root(stack: Stack) -> None:
    containers = output("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}").split()
    # Where the name of the user is of the image, docker top shows the number or the name that this host has for it.
    owners = {
        line.split()[0]
        for one in containers
        for line in output("docker", "top", one, "-o", "user,pid,args").splitlines()[1:]
    }
    assert len(containers) == 6
    assert "root" not in owners


def test_the_workers_metrics_are_not_in_the_shared_volume(stack: Stack) -> None:
    assert "metrics" not in stack.python("api", "-c", "import os; print(os.listdir('/data'))")
    assert ".db" in stack.python("api", "-c", "import os; print(os.listdir('/run/bakeoff/metrics'))")


def test_no_memory_limit_is_near(stack: Stack) -> None:
    containers = output("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}").split()
    used = output("docker", "stats", "--no-stream", "--format", "{{.MemPerc}}", *containers).replace("%", "").split()
    assert all(float(percent) < 75 for percent in used)


def test_started_again_it_serves_the_same_models_and_remembers(stack: Stack) -> None:
    """The last test of the module: it restarts the api."""

    def served() -> set[str]:
        models = requests.get(f"{stack.api}/model/info", timeout=10).json()["models"]
        return {model["sha256"] for model in models}

    def history() -> list[str]:
        page = requests.get(f"{stack.api}/predictions/history?limit=3", timeout=10)
        return [entry["prediction_id"] for entry in page.json()["predictions"]]

    before = (served(), history())
    output("docker", "restart", "-t", "35", stack.container("api"))
    eventually(lambda: requests.get(f"{stack.api}/health/ready", timeout=10).status_code == 200)
    assert (served(), history()) == before
