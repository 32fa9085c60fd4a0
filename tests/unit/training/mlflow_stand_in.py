"""A stand-in for an MLflow server: the calls of `app.inference.mlflow_server`, in memory, and the ways to fail."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

MISSING = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"})

LOGIN = "ann:secret"  # in an address, which no message may show


class StandIn:
    """`faults` give a status, or `hang` or `close`, for each call whose path contains the key."""

    def __init__(self) -> None:
        self.faults: dict[str, int | str] = {}
        self.experiments: dict[str, str] = {}
        self.runs: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.models: set[str] = set()
        self.versions: list[dict] = []
        self.aliases: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str]] = []
        self.logins: set[str | None] = set()
        self.artifact_root = "mlflow-artifacts:/7"
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """No more answers, and none to those that hang."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], data: bytes) -> tuple[int, object]:
        """The status and the content of an answer."""
        kind, _, what = path.removeprefix("/api/2.0/").partition("/")
        if kind == "mlflow-artifacts":
            self.files[unquote(what.removeprefix("artifacts/"))] = data
            return 200, {}
        body = json.loads(data) if data else query
        return getattr(self, what.replace("/", "_").replace("-", "_"))(body)

    def experiments_get_by_name(self, query):
        known = self.experiments.get(query["experiment_name"])
        return (200, {"experiment": {"experiment_id": known}}) if known else MISSING

    def experiments_create(self, body):
        self.experiments[body["name"]] = "7"
        return 200, {"experiment_id": "7"}

    def runs_create(self, body):
        with self._lock:  # clients log several runs at once
            run = {**body, "id": f"r{len(self.runs)}", "params": {}, "metrics": {}, "datasets": []}
            self.runs.append(run)
        files = f"{self.artifact_root}/{run['id']}/artifacts"
        return 200, {"run": {"info": {"run_id": run["id"], "artifact_uri": files}}}

    def _run(self, body):
        return next(run for run in self.runs if run["id"] == body["run_id"])

    def runs_log_batch(self, body):
        for kind in ("params", "metrics"):
            self._run(body)[kind].update({each["key"]: each["value"] for each in body[kind]})
        return 200, {}

    def runs_update(self, body):
        self._run(body).update(status=body["status"], end_time=body["end_time"])
        return 200, {}

    def runs_log_inputs(self, body):
        self._run(body)["datasets"] += body["datasets"]
        return 200, {}

    def registered_models_create(self, body):
        if body["name"] in self.models:
            return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there is one"}
        self.models.add(body["name"])
        return 200, {}

    def model_versions_create(self, body):
        if body["name"] not in self.models:
            return MISSING
        version = {**body, "version": str(len(self.versions) + 1)}
        self.versions.append(version)
        return 200, {"model_version": version}

    def model_versions_get(self, query):
        found = [each for each in self.versions if (each["name"], each["version"]) == (query["name"], query["version"])]
        return (200, {"model_version": found[0]}) if found else MISSING

    def model_versions_search(self, query):
        wanted = query["filter"]
        found = [each for each in self.versions if any(tag["value"] in wanted for tag in each["tags"])]
        return 200, {"model_versions": found} if found else {}

    def registered_models_alias(self, body):
        self.aliases[body["name"], body["alias"]] = body["version"]
        return 200, {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                stand_in.asked.append((self.command, parts.path))
                stand_in.logins.add(self.headers.get("Authorization"))
                fault = next((what for part, what in stand_in.faults.items() if part in self.path), None)
                if fault == "hang":
                    stand_in.released.wait(60)
                if isinstance(fault, str):
                    return
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                status, content = (
                    stand_in.answer(self.command, parts.path, query, data)
                    if fault is None
                    else (fault, {"error_code": "INTERNAL_ERROR", "message": "it hurts\nmore"})
                )
                body = json.dumps(content).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"https://{LOGIN}@elsewhere/api")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler
