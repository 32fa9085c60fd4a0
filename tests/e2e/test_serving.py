"""The serving path over real HTTP: two workers, real signals, real files."""

import json
import random
import signal
import socket
import sqlite3
import time

import pytest

from tests.e2e.api_process import ROW
from tests.unit.store.stored_rows import log_at
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
LOCKED_S = 1.0  # for how long another process locks the store


def logged(folder):
    return len(log_at(f"sqlite:///{folder / 'data' / 'bakeoff.sqlite'}"))


def test_a_prediction_is_answered_by_the_contract(shared_api):
    answer = shared_api.post("/predict", ROW, headers={"X-Request-Id": "mine"})
    body = answer.json()
    assert answer.headers["X-Request-Id"] == "mine"
    assert answer.headers["X-Model-Version"] == body["model_version"]
    assert body["prediction"] == "setosa"
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["confidence"] == body["probabilities"]["setosa"]
    assert len(body["prediction_id"]) == 64


def test_the_split_is_that_of_the_environment(start):
    api = start(MODEL_V1_WEIGHT="0", MODEL_V2_WEIGHT="5")
    assert {api.post("/predict", ROW).json()["model_version"] for _ in range(50)} == {"v2"}
    forced = api.post("/predict", ROW, headers={"X-Model-Version": "v1"}).json()
    assert (forced["model_version"], forced["assignment"]) == ("v1", "forced")


def test_the_counters_are_exact_though_workers_come_and_go(start):
    api = start()
    for _ in range(150):
        assert api.post("/predict", ROW).ok
    api.replace_worker(signal.SIGTERM)
    for _ in range(150):
        assert api.post("/predict", ROW).ok
    eventually(lambda: api.metric("prediction_requests_total") == 300)
    api.replace_worker(signal.SIGKILL)
    for _ in range(100):
        assert api.post("/predict", ROW).ok
    assert api.metric("prediction_requests_total") == 400
    assert api.metric("model_version_requests_total") == 400
    assert api.metric("prediction_latency_seconds_count") == 400


def test_a_reader_sees_its_own_writes_whichever_worker_answers(start):
    api = start()
    for number in range(1, 31):
        sent = api.post("/predict", ROW).json()["prediction_id"]
        page = api.get("/predictions/history", params={"limit": 1}).json()
        assert page["predictions"][0]["prediction_id"] == sent
        assert api.metric("prediction_requests_total") == number


def test_sigterm_loses_nothing(start, installation):
    api = start()
    for _ in range(300):
        assert api.post("/predict", ROW).ok
    assert api.stop() == 0
    assert logged(installation) == 300
    assert "was sent SIG" not in api.log_text()  # no worker died of a signal at its end
    assert "terminate called" not in api.log_text()


def test_a_locked_store_delays_and_loses_nothing(start, installation):
    api = start()
    assert api.post("/predict", ROW).ok
    api.get("/predictions/history")
    holder = sqlite3.connect(installation / "data" / "bakeoff.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    answers = [api.post("/predict", ROW) for _ in range(200)]
    time.sleep(LOCKED_S)
    holder.execute("ROLLBACK")
    holder.close()
    assert all(answer.ok for answer in answers)
    api.stop()
    assert logged(installation) == 201
    events = [json.loads(line) for line in api.log_text().splitlines() if line.startswith("{")]
    assert sum(event["event"] == "store_outage" for event in events) <= 2  # once a worker


def test_an_empty_shelf_starts_and_says_what_to_run(start, tmp_path):
    (tmp_path / "empty").mkdir()
    api = start(tmp_path / "empty", ready=False).wait_until("/health/live")
    ready = api.get("/health/ready")
    assert ready.status_code == 503
    assert "bakeoff train" in ready.json()["error"]["message"]
    assert ready.headers["Retry-After"]
    assert api.post("/predict", ROW).status_code == 503


@pytest.mark.parametrize(
    "environment",
    [{"MODEL_V1_WEIGHT": "-1"}, {"MODEL_V2_WEIGHT": "many"}, {"MODEL_V1_WEIGHT": "0", "MODEL_V2_WEIGHT": "0"}],
)
def test_a_wrong_weight_stops_the_start_and_names_the_variable(start, environment):
    api = start(ready=False, **environment)
    assert api.process.wait(20) != 0
    assert next(iter(environment)) in api.log_text()
    assert "Traceback" not in api.log_text()


def test_a_tampered_version_is_refused_and_the_other_serves(start, installation):
    with (installation / "models" / "v1" / "model.joblib").open("r+b") as file:
        file.seek(100)
        file.write(b"\x00\xff\x00\xff")
    api = start()
    assert {api.post("/predict", ROW).json()["model_version"] for _ in range(20)} == {"v2"}
    health = api.get("/health").json()
    assert health["status"] == "degraded"
    assert "model.joblib" in health["models"]["v1"]["error"]


def test_whatever_bytes_arrive_the_answer_is_a_4xx_and_the_server_goes_on(shared_api):
    rng = random.Random(5)
    for _ in range(200):
        garbage = rng.randbytes(rng.randrange(1, 400))
        answer = shared_api.post("/predict", data=garbage)
        assert answer.status_code in (400, 413)
        assert answer.json()["error"]["code"]
    assert shared_api.post("/predict", ROW).ok


def test_a_body_of_100_mb_is_refused_readably(shared_api):
    answer = shared_api.post("/predict", data=b"[" + b"1," * (50 * 1024 * 1024) + b"1]")
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"
    assert shared_api.post("/predict", ROW).ok


def test_a_batch_of_a_million_rows_is_refused(start):
    api = start(MAX_BODY_BYTES="67108864")
    answer = api.post("/predict/batch", {"instances": [[5.1, 3.5, 1.4, 0.2]] * 1_000_000})
    assert answer.status_code == 413
    assert api.post("/predict", ROW).ok


def test_bytes_that_are_not_http_get_a_4xx_and_the_server_goes_on(shared_api):
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"POST /predict\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", shared_api.port), timeout=10) as connection:
            connection.sendall(garbage)
            assert b" 4" in (connection.recv(4096) or b" 4")[:13]
    assert shared_api.post("/predict", ROW).ok


@pytest.mark.parametrize("environment", [{"BASELINE": "v9"}, {"EXPERIMENT_METRIC": "absolute_error"}])
def test_a_setting_that_does_not_fit_the_shelf_stops_the_start_with_one_line(start, environment):
    api = start(ready=False, **environment)
    assert api.process.wait(20) != 0
    assert f"error: {next(iter(environment))}: " in api.log_text()
    assert "Traceback" not in api.log_text()


def test_a_call_by_post_says_so(shared_api):
    answer = shared_api.get("/models/reload")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_history_shows_what_was_answered(shared_api):
    shown = shared_api.post("/predict", {"features": [6.1, 2.9, 4.9, 1.7]}).json()
    [kept] = shared_api.get("/predictions/history", params={"limit": 1}).json()["predictions"]
    assert kept["confidence"] == shown["confidence"]
