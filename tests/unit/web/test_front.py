import io
import json

import pytest

from app.services.serving.load_shedding import LoadShedding
from app.settings import Settings
from app.web.allowed_hosts import ListenerHosts
from app.web.app import ALWAYS_ANSWERED, fast_lane
from app.web.front import MOST_QUICK_BYTES, FastLane, Front
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


def test_a_request_to_another_name_gets_421_and_is_a_prediction_without_an_answer():
    asked, metrics, hosts = Asked(), Metrics(), ListenerHosts(Settings(allowed_hosts=("good.example",)))
    lane, load = FastLane({"/predict": asked.fast}), LoadShedding(lambda: 0, 64)
    front = Front(lane, asked.other, load, metrics, ALWAYS_ANSWERED, hosts=hosts)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "HTTP_HOST": "evil.example"}
    status, _headers, body = front.rejection(environ)
    assert (status, json.loads(body)["error"]["code"]) == (421, "misdirected_request")
    assert (asked.paths, metrics.reasons, metrics.sheds) == ([], ["misdirected_request"], 0)
    assert front.rejection({**environ, "HTTP_HOST": "good.example"}) is None


def quick(method="POST", path="/predict", slow=False, **environ):
    front = Front(
        FastLane({"/predict": len}), None, LoadShedding(lambda: 0, 64), Metrics(), ALWAYS_ANSWERED, lambda: slow
    )
    return front.quick({"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_LENGTH": "34", **environ})


def test_a_small_prediction_of_quick_models_may_be_answered_on_an_event_loop():
    assert quick() is len


@pytest.mark.parametrize(
    "request_",
    [{"slow": True}, {"method": "GET"}, {"path": "/feedback"}, {"HTTP_CONTENT_ENCODING": "gzip"}]
    + [{"CONTENT_LENGTH": length} for length in (str(MOST_QUICK_BYTES + 1), "9" * 5000, "", "x")],
)
def test_everything_else_must_not_hold_an_event_loop_up(request_):
    assert quick(**request_) is None


def test_a_request_that_was_accepted_is_answered_however_many_wait_by_then():
    asked, seen = Asked(), {}
    front = Front(
        FastLane({"/predict": asked.fast}), asked.other, LoadShedding(lambda: 65, 64), Metrics(), ALWAYS_ANSWERED
    )
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict"}
    assert front.unshed(environ, lambda status, headers: seen.update(status=status)) == [b"fast"]
    assert seen["status"] == "200 OK"


def test_the_fast_lane_has_what_the_operations_declare():
    services = fakes.services()
    fast = fast_lane(services)
    for path in ("/predict", "/predict/batch", "/invocations", "/v1/models/iris:predict"):
        assert fast.get(path) is not None
    assert (fast.get("/health"), fast.get("/feedback"), fast.get("/v1/models")) == (None, None, None)
    status, _headers, body = fast.get("/predict")({"wsgi.input": io.BytesIO(), "PATH_INFO": "/predict"})
    assert (status, json.loads(body)["error"]["code"]) == (400, "malformed_json")


def test_what_is_shed_is_a_request_of_its_protocol_if_that_predicts():
    metrics = Metrics()
    front = Front(fast_lane(fakes.services()), Asked().other, LoadShedding(lambda: 65, 64), metrics, ALWAYS_ANSWERED)
    for path in ("/v2/models/iris/infer", "/ofrep/v1/evaluate/flags/iris", "/predict"):
        [body] = front({"REQUEST_METHOD": "POST", "PATH_INFO": path}, lambda *_: None)
        assert json.loads(body)
    assert (metrics.protocols, metrics.sheds) == (["oip_v2", "bakeoff"], 3)


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
