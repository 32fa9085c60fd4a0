"""The edge: the real HAProxy with docker/haproxy.cfg, before a server that keeps what it is asked."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests

from tests.infra.edge_container import IMAGE, Edge
from tests.infra.fake_upstream import FakeUpstream
from tests.infra.repository import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.e2e]

UNAVAILABLE = "no api is ready to answer"
# What clients of other servers read of an error, by its path; the last one is this service's own shape.
OF_TEXT = {"error": UNAVAILABLE, "code": "unavailable"}
OF_MLFLOW = {"message": UNAVAILABLE, "error_code": "TEMPORARILY_UNAVAILABLE", "reason": "unavailable"}
SHAPES = {
    "/v2": OF_TEXT,
    "/v2/models/iris/infer": OF_TEXT,
    "/v1/models/iris:predict": OF_TEXT,
    "/invocations": OF_MLFLOW,
    "/ping": OF_MLFLOW,
    "/endpoints/iris/invocations": {"message": UNAVAILABLE, "code": "ServiceUnavailable", "reason": "unavailable"},
    "/ofrep/v1/evaluate/flags": {"errorDetails": UNAVAILABLE, "errorCode": "GENERAL", "reason": "unavailable"},
    "/predict": {"error": {"message": UNAVAILABLE, "code": "unavailable"}},
}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Edge, FakeUpstream]]:
    upstream = FakeUpstream()
    folder = tmp_path_factory.mktemp("edge")
    folder.chmod(0o755)
    edge = Edge(folder, upstream.port)
    yield edge, upstream
    edge.stop()
    upstream.stop()


@pytest.fixture
def edge(both: tuple[Edge, FakeUpstream]) -> Edge:
    return both[0]


@pytest.fixture
def upstream(both: tuple[Edge, FakeUpstream]) -> FakeUpstream:
    both[1].reset()
    return both[1]


def test_the_callers_request_id_is_passed_on(edge: Edge, upstream: FakeUpstream) -> None:
    requests.get(f"{edge.url}/config", headers={"X-Request-Id": "mine, of course"}, timeout=5)
    assert upstream.asked[0].headers["x-request-id"] == "mine, of course"


@pytest.mark.parametrize("given", [{}, {"X-Request-Id": "x" * 129}, {"X-Request-Id": "caf\u00e9"}])
def test_an_id_that_is_missing_or_unusable_is_replaced(edge: Edge, upstream: FakeUpstream, given: dict) -> None:
    headers = {name: value.encode() for name, value in given.items()}
    requests.get(f"{edge.url}/config", headers=headers, timeout=5)
    assert re.fullmatch(UUID, upstream.asked[0].headers["x-request-id"])


def test_what_a_caller_says_about_itself_is_not_believed(edge: Edge, upstream: FakeUpstream) -> None:
    lies = dict.fromkeys(("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "X-Attempt-Id"), "lie")
    requests.get(f"{edge.url}/config", headers=lies, timeout=5)
    assert "lie" not in upstream.asked[0].headers.values()
    assert upstream.asked[0].headers["x-forwarded-for"] == "127.0.0.1"


def test_the_name_by_which_it_is_called_is_passed_on_for_the_api_to_check(edge: Edge, upstream: FakeUpstream) -> None:
    requests.get(f"{edge.url}/config", headers={"Host": "evil.example"}, timeout=5)
    assert upstream.asked[0].headers["host"] == "evil.example"


def test_the_api_is_told_of_the_public_listener_only_where_administration_has_its_own(
    edge: Edge, upstream: FakeUpstream, tmp_path: Path
) -> None:
    requests.get(f"{edge.url}/config", headers={"X-Listener": "public"}, timeout=5)
    tmp_path.chmod(0o755)
    split = Edge(tmp_path, upstream.port, ADMIN_BIND="127.0.0.1:5001")
    with ExitStack() as ending:
        ending.callback(split.stop)
        for url in (split.url, split.own_url):
            requests.get(f"{url}/config", headers={"X-Listener": "own"}, timeout=5)
    assert [asked.headers.get("x-listener") for asked in upstream.asked] == [None, "public", None]


@pytest.mark.parametrize(
    ("address", "taken"),
    [("", True), ("127.0.0.1:5001", True), ("[::1]:5001", True), ("5001", False), ("127.0.0.1", False)],
)
def test_the_edge_does_not_start_with_an_address_of_administration_that_lacks_a_part(address: str, taken: bool) -> None:
    mount = f"{ROOT / 'docker/haproxy.cfg'}:/usr/local/etc/haproxy/haproxy.cfg:ro"
    command = ["docker", "run", "--rm", "-v", mount, "-e", f"ADMIN_BIND={address}", IMAGE]
    check = ["haproxy", "-c", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    done = subprocess.run([*command, *check], capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is taken, done.stderr
    assert taken or "ADMIN_BIND" in done.stderr


def test_each_request_has_an_attempt_id_of_its_own(edge: Edge, upstream: FakeUpstream) -> None:
    for _ in range(2):
        requests.get(f"{edge.url}/config", timeout=5)
    first, second = (asked.headers["x-attempt-id"] for asked in upstream.asked)
    assert re.fullmatch(UUID, first)
    assert first != second


REPEATED = (
    *("/predict", "/predict/batch", "/feedback", "/v2/models/iris/infer", "/v2/repository/index", "/invocations"),
    *("/v1/models/iris:predict", "/endpoints/iris/invocations", "/ofrep/v1/evaluate/flags/iris"),
)


@pytest.mark.parametrize("path", REPEATED)
def test_a_prediction_that_broke_off_is_asked_for_again_under_its_id(
    edge: Edge, upstream: FakeUpstream, path: str
) -> None:
    upstream.broken = 1
    assert requests.post(f"{edge.url}{path}", data="{}", timeout=10).status_code == 200
    assert len({asked.headers["x-attempt-id"] for asked in upstream.asked}) == 1
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/config"), ("POST", "/experiment/decision"), ("POST", "/v2/repository/models/iris/load")],
)
def test_a_command_that_broke_off_is_not_given_twice(
    edge: Edge, upstream: FakeUpstream, method: str, path: str
) -> None:
    upstream.broken = 1
    answer = requests.request(method, f"{edge.url}{path}", data="{}", timeout=10)
    assert answer.status_code == 502
    said = answer.json()
    assert (said if path.startswith("/v2/") else said["error"])["code"] == "bad_gateway"
    assert answer.headers["Retry-After"] == "1"
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_the_api_answers_is_passed_on_and_not_asked_again(edge: Edge, upstream: FakeUpstream, status: int) -> None:
    upstream.status = status
    assert requests.post(f"{edge.url}/predict", data="{}", timeout=5).content == b""
    assert len(upstream.asked) == 1


def test_a_body_that_does_not_arrive_is_refused_in_the_shape_of_the_contract(
    edge: Edge, upstream: FakeUpstream
) -> None:
    head, _, body = edge.send("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{").partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 408 ")
    assert "content-type: application/json" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert upstream.asked == []


@pytest.mark.parametrize(("sent", "status"), [("NONSENSE\r\n\r\n", 400), ("GET /config HTTP/1.1\r\nHost: x\r\n", 408)])
def test_what_is_no_request_never_reaches_the_api(edge: Edge, upstream: FakeUpstream, sent: str, status: int) -> None:
    assert edge.send(sent).startswith(f"HTTP/1.1 {status} ")
    assert upstream.asked == []


def asked_from(address: str, edge: Edge) -> http.client.HTTPResponse:
    """The answer to a request that comes from that address of this host."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10, source_address=(address, 0))
    with closing(connection):
        connection.request("GET", "/config")
        answer = connection.getresponse()
        answer.read()
    return answer


