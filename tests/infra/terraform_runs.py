"""Terraform on a copy of the module, with what this machine has: a mirror or a registry, and a stand-in for AWS."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest

from tests.infra.repository import ROOT
from tests.turns import in_turn
from tests.waiting import eventually

COMMAND = str(ROOT / ".ci" / "terraform")
GIVEN = {
    "region": "us-east-1",
    "edge_cidrs": '["203.0.113.0/24"]',
    "release_url": "https://releases.example.com/bakeoff-1.0.tar.gz",
    "release_sha256": "0" * 63 + "1",
}
_DUMMY_AWS = {
    "AWS_ACCESS_KEY_ID": "dummy",
    "AWS_SECRET_ACCESS_KEY": "dummy",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHON": sys.executable,
}


def terraform(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `terraform ARGUMENTS` in the folder ended with and printed; an output of any length."""
    return subprocess.run(
        [COMMAND, "run", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | _DUMMY_AWS | environment,
        timeout=300,
    )


def module_copy(folder: Path) -> Path:
    """A copy of the module in which `terraform init` has been run; skips where that cannot be."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed: nothing of terraform/ was executed")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    copy = Path(shutil.copytree(ROOT / "terraform", folder / "module", ignore=ignored))
    # Terraform says of its plugin cache that two must not fill it at once.
    with in_turn(Path(tempfile.gettempdir()) / f"bakeoff-terraform-{os.getuid()}.lock"):
        result = terraform(copy, "init", "-no-color", "-backend=false")
    if result.returncode != 0:
        pytest.skip(f"the AWS provider is in no mirror and no registry answers: {result.stderr.strip()[-200:]}")
    return copy


def variables(**values: str) -> list[str]:
    """Arguments `-var name=value` for what the module needs, and for the values given."""
    return [f"-var={name}={value}" for name, value in (GIVEN | values).items()]


class _LifecycleManager(BaseHTTPRequestHandler):
    """Data Lifecycle Manager, which moto lacks: policies are kept as they were given."""

    protocol_version = "HTTP/1.1"
    policies: dict[str, dict[str, object]]

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = f"policy-{len(self.policies):017x}"
        arn = f"arn:aws:dlm:us-east-1:123456789012:policy/{name}"
        self.policies[name] = given | {"PolicyId": name, "PolicyArn": arn}
        self._answer(200, {"PolicyId": name})

    def do_GET(self) -> None:
        known = self.policies.get(self.path.strip("/").split("/")[-1])
        self._answer(*((404, {"Message": "no such policy"}) if known is None else (200, {"Policy": known})))

    def do_DELETE(self) -> None:
        self.policies.pop(self.path.strip("/").split("/")[-1])
        self._answer(200, {})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 404:
            self.send_header("X-Amzn-Errortype", "ResourceNotFoundException")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def _lifecycle_manager() -> Iterator[str]:
    handler = type("_Handler", (_LifecycleManager,), {"policies": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def aws_stand_in(host: str = "127.0.0.1") -> Iterator[str]:
    """The URL of a server that answers as AWS does and knows nothing yet; it ends with the block."""
    with _lifecycle_manager() as snapshots, _moto(host) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DLM", snapshots)
        yield url


@contextmanager
def _moto(host: str) -> Iterator[str]:
    port = _free_port(host)
    environment = os.environ | _DUMMY_AWS
    # To a file: it writes a line for each request, and stands still once nobody empties a pipe.
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([COMMAND, "moto", str(port), host], stdout=-3, stderr=log, env=environment)
        try:
            url = f"http://{host}:{port}"
            _wait_until_it_listens(server, url, log)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(server: subprocess.Popen[bytes], url: str, log: IO[str]) -> None:
    def answers() -> bool:
        if server.poll() is not None:
            log.seek(0)
            pytest.skip(f"the stand-in for AWS could not be installed: {log.read()[-200:]}")
        urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=2).close()
        return True

    eventually(answers, 240, lambda: "the stand-in for AWS does not answer", ignoring=OSError)
