"""More requests at once than a worker takes: the excess is rejected at once, on a connection that stays usable."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import Counter

import pytest

from tests.e2e.api_process import ROW
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

SLOW = ("gunicorn", "--config", "docker/gunicorn.conf.py", "tests.e2e.slow_api:create()")
ONE = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1", "MAX_QUEUED_REQUESTS": "2"}
BODY = json.dumps(ROW).encode()
BETWEEN_PIECES_S = 0.01
HEALTH = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"


class Client(threading.Thread):
    """Asks for `times` predictions on one connection, which stays dead if the server closes it; what it was answered,
    and in `ended` the statuses of all who share it, in their order."""

    def __init__(self, port, times, body=BODY, ended=None, headers=None):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.connect()
        self.connection.auto_open = 0
        self.times, self.body, self.answers = times, body, []
        self.ended = [] if ended is None else ended
        self.headers = headers or {}

    def run(self):
        for number in range(self.times):
            self.answers.append(self.ask(f"{self.name}-{number}"))
            self.ended.append(self.answers[-1][0])

    def ask(self, request_id):
        self.connection.request("POST", "/predict", self.body, {"X-Request-Id": request_id, **self.headers})
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        assert answer.headers["X-Request-Id"] == request_id
        return answer.status, answer.headers.get("Retry-After"), body.get("error", {}).get("code")


@pytest.fixture
def api(start):
    return start(serve=SLOW, **ONE)


def all_at_once(api, clients):
    for client in clients:
        client.start()
    health = api.get("/health")
    for client in clients:
        client.join(60)
    assert health.status_code == 200
    return Counter(answer for client in clients for answer in client.answers)


@pytest.mark.parametrize("body", [BODY, BODY.ljust(40_000)], ids=["small", "too large to be looked at"])
def test_excess_requests_are_rejected_at_once_and_counted_and_the_connection_goes_on(api, body):
    clients = [Client(api.port, 5, body) for _ in range(12)]
    answers = all_at_once(api, clients)
    assert set(answers) == {(200, None, None), (503, "1", "overloaded")}
    assert sum(answers.values()) == 60
    assert answers[503, "1", "overloaded"] >= 40
    assert api.metric("requests_shed_total") == answers[503, "1", "overloaded"]
    assert [client.ask("again")[0] for client in clients] == [200] * 12
    eventually(lambda: api.metric("model_version_requests_total") == answers[200, None, None] + 12)


def test_who_asks_for_the_connection_to_end_is_answered_at_once_too(api):
    """As HAProxy does for each request."""
    ended = []
    clients = [Client(api.port, 1, ended=ended, headers={"Connection": "close"}) for _ in range(12)]
    answers = all_at_once(api, clients)
    assert set(answers) == {(200, None, None), (503, "1", "overloaded")}
    assert ended.index(200) >= 1  # who is answered needs half a second, and was there first
    assert all(client.connection.sock is None for client in clients)


def test_who_is_over_does_not_wait_for_those_who_are_not(api):
    ended = []
    clients = [Client(api.port, 1, ended=ended) for _ in range(12)]
    all_at_once(api, clients)
    assert ended.index(200) >= 1  # who is answered needs half a second, and was there first


def test_a_request_that_comes_in_pieces_meanwhile_is_answered_whole(api):
    crowd = [Client(api.port, 5) for _ in range(8)]
    with_pieces = Client(api.port, 0)
    for client in crowd:
        client.start()
    whole = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    for start in range(0, len(whole), 15):
        with_pieces.connection.sock.sendall(whole[start : start + 15])
        time.sleep(BETWEEN_PIECES_S)
    answer = http.client.HTTPResponse(with_pieces.connection.sock)
    answer.begin()
    assert answer.status in (200, 503)
    assert json.loads(answer.read())
    for client in crowd:
        client.join(60)
    assert with_pieces.ask("after")[0] == 200


def test_a_line_that_is_too_long_is_answered_in_the_shape_of_every_error(api):
    answer = api.get("/models?" + "x" * 9000)
    assert (answer.status_code, answer.headers["Content-Type"]) == (414, "application/json")
    assert answer.json()["error"]["code"] == "uri_too_long"
    assert answer.headers["X-Request-Id"]


def test_a_crowd_that_connects_at_once_is_shared_out_between_the_workers(start):
    api = start(WEB_THREADS="2")
    wait_for_both(api)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", api.port))) for _ in range(60)]
        for connection in crowd:
            connection.sendall(HEALTH)
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in crowd)
        api.get("/health")
        shares = sorted(api.clients())
    assert sum(shares) == 61
    assert shares[1] - shares[0] <= 4


def wait_for_both(api):
    """Until each worker has been seen with a client: one may be ready well before the other."""
    seen = set()

    def both():
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))
                connection.sendall(HEALTH)
                connection.recv(12)
            seen.update(at for at, clients in enumerate(api.clients()) if clients)
        return len(seen) == 2

    eventually(both, 30)
