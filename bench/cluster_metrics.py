"""metrics.k8s.io for the node of .ci/cluster: what its kubelet measures, as an autoscaler reads it.

Debian has no metrics server. This one has pods only, and the processor time of their containers.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

_GROUP = "/apis/metrics.k8s.io/v1beta1"
_VERSION = {"apiVersion": "metrics.k8s.io/v1beta1"}
_RESOURCE = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
_KUBELET = "https://127.0.0.1:10250/stats/summary"
# First the way to the server: an API server that meets nobody there stays with its opinion.
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: metrics}}
spec: {{ports: [{{port: 443}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: metrics}}
subsets: [{{addresses: [{{ip: {host}}}], ports: [{{port: {port}}}]}}]
"""
API_SERVICE = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: default, port: 443}
"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        of_pods = re.fullmatch(f"{_GROUP}/namespaces/([^/]+)/pods", path)
        if path == _GROUP:
            resources = {"groupVersion": "metrics.k8s.io/v1beta1", "resources": [_RESOURCE]}
            self._answer(200, {"kind": "APIResourceList", "apiVersion": "v1", **resources})
        elif of_pods:
            items = list(_pods(of_pods[1]))
            self._answer(200, {"kind": "PodMetricsList", **_VERSION, "metadata": {}, "items": items})
        else:
            self._answer(404, {})

    def _answer(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: object) -> None:
        """Nothing."""


def _pods(namespace: str) -> Iterator[dict]:
    """What each pod of the namespace uses."""
    summary = _of_itself(_KUBELET).json()
    for pod in summary["pods"]:
        cores = [each for each in pod["containers"] or () if "usageNanoCores" in each.get("cpu", {})]
        if pod["podRef"]["namespace"] == namespace and cores:
            used = [
                {"name": each["name"], "usage": {"cpu": f"{each['cpu']['usageNanoCores']}n", "memory": "0"}}
                for each in cores
            ]
            named = {"name": pod["podRef"]["name"], "namespace": namespace}
            yield {"metadata": named, "timestamp": cores[0]["cpu"]["time"], "window": "10s", "containers": used}


def _of_itself(url: str) -> requests.Response:
    """The answer of a server on this host that has made its own certificate."""
    with warnings.catch_warnings(action="ignore"):
        return requests.get(url, verify=False, timeout=30)


def answers(url: str) -> bool:
    """Whether the server of `metrics` answers there."""
    try:
        return _of_itself(f"{url}{_GROUP}").ok
    except requests.RequestException:
        return False


@contextmanager
def metrics(host: str, folder: Path) -> Iterator[int]:
    """A server on `host`, whose certificate is made in `folder`; gives its port."""
    key, certificate = folder / "metrics.key", folder / "metrics.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=metrics"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with ThreadingHTTPServer((host, 0), _Handler) as server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
