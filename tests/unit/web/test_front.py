import io
import json

import pytest

from app.services.serving.load_shedding import LoadShedding
from app.web.app import ALWAYS_ANSWERED, fast_lane
from app.web.front import FastLane, Front
from tests.web import fakes
from tests.web.fakes import CountingMetrics


class Asked:
    """Remembers the paths that got through."""

    def __init__(self):
        self.paths = []

    def fast(self, environ):
        self.paths.append(environ["PATH_INFO"])
        return 200, [], b"fast"

    def other(self, environ, start_response):
        self.paths.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"other"]


class Metrics(CountingMetrics):
    sheds = 0

    def shed(self):
        self.sheds += 1


def ask(method, path, waiting):
    asked, metrics, seen = Asked(), Metrics(), {}
    front = Front(
        FastLane({"/predict": asked.fast}), asked.other, LoadShedding(lambda: waiting, 64), metrics, ALWAYS_ANSWERED
    )
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    body = b"".join(front(environ, lambda status, headers: seen.update(status=status, headers=dict(headers))))
    return body, seen, asked, metrics


@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("POST", "/feedback"), ("GET", "/models")])
def test_what_is_over_gets_503_and_retry_after_and_is_counted(method, path):
    body, seen, asked, metrics = ask(method, path, waiting=65)
    assert (seen["status"], seen["headers"]["Retry-After"]) == ("503 Service Unavailable", "1")
    assert json.loads(body)["error"]["code"] == "overloaded"
    assert (asked.paths, metrics.sheds) == ([], 1)
    assert metrics.reasons == (["overloaded"] if path == "/predict" else [])


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/config", "/models/reload", "/model/reload"])
def test_checks_and_what_reduces_the_load_are_always_answered(path):
    assert ask("GET", path, waiting=65)[2].paths == [path]


@pytest.mark.parametrize(("method", "body"), [("POST", b"fast"), ("GET", b"other")])
def test_as_many_may_wait_as_the_limit_says(method, body):
    assert ask(method, "/predict", waiting=64)[0] == body


def refusal_of(data):
    metrics = Metrics()
    front = Front(
        FastLane({"/predict": Asked().fast}), Asked().other, LoadShedding(lambda: 65, 64), metrics, ALWAYS_ANSWERED
    )
    assert front.full
    return front.rejection(data), metrics


def test_a_whole_request_is_rejected_from_its_bytes_as_a_thread_would_do_it():
    answer, metrics = refusal_of(b"POST /predict HTTP/1.1\r\nHost: here\r\nX-Request-Id: mine\r\n\r\n")
    head, _, body = answer.data.partition(b"\r\n\r\n")
    assert not answer.close
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert {b"Retry-After: 1", b"X-Request-Id: mine", b"Content-Length: %d" % len(body)} <= {*head.split(b"\r\n")}
    assert body == ask("POST", "/predict", waiting=65)[0]
    assert (metrics.sheds, metrics.reasons) == (1, ["overloaded"])


@pytest.mark.parametrize("data", [b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n", b"POST /predict HTTP/1.1\r\nHo"])
def test_what_must_be_read_by_a_thread_is_neither_answered_nor_counted(data):
    answer, metrics = refusal_of(data)
    assert (answer, metrics.sheds) == (None, 0)


def test_the_fast_lane_has_what_the_operations_declare():
    services = fakes.services()
    fast = fast_lane(services)
    for path in ("/predict", "/predict/batch", "/invocations", "/v1/models/iris:predict"):
        assert fast.get(path) is not None
    assert (fast.get("/health"), fast.get("/feedback"), fast.get("/v1/models")) == (None, None, None)
    status, _headers, body = fast.get("/predict")({"wsgi.input": io.BytesIO(), "PATH_INFO": "/predict"})
    assert (status, json.loads(body)["error"]["code"]) == (400, "malformed_json")


def test_a_path_with_parameters_is_found_and_remembered_with_their_values():
    lane = FastLane({"/m/{model}:go": lambda environ, model: (environ, model), "/m/{model}/v/{v}": dict})
    assert lane.get("/m/iris:go")("environ") == ("environ", "iris")
    assert lane.get("/m/iris:go") is lane.get("/m/iris:go")
    assert lane.get("/m/a/v/b")() == {"model": "a", "v": "b"}
    assert [lane.get(path) for path in ("/m/iris", "/m/a/b:go", "/m/:go", "/m/a/v/", "m/a:go")] == [None] * 5


def test_paths_that_vary_forever_are_found_and_not_kept():
    lane = FastLane({"/m/{model}": dict})
    assert all(lane.get(f"/m/{number}")() == {"model": str(number)} for number in range(1000))
    assert len(lane._found) < 1000
