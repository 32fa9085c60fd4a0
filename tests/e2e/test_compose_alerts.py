"""The way of an alert through the whole stack: from a cause at the edge to a receiver in the stack's own network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.stack import ROOT, Stack, output, running
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

ADMIN = {"Authorization": "Bearer token-of-the-tests"}
# Prints each alert that it receives, as a line of JSON.
RECEIVER = """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Told(BaseHTTPRequestHandler):
    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            print(json.dumps([alert["status"], alert["labels"]["alertname"]]), flush=True)
        self.send_response(200)
        self.end_headers()

HTTPServer(("", 8080), Told).serve_forever()
"""


class AlertsReceived:
    """The alerts that the receiver got."""

    def __init__(self, container: str) -> None:
        self._container = container

    def all(self) -> list[tuple[str, str]]:
        """Status and name of each alert, in the order in which they came."""
        lines = output("docker", "logs", self._container).splitlines()
        return [tuple(json.loads(line)) for line in lines if line.startswith("[")]

    @contextmanager
    def soon(self, status: str, name: str, timeout_s: float = 150) -> Iterator[None]:
        """The block causes this alert: it was not received before."""
        before = len(self.all())
        yield
        eventually(
            lambda: (status, name) in self.all()[before:],
            timeout_s,
            lambda: f"no {status} {name}; there were {self.all()}",
        )


@pytest.fixture
def watched(stack_images: str) -> Iterator[tuple[Stack, AlertsReceived]]:
    """A stack whose Alertmanager notifies a receiver, and the alerts that arrived there."""
    with running(stack_images, NOTIFY_WEBHOOK_URL="http://receiver:8080/") as stack:
        name = f"{stack.project}-receiver"
        where = ["--network", f"{stack.project}_alerts", "--network-alias", "receiver"]
        image = f"bakeoff-api:{stack_images}"
        output("docker", "run", "-d", "--init", "--name", name, *where, image, "python", "-c", RECEIVER)
        output(
            "docker", "network", "connect", "--alias", "receiver", f"{stack.project}_default", name
        )  # for the monitor
        try:
            yield stack, AlertsReceived(name)
        finally:
            output("docker", "rm", "-f", name)


def simulate(stack: Stack, *options: str) -> None:
    """Plays real rows against the edge."""
    command = [sys.executable, "-m", "app", "simulate", *options]
    env = {**os.environ, "API_URL": stack.api}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=180)


def test_alerts_arrive_when_they_fire_and_when_they_resolve(watched: tuple[Stack, AlertsReceived]) -> None:
    stack, received = watched
    simulate(stack, "--requests", "400")
    with received.soon("firing", "DriftAlarm"):
        simulate(stack, "--requests", "400", "--drift", "petal_length:+1sd")
    with received.soon("resolved", "DriftAlarm"):
        answer = requests.post(f"{stack.api}/drift/acknowledge", json={"note": "seen"}, headers=ADMIN, timeout=10)
        assert answer.status_code == 200
    api = stack.container("api")
    with received.soon("firing", "ApiDown"):
        output("docker", "stop", "-t", "35", api)
    with received.soon("resolved", "ApiDown"):
        output("docker", "start", api)
    # Alerts that fired before the receiver existed were not delivered, which is an alert of its own.
    received_names = {name for status, name in received.all() if status == "firing"}
    assert received_names - {"AlertsNotDelivered"} == {"DriftAlarm", "ApiDown"}
