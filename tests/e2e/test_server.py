"""The server's processes: what they do when they are killed, when they run out of descriptors, and with `SERVER`."""

import contextlib
import resource
import signal
import socket
import threading

import psutil
import pytest
import requests

from tests.e2e.api_process import ROW, free_port
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
SLOW = ("gunicorn", "--config", "docker/gunicorn.conf.py", "tests.e2e.slow_api:create()")
BROKEN = ("gunicorn", "--config", "docker/gunicorn.conf.py", "tests.e2e.broken_worker:create()")


def refuses(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_when_the_master_is_killed_its_workers_end_and_give_the_port_back(start):
    api = start()
    eventually(lambda: len(api.workers()) == 2, 20)
    workers = api.workers()
    api.process.kill()
    api.process.wait(10)
    gone, alive = psutil.wait_procs(workers, 20)
    assert (len(gone), alive) == (2, [])
    assert refuses(api.port)


def test_ctrl_c_ends_it_at_once_though_clients_are_connected(start):
    api = start()
    eventually(lambda: api.metric("api_workers") == 2, 20)
    with socket.create_connection(("127.0.0.1", api.port)):
        assert api.post("/predict", ROW).ok
        for process in (*api.workers(), psutil.Process(api.process.pid)):  # as a terminal does
            process.send_signal(signal.SIGINT)
        assert api.process.wait(15) == 0
    assert "Traceback" not in api.log_text()


@pytest.mark.parametrize("asked", [signal.SIGHUP, signal.SIGUSR1])
def test_the_masters_signals_lose_no_request(start, asked):
    api = start()
    eventually(lambda: len(api.workers()) == 2, 20)
    before = {worker.pid for worker in api.workers()}
    api.process.send_signal(asked)
    for _ in range(100):
        assert api.post("/predict", ROW).ok
    if asked == signal.SIGHUP:
        eventually(lambda: len(now := {worker.pid for worker in api.workers()}) == 2 and not now & before, 40)
    eventually(lambda: api.metric("prediction_requests_total") == 100)


def test_more_workers_can_be_had_and_given_back(start):
    api = start()
    api.process.send_signal(signal.SIGTTIN)
    eventually(lambda: len(api.workers()) == 3, 20)
    api.process.send_signal(signal.SIGTTOU)
    eventually(lambda: len(api.workers()) == 2, 20)
    assert api.post("/predict", ROW).ok


def test_more_clients_than_descriptors_wait_and_the_others_are_served(start):
    api = start(WEB_CONCURRENCY="1")
    assert api.post("/predict", ROW).ok
    [worker] = api.workers()
    descriptors = worker.num_fds() + 10
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))
        eventually(lambda: "cannot_accept" in api.log_text(), 10)
        assert api.post("/predict", ROW).ok  # on a connection from before
    api.session.close()
    eventually(lambda: api.post("/predict", ROW).ok, 10, ignoring=OSError)
    assert [each.pid for each in api.workers()] == [worker.pid]


def test_a_slow_model_holds_up_neither_checks_nor_other_clients(start):
    api = start(serve=SLOW, WEB_CONCURRENCY="1", WEB_THREADS="4")
    asking = [threading.Thread(target=api_predicts, args=(api,)) for _ in range(3)]
    for each in asking:
        each.start()
    answered = 0
    while any(each.is_alive() for each in asking):
        answered += api.get("/health/live").ok
    assert answered >= 10  # three answers take half a second; one after the other on the loop, nothing else would run


def api_predicts(api):
    assert requests.post(f"{api.url}/predict", json=ROW, timeout=30).ok


def test_a_worker_that_cannot_start_ends_the_master_and_says_why(start):
    # Of two that end at once gunicorn may take the second for an error of its own, and end with 1.
    api = start(serve=BROKEN, ready=False, WEB_CONCURRENCY="1")
    assert api.process.wait(90) == 3
    assert "this worker cannot start" in api.log_text()


def test_gunicorns_own_threads_serve_the_same_application(start, tmp_path):
    drain_file = tmp_path / "drain"
    api = start(SERVER="threads", DRAIN_FILE=str(drain_file))
    assert "Using worker: gthread" in api.log_text()
    assert api.post("/predict", ROW).json()["prediction"] == "setosa"
    assert api.get("/models").ok
    eventually(lambda: api.metric("prediction_requests_total") == 1)
    drain_file.touch()
    assert api.get("/health/ready").status_code == 404
    assert api.stop() == 0


@pytest.mark.parametrize("server", ["loop", "threads"])
def test_a_page_that_has_its_name_resolve_to_this_service_gets_421(start, server):
    api = start(SERVER=server, WEB_CONCURRENCY="1")
    calls = (("GET", "/health"), ("POST", "/predict"), ("POST", "/v2/models/iris/infer"), ("OPTIONS", "/predict"))
    for method, path in calls:
        answer = api.session.request(method, api.url + path, json=ROW, headers={"Host": "evil.example"}, timeout=30)
        assert answer.status_code == 421
        assert "evil.example" in str(answer.json()["error"])
    assert api.post("/predict", ROW, headers={"Host": "localhost"}).ok


@pytest.mark.parametrize("server", ["loop", "threads"])
def test_administration_can_have_a_listener_of_its_own(start, server):
    port = free_port()
    api = start(SERVER=server, WEB_CONCURRENCY="1", ADMIN_BIND=f"127.0.0.1:{port}")
    inside = api.url.replace(str(api.port), str(port))
    assert api.post("/predict", ROW).ok
    assert api.get("/health").ok
    for path in ("/metrics", "/audit", "/predictions/history", "//config", "/config/", "/%61udit"):
        assert api.get(path).status_code == 404
    for path in ("/metrics", "/audit", "/predictions/history", "/config", "/%61udit", "/health"):
        assert requests.get(inside + path, timeout=30).ok
    assert requests.post(f"{inside}/predict", json=ROW, timeout=30).ok


def test_an_unknown_server_is_refused_with_one_line(start):
    api = start(ready=False, SERVER="granian")
    assert api.process.wait(20) != 0
    assert "SERVER" in api.log_text()
    assert "Traceback" not in api.log_text()
