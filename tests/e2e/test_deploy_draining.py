"""Draining: while the drain file is there, and after SIGTERM, clients are asked to close, and none is cut off."""

import http.client

import pytest
import requests

from tests.e2e.api_process import ROW
from tests.e2e.kept_alive import BODY, light_load
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def drain_file(tmp_path):
    return tmp_path / "drain"


@pytest.fixture
def api(start, drain_file):
    return start(DRAIN_FILE=str(drain_file))


@pytest.fixture
def clients(api):
    with light_load(api.port, clients=8, pause_s=0) as threads:
        eventually(lambda: all(client.answered for client in threads))
        yield threads


def every_worker_answers(api, status):
    """Wait until readiness has this status in every worker: of eight new connections, each worker gets some."""
    eventually(
        lambda: {requests.get(f"{api.url}/health/ready", timeout=10).status_code for _ in range(8)} == {status},
        timeout_s=5,
    )


def test_readiness_says_404_while_the_file_is_there_and_health_goes_on(api, drain_file):
    drain_file.touch()
    every_worker_answers(api, 404)
    assert api.get("/health/ready").json()["error"]["code"] == "draining"
    assert api.get("/health").json()["status"] == "healthy"
    assert api.post("/predict", ROW).ok


def test_taking_the_file_away_ends_the_draining(api, drain_file):
    drain_file.touch()
    api.wait_until("/health/ready", 404)
    drain_file.unlink()
    every_worker_answers(api, 200)
    assert api.get("/health/ready").ok
    assert "close" not in api.post("/predict", ROW).headers.get("Connection", "")


def test_kept_alive_clients_are_asked_to_close_while_draining(api, drain_file, clients):
    assert all(client.asked_to_close == 0 for client in clients)
    drain_file.touch()
    eventually(lambda: all(client.asked_to_close > 0 for client in clients), timeout_s=5)
    assert [client.wrong for client in clients] == [[]] * 8


def test_drained_and_then_stopped_nobody_is_cut_off(api, drain_file, clients):
    drain_file.touch()
    for client in clients:
        client.stop.set()  # as behind a proxy that has seen the 404
        client.join(20)
    assert api.stop() == 0
    assert [client.wrong for client in clients] == [[]] * 8


def test_an_idle_client_may_ask_once_more_after_sigterm(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.request("POST", "/predict", BODY)
    connection.getresponse().read()
    api.process.terminate()
    eventually(lambda: "Worker exiting" in api.log_text())  # the other worker: both have had the signal
    connection.request("POST", "/predict", BODY)
    answer = connection.getresponse()
    assert (answer.status, answer.will_close) == (200, True)


def test_a_connection_that_never_asked_does_not_hold_up_the_stop(api):
    connections = [http.client.HTTPConnection("127.0.0.1", api.port) for _ in range(4)]
    for connection in connections:
        connection.connect()
    eventually(lambda: sum(api.clients()) == 4)
    api.process.terminate()
    assert api.process.wait(15) == 0  # gunicorn's own patience would be 30 s


def test_a_drain_file_left_over_does_not_keep_the_next_start_from_being_ready(start, drain_file):
    drain_file.touch()
    start(DRAIN_FILE=str(drain_file))
    assert not drain_file.exists()


def test_a_drain_file_that_cannot_be_removed_stops_the_start_with_one_line(start, drain_file):
    drain_file.mkdir()
    api = start(ready=False, DRAIN_FILE=str(drain_file))
    assert api.process.wait(20) != 0
    assert "error: DRAIN_FILE: " in api.log_text()
    assert "Traceback" not in api.log_text()
