import pytest
from msgspec.structs import replace

from tests.web import fakes

GOOD, BAD = fakes.ConstantRuntime(), fakes.FailingRuntime()


def test_all_well_is_healthy(client):
    answer = client.get("/health")
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["store"]) == (200, "healthy", "ok")
    assert body["models"] == {name: {"loaded": True, "circuit_breaker": "closed"} for name in ("v1", "v2")}
    assert body["monitor"] == {"state": "absent", "age_s": None}
    assert {"version", "uptime_s"} <= set(body)


@pytest.mark.parametrize(
    ("served", "store", "status", "code", "ready"),
    [
        (fakes.loaded_models(v1=GOOD, v2=BAD), None, "degraded", 200, 200),
        (fakes.loaded_models(v1=GOOD, refused=[("v2", "model.onnx: wrong checksum")]), None, "degraded", 200, 200),
        (fakes.loaded_models(v1=GOOD), "the disk is full", "degraded", 200, 503),
        (fakes.loaded_models(v1=BAD, v2=BAD), None, "unhealthy", 503, 503),
        (fakes.loaded_models(), None, "unhealthy", 503, 503),
    ],
)
def test_the_status_follows_from_what_was_proven(serve, served, store, status, code, ready):
    client, _ = serve(served, store=lambda: store)
    health, readiness = client.get("/health"), client.get("/health/ready")
    assert (health.status_code, health.get_json()["status"]) == (code, status)
    assert readiness.status_code == ready
    for answer in (health, readiness):
        assert ("Retry-After" in answer.headers) is (answer.status_code == 503)


def test_a_load_balancer_learns_that_predictions_go_on_without_the_store(serve):
    client, _ = serve(store=lambda: "the disk is full")
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/ready?of=predictions").get_json() == {"status": "ready"}


def test_no_load_balancer_sends_requests_to_a_process_that_never_reached_its_store(serve):
    client, services = serve(store=lambda: "password authentication failed")
    services.live.configure(replace(services.live.configuration, epoch=0))
    answer = client.get("/health/ready?of=predictions")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "DATABASE_URL" in answer.get_json()["error"]["message"]


def test_without_a_model_predictions_are_not_ready_either(serve):
    client, _ = serve(fakes.loaded_models())
    assert client.get("/health/ready?of=predictions").status_code == 503


def test_readiness_without_a_model_says_what_to_run(serve):
    client, _ = serve(fakes.loaded_models())
    error = client.get("/health/ready").get_json()["error"]
    assert error["code"] == "not_ready"
    assert "bakeoff train" in error["message"]


def test_readiness_is_404_while_draining_and_all_else_goes_on(serve):
    client, _ = serve(draining=True)
    assert client.get("/health/ready").status_code == 404
    assert client.get("/health/ready?of=predictions").status_code == 404
    assert client.get("/health/live").status_code == 200
    assert client.post("/predict", json={"features": [1, 1, 1, 1]}).status_code == 200


def test_the_process_is_alive_also_where_no_version_is(serve):
    client, _ = serve(fakes.loaded_models())
    assert client.get("/health/live").get_json() == {"status": "alive"}


def test_probes_are_not_recorded(serve):
    client, services = serve()
    client.get("/health")
    client.get("/health/ready")
    assert services.recorder.exposures == []
