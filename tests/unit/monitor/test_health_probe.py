"""The monitor asks the running api whether a version answers."""

import http.server
import json
import threading

import pytest

from app.monitor.health_probe import http_probe

HEALTH = {
    "models": {
        "v1": {"loaded": True, "circuit_breaker": "closed"},
        "v2": {"loaded": True, "circuit_breaker": "open"},
        "v3": {"loaded": False, "error": "torn"},
        "v4": {"loaded": True, "circuit_breaker": "closed", "error": "it raises"},
    }
}


@pytest.fixture(scope="module")
def api():
    """An api that is unhealthy and says why."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps(HEALTH).encode() if self.path == "/health" else b"?")

        def log_message(self, *_args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("version", "failure"),
    [
        ("v1", None),
        ("v2", "its circuit breaker is open"),
        ("v3", "it is not loaded: torn"),
        ("v4", "it raises"),
        ("v9", "it is not loaded"),
    ],
)
def test_the_api_is_asked_whether_a_version_answers(api, version, failure):
    assert http_probe(api)(version) == failure


def test_an_api_that_does_not_answer_is_the_finding(api):
    assert http_probe("http://127.0.0.1:9")("v1") == "can't reach the API at http://127.0.0.1:9: ConnectionError"
    assert "/elsewhere/health gave no health report" in http_probe(api + "/elsewhere")("v1")
