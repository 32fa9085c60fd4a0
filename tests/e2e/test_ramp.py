"""A ramp over real HTTP, with the monitor, under live traffic with labels."""

import threading
from contextlib import contextmanager

import pytest
import requests

from tests.e2e.api_process import ROW
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
ADMIN = {"Authorization": "Bearer secret", "X-Actor": "ann"}
ENVIRONMENT = {"ADMIN_TOKEN": "secret", "MODEL_V1_WEIGHT": "1", "MODEL_V2_WEIGHT": "0", "BREAKER_FAILURES": "1000"}
FAILING = ("gunicorn", "--config", "docker/gunicorn.conf.py", "tests.e2e.failing_api:create()")


@contextmanager
def traffic(api):
    """One client that asks and labels without a pause; every request must be answered."""
    stop, failures = threading.Event(), []

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(api.url + "/predict", json=ROW, timeout=10)
                label = {"prediction_id": answer.json().get("prediction_id"), "actual": "setosa"}
                feedback = session.post(api.url + "/feedback", json=label, timeout=10)
                failures.extend(each.status_code for each in (answer, feedback) if each.status_code != 200)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(15)
    assert failures == []


def ramp(api, *steps):
    body = {"ramp": {"version": "v2", "steps": steps, "every_seconds": 1}}
    answer = api.session.patch(api.url + "/config", json=body, headers=ADMIN, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def config(api):
    return api.get("/config").json()


def entries(api):
    audit = api.get("/audit", headers=ADMIN).json()["entries"]
    return [(entry["actor"], entry["action"]) for entry in reversed(audit)]


def test_a_healthy_ramp_reaches_its_last_step_and_holds_without_traffic(start, watch):
    api = start(**ENVIRONMENT)
    watch()
    begun = ramp(api, 0.4, 0.8)
    assert (begun["weights"], begun["ramp"]["step"]) == ({"v1": 0.6, "v2": 0.4}, 1)
    eventually(lambda: config(api)["ramp"]["held"])
    with traffic(api):
        eventually(lambda: config(api)["ramp"] is None)
    assert config(api)["weights"] == pytest.approx({"v1": 0.2, "v2": 0.8})
    assert config(api)["experiment_id"] == begun["experiment_id"]


@pytest.mark.parametrize(("auto_decide", "action"), [("off", "ramp"), ("rollback", "rollback")])
def test_a_crossed_guardrail_ends_the_ramp_of_a_failing_version(start, watch, auto_decide, action):
    api = start(serve=FAILING, AUTO_DECIDE=auto_decide, **ENVIRONMENT)
    watch(AUTO_DECIDE=auto_decide)
    ramp(api, 0.25, 0.5)
    with traffic(api):
        eventually(lambda: config(api)["ramp"] is None)
        assert config(api)["weights"] == {"v1": 1.0, "v2": 0.0}
    assert entries(api)[0] == ("ann", "configure")
    assert entries(api)[-1] == ("monitor", action)
