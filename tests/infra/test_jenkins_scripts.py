"""The scripts that the pipeline's stages call, and people too: plain about wrong use, careful with what is secret."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.infra.repository import ROOT


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["docker/on_host.sh"], "give a host and a script"),
        (["docker/on_host.sh", "web1"], "give a host and a script"),
        (["docker/on_host.sh", "web1;ls", "smoke.sh"], "is not a host"),
        (["docker/on_host.sh", "web1", "../install.sh"], "has no script"),
        (["docker/on_host.sh", "web1", "gone.sh"], "has no script"),
        (["docker/split.sh"], "expected VERSION=WEIGHT"),
        (["docker/split.sh", "v1=50", "v2"], "expected VERSION=WEIGHT, got 'v2'"),
        (["docker/split.sh", "v1=-1"], "expected VERSION=WEIGHT"),
        (["docker/retrain.sh", "--share", "2"], "'2' is not a share"),
        (["docker/retrain.sh", "--share"], "--share needs a value"),
        (["docker/retrain.sh", "--min-accuracy", "high"], "'high' is not a number"),
        (["docker/retrain.sh", "--alpha", "1"], "'1' is not a share below 1"),
        (["docker/retrain.sh", "--margin", "-1"], "'-1' is neither a number nor none"),
        (["docker/retrain.sh", "--keep", "0"], "'0' is neither a number of versions nor none"),
        (["docker/retrain.sh", "web1"], "unknown argument: web1"),
        (["docker/scan.sh"], "give an image"),
        (["docker/scan.sh", "--nonsense"], "unknown option"),
        ([".ci/tools", "nonsense"], "unknown tools: nonsense"),
    ],
)
def test_wrong_use_is_refused_with_a_reason(command: list[str], complaint: str) -> None:
    result = run(*command)
    assert result.returncode in (1, 2)
    assert complaint in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("script", ["on_host.sh", "split.sh", "retrain.sh", "scan.sh"])
def test_help_is_there(script: str) -> None:
    result = run(f"docker/{script}", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: docker/{script}")


class Webhook(http.server.BaseHTTPRequestHandler):
    """Keeps what it receives; under /broken it answers 500."""

    def do_POST(self) -> None:
        received = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(received)))
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_notified_how_the_build_ended(webhook: http.server.HTTPServer) -> None:
    address = f"http://127.0.0.1:{webhook.server_port}/secret-path"
    result = run(".ci/jenkins/notify", 'Build 7 ("x"): FAILURE', "http://jenkins/7", NOTIFY_WEBHOOK_URL=address)
    assert result.returncode == 0, result.stderr
    assert webhook.received == [("/secret-path", {"text": 'Build 7 ("x"): FAILURE http://jenkins/7', "event": "build"})]


def test_a_webhook_that_refuses_is_a_failure_without_its_address(webhook: http.server.HTTPServer) -> None:
    address = f"http://127.0.0.1:{webhook.server_port}/broken"
    result = run(".ci/jenkins/notify", "Build 7: FAILURE", NOTIFY_WEBHOOK_URL=address)
    assert result.returncode == 1
    assert "the webhook could not be notified" in result.stderr
    assert "/broken" not in result.stderr