def test_an_address_that_holds_many_connections_leaves_the_others_theirs(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    tmp_path.chmod(0o755)
    # On a busy machine the idle connections must not be closed for their age while others are opened.
    edge = Edge(tmp_path, upstream.port, patience="60s", EDGE_CONNECTIONS_PER_ADDRESS="50")
    with ExitStack() as held:
        held.callback(edge.stop)
        idle = [held.enter_context(closing(socket.socket())) for _ in range(80)]
        for each in idle:
            each.bind(("127.0.0.9", 0))
            each.connect(("127.0.0.1", edge.port))
            each.settimeout(0.5)
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            asked_from("127.0.0.9", edge)
        assert asked_from("127.0.0.8", edge).status == 200
        assert sum(closed_by_the_other_side(each) for each in idle) == 30


def closed_by_the_other_side(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_an_address_that_asks_too_often_is_told_so_and_others_are_answered(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    tmp_path.chmod(0o755)
    edge = Edge(tmp_path, upstream.port, EDGE_REQUESTS_PER_ADDRESS="20")
    try:
        answers = [asked_from("127.0.0.9", edge) for _ in range(21)]
        assert [each.status for each in answers] == [200] * 20 + [429]
        assert (answers[-1].headers["Retry-After"], asked_from("127.0.0.8", edge).status) == ("10", 200)
        assert len(upstream.asked) == 21
    finally:
        edge.stop()


def test_without_an_api_the_answer_is_503_with_the_callers_id(tmp_path: Path) -> None:
    upstream = FakeUpstream()
    tmp_path.chmod(0o755)
    edge = Edge(tmp_path, upstream.port)
    try:
        upstream.stop()
        answer = requests.get(f"{edge.url}/config", headers={"X-Request-Id": "q-1"}, timeout=30)
        told = {path: requests.post(f"{edge.url}{path}", data="{}", timeout=30).json() for path in SHAPES}
    finally:
        edge.stop()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert told == SHAPES
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Request-Id"] == "q-1"
