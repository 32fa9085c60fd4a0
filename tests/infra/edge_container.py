"""HAProxy with docker/haproxy.cfg in a container of its own."""

from __future__ import annotations

import secrets
import socket
import subprocess
from pathlib import Path

import requests

from tests.infra.repository import ROOT
from tests.stack import output
from tests.waiting import eventually

IMAGE = "haproxy:2.6-bookworm"


class Edge:
    """HAProxy in a container of its own, on this host's network. It waits `patience` for a request to arrive."""

    def __init__(self, folder: Path, upstream_port: int, patience: str = "1s", **environment: str) -> None:
        self.port, own_port, metrics_port, self.tls_port = (free_port() for _ in range(4))
        self.url, self.own_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{own_port}"
        self._name = f"bakeoff-edge-{secrets.token_hex(4)}"
        text = (ROOT / "docker/haproxy.cfg").read_text()
        for ours, here in {
            "bind :5080": f"bind 127.0.0.1:{self.port}",
            "bind :5000": f"bind 127.0.0.1:{own_port}",
            "bind :5443": f"bind 127.0.0.1:{self.tls_port}",
            "bind :8404": f"bind 127.0.0.1:{metrics_port}",
            # The same checks and retries, but a name that needs no DNS of Compose.
            " resolvers docker init-addr none": "",
            "server-template api 8 api:5000": f"server api1 127.0.0.1:{upstream_port}",
            "timeout http-request 15s": f"timeout http-request {patience}",
        }.items():
            assert ours in text
            text = text.replace(ours, here)
        (folder / "haproxy.cfg").write_text(text)
        self._start(folder, [word for pair in environment.items() for word in ("-e", "=".join(pair))])

    def _start(self, folder: Path, options: list[str]) -> None:
        mount = f"{folder}:/usr/local/etc/haproxy:ro"
        output("docker", "run", "-d", "--rm", "--name", self._name, "--network", "host", "-v", mount, *options, IMAGE)
        eventually(
            lambda: requests.get(f"{self.url}/health/ready", timeout=2).status_code == 200,
            20,
            lambda: subprocess.run(["docker", "logs", self._name], capture_output=True, text=True).stderr,
            ignoring=requests.ConnectionError,
        )

    def send(self, text: str) -> str:
        """Raw bytes to the edge, and what it answers until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(text.encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def stop(self) -> None:
        """End the container."""
        output("docker", "kill", self._name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
