"""A server on a free port with the few calls that the simulator makes; it remembers what it got."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.domain.contract import Feature, FeatureContract

IRIS = FeatureContract(
    task="classification",
    target="species",
    features=tuple(Feature(name=n) for n in ("sepal_length", "sepal_width", "petal_length", "petal_width")),
    classes=("setosa", "versicolor", "virginica"),
)
MODEL = {
    "version": "v1",
    "aliases": ["champion"],
    "serving": True,
    "contract": {
        "task": "classification",
        "target": "species",
        "features": [{"name": feature.name, "kind": "numeric"} for feature in IRIS.features],
        "classes": list(IRIS.classes),
    },
    "source": {"dataset": "iris", "target": "species", "rows": 150, "sha256": "0" * 64},
}


class SmallService:
    """Answers `setosa` as v1 and v2 alternately; `answers`, by path (status, body, headers), go first."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = [MODEL]
        self.answers: dict[str, list[tuple[int, object, dict[str, str]]]] = {}
        self.got: list[tuple[str, Any]] = []
        self.authorisation: set[str | None] = set()
        self.users: list[str] = []
        self.keys: list[str] = []
        self.kinds: set[str | None] = set()
        self.exogenous = False
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: object) -> None:
                service.authorisation.add(self.headers["Authorization"])
                service.kinds.add(self.headers["X-Traffic-Kind"])
                service.keys += self.headers.get_all("X-Prediction-Key", [])
                service.users += self.headers.get_all("X-User-Id", [])
                status, answer, headers = service.answer(self.path, body)
                text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(text))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> SmallService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: Any) -> tuple[int, object, dict[str, str]]:
        with self._lock:
            self.got.append((path, body))
            if self.answers.get(path):
                return self.answers[path].pop(0)
            if path == "/models":
                return 200, {"models": self.models, "aliases": {}, "refused": {}}, {}
            if path == "/config":
                return 200, {"labels_exogenous": self.exogenous}, {}
            if path == "/feedback":
                return 200, {"accepted": len(body["feedback"]), "duplicates": 0}, {}
            if path.startswith("/predictions?id="):
                is_known = path.removeprefix("/predictions?id=") in self.keys
                return (200, {"prediction_id": "p1"}, {}) if is_known else (404, {}, {})
            number = len(self.got)
            version = "v1" if number % 2 else "v2"
            answer = {"prediction_id": f"p{number}", "prediction": "setosa", "model_version": version}
            return 200, answer | {"assignment": "weighted", "latency_ms": 0.1}, {}

    def bodies(self, path: str) -> list[Any]:
        return [body for called, body in self.got if called == path]
