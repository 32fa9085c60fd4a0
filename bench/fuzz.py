"""Send mutated requests over real connections: no answer may be a 5xx, and each error has the form of its protocol.

    python bench/fuzz.py [--requests 100000] [--connections 4] [--all] [--seed 1]

Half of the requests go to a service with Iris, the other half to one with categories; each is trained and started for
it. Without `--all` they go to the calls of other servers' protocols alone. Valid requests are the seeds: values are
replaced, removed and repeated, bytes changed, lengths and encodings made to lie. 503 is counted apart. The exit status
is 1 for a 5xx, an error in another form, a worker that ended, or a service that is not ready afterwards.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import random
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import requests
from servers import SERVE, bakeoff, family, free_port, places, server

ADMIN = {"Authorization": "Bearer bench"}
# By the start of a path: the keys of an error's body, each a text; everything else has this service's own form.
FORMS = {
    "/v1": ("error",),
    "/v2": ("error",),
    "/invocations": ("error_code", "message"),
    "/ping": ("error_code", "message"),
    "/version": ("error_code", "message"),
    "/endpoints": ("code", "message"),
    "/ofrep": ("errorCode", "errorDetails"),
}
TABLE = ["--dataset", "tests/cases/adult.csv", "--target", "income", "--min-accuracy", "0.5"]
MODELS = {"iris": [], "adult": TABLE}
ROWS = {
    "iris": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    "adult": {"age": 67, "workclass": " State-gov", "hours": 58},
}
JUNK: list[Any] = [None, True, False, -1, 0, 1e308, 5.1, 2**70, "x", "", "\x00", "é\U0001f600", [], {}, [[1, 2]]]
JUNK += ["v1", "NaN", "9" * 400, -(2**63), [None] * 9, {"": {}}, {"a": 1}, "FP16", "BYTES", "\ud800"]
HEADERS = {
    "Content-Type": ["application/json", "text/csv", "application/octet-stream", "text/csv; charset=latin1", "x", ""],
    "Content-Encoding": ["gzip", "deflate", "br", "identity", "gzip, gzip", ""],
    "Accept": ["text/csv", "*/*", "text/csv;q=x", ";", "application/json"],
    "X-Model-Version": ["v1", "v2", "v9", "", "é"],
    "X-User-Id": ["u-1", "", "é", "u" * 300],
    "X-Prediction-Key": ["order-1", "", "\x80", "k" * 200],
    "X-Request-Id": ["r-1", "é", "r" * 200],
    "Inference-Header-Content-Length": ["0", "1", "-1", "1e3", "99999999999999999999", "é", ""],
    "If-None-Match": ["*", '"x"', ","],
    "X-Amzn-SageMaker-Target-Variant": ["v1", "v9", "é"],
    "X-Amzn-SageMaker-Inference-Id": ["i-1", "", "i" * 200],
    "X-Amzn-SageMaker-Session-Id": ["NEW_SESSION", "s-1", "s" * 300],
    "X-Amzn-SageMaker-Custom-Attributes": ["c=1", "é", "c" * 2000],
    "X-API-Key": ["bench", "é"],
}
SEGMENTS = ["v1", "1", "v9", "champion", "x", "%00", "..", "..%2f", "%ff", "é", "a" * 300, "iris:predict", "{}", "*"]


class Found(NamedTuple):
    """What the answers were: the status of each, and those that should not be."""

    statuses: list[int]
    faults: list[str]


class Sent(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    chunked: bool


def seeds_of(model: str) -> list[tuple[Any, bytes, dict[str, str]]]:
    """Valid bodies: the JSON, raw bytes behind it, and headers that belong to them."""
    row, json_type = ROWS[model], {"Content-Type": "application/json"}
    values, names = [*row.values()], [*row]
    types = ["BYTES" if type(value) is str else "FP64" for value in values]
    listed = [
        {"name": name, "shape": [2], "datatype": kind, "data": [value] * 2}
        for name, kind, value in zip(names, types, values, strict=True)
    ]
    packed = [_packed(value) * 2 for value in values]
    sizes = [{"shape": [2, 1], "parameters": {"binary_data_size": len(part)}} for part in packed]
    raw = [{**each, **size} for each, size in zip(listed, sizes, strict=True)]
    [each.pop("data") for each in raw]
    wanted = [{"name": "predict_proba", "parameters": {"classification": 2, "binary_data": True}}, {"name": "predict"}]
    frame = {"index": [0, 1], "columns": names, "data": [values, values]}
    rows: list[Any] = [
        {"inputs": listed, "id": "a", "parameters": {"user_id": "u", "binary_data_output": True}},
        {"inputs": listed, "outputs": wanted},
        {"inputs": [{"name": "input", "shape": [1, len(values)], "datatype": "FP64", "data": values}]},
        {"instances": [values, row], "parameters": {"ids": ["a", "b"], "user_id": "u"}},
        {"inputs": {name: [value] * 2 for name, value in row.items()}, "signature_name": "serving_default"},
        {"dataframe_split": frame, "params": {"user_id": "u"}},
        {"dataframe_records": [row]},
        {"features": values, "id": "order-1"},
        row,
        [values],
        {"context": {"targetingKey": "u-1", "city": "Oslo"}},
        {"user_id": "u-1", "version": "v1"},
        {"feedback": [{"prediction_id": "x" * 64, "actual": 1}]},
        {"weights": {"v1": 1, "v2": 1}, "epoch": 1},
    ]
    csv = ",".join(names) + "\n" + ",".join(map(str, values)) + "\n"
    return [
        *((each, b"", json_type) for each in rows),
        ({"inputs": raw, "parameters": {"binary_data_output": True}}, b"".join(packed), {}),
        ({"inputs": raw, "outputs": wanted}, b"".join(packed), {}),
        (csv, b"", {"Content-Type": "text/csv"}),
    ]


def _packed(value: float | str) -> bytes:
    if type(value) is str:
        return struct.pack("<I", len(value)) + value.encode()
    return struct.pack("<d", value)


class Fuzzer:
    """Draws requests to the calls of a service."""

    def __init__(self, rng: random.Random, model: str, calls: list[tuple[str, str]]) -> None:
        self._rng = rng
        self._model = model
        self._calls = calls
        self._seeds = seeds_of(model)

    def draw(self) -> Sent:
        """The next request."""
        rng = self._rng
        method, template = rng.choice(self._calls)
        heavy = template.endswith(("/reload", "/load", "/unload"))  # each checks every file of the registry
        headers = ADMIN if rng.random() < (0.02 if heavy else 0.3) else {}
        if rng.random() < 0.03:
            method = rng.choice(["get", "post", "put", "patch", "delete", "head", "options"])
        value, raw, own = rng.choice(self._seeds)
        if not isinstance(value, str):
            value = copy.deepcopy(value)
            for _ in range(rng.choice([0, 1, 1, 2, 5])):
                value = self._changed(value)
        head = (value if isinstance(value, str) else json.dumps(value)).encode(errors="surrogatepass")
        headers = {**own, **headers}
        if raw:
            headers["Inference-Header-Content-Length"] = str(len(head) + (rng.random() < 0.1) * rng.randint(-9, 99))
        body = self._spoilt(head + raw)
        for name in rng.sample([*HEADERS], rng.choice([0, 0, 0, 1, 3])):
            headers[name] = rng.choice(HEADERS[name])
        if rng.random() < 0.1:
            encoding, pack = rng.choice([("gzip", gzip.compress), ("deflate", zlib.compress)])
            headers["Content-Encoding"], body = encoding, self._spoilt(pack(body), 0.3)
        return Sent(method.upper(), self._path(template), headers, body, rng.random() < 0.1)

    def _changed(self, value: Any) -> Any:
        """The value with one of its parts replaced, removed, repeated or named otherwise."""
        places = [*_places(value)]
        if not places or self._rng.random() < 0.05:
            return copy.deepcopy(self._rng.choice(JUNK))  # a later change must not grow what all requests draw from
        holder, key = self._rng.choice(places)
        what = self._rng.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif what == 1:
            holder[self._rng.choice(["x", "", "data", "shape", "id", "parameters", "outputs"])] = holder[key]
        else:
            holder[key] = copy.deepcopy(self._rng.choice(JUNK))
        return value

    def _spoilt(self, body: bytes, share: float = 0.4) -> bytes:
        """The bytes, some of which are others in this share of cases."""
        if self._rng.random() > share:
            return body
        text = bytearray(body)
        for _ in range(self._rng.choice([1, 1, 3, 20])):
            place = self._rng.randrange(len(text) + 1)
            text[place : place + self._rng.randint(0, 3)] = self._rng.randbytes(self._rng.randint(0, 3))
        return bytes(text[: self._rng.randrange(len(text) + 1)] if self._rng.random() < 0.1 else text)

    def _path(self, template: str) -> str:
        path = template
        while "{" in path:
            before, _, rest = path.partition("{")
            name, _, after = rest.partition("}")
            right = self._model if name in ("model", "key") else "champion" if name == "label" else "v1"
            path = before + quote(right if self._rng.random() < 0.9 else self._rng.choice(SEGMENTS), safe="%:*") + after
        if self._rng.random() < 0.03:
            path += self._rng.choice(
                ["/", "/x", "?a=b", "?limit=-1&limit=2", "?id=%00", "?format=csv&version=v9", "//"]
            )
        return path


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of the value, as what holds it and the key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def fault_of(sent: Sent, answer: HTTPResponse, body: bytes) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    if answer.status >= 500 and answer.status != 503:
        return "a 5xx"
    if b"Traceback" in body:
        return "a traceback"
    if answer.status < 400 or sent.method == "HEAD":
        return None
    own = next((keys for start, keys in FORMS.items() if _below(sent.path, start)), None)
    try:
        error = json.loads(body)
        texts = [error["error"]["code"], error["error"]["message"]] if own is None else [error[key] for key in own]
    except (ValueError, KeyError, TypeError):
        return "an error in another form"
    right = all(type(text) is str and text for text in texts) and answer.headers["Content-Type"] == "application/json"
    return None if right else "an error in another form"


def _below(path: str, start: str) -> bool:
    return path.startswith(start) and path[len(start) : len(start) + 1] in ("", "/", "?")


def send(port: int, times: int, draw: Callable[[], Sent], found: Found) -> None:
    """Send so many requests on one connection, which is opened anew where the service closes it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(times):
        sent = draw()
        try:
            # Chunks come with no length, as clients send them that do not know it.
            pieces = iter([sent.body[:7], sent.body[7:]] if len(sent.body) > 7 else [sent.body] * bool(sent.body))
            headers = {name: value.encode("utf-8") for name, value in sent.headers.items()}
            connection.request(
                sent.method, sent.path, pieces if sent.chunked else sent.body, headers, encode_chunked=True
            )
            answer = connection.getresponse()
            body = answer.read()
        except (HTTPException, OSError) as error:
            connection.close()
            found.statuses.append(0)
            found.faults.append(f"{error!r}: {sent.method} {sent.path} {sent.headers} {sent.body[:300]!r}")
            continue
        found.statuses.append(answer.status)
        if fault := fault_of(sent, answer, body):
            found.faults.append(f"{fault}: {answer.status} {body[:200]!r} for {sent}"[:900])


def fuzz(port: int, model: str, args: argparse.Namespace) -> Found:
    """Send the requests on all connections, and collect what the answers were."""
    document = requests.get(f"http://127.0.0.1:{port}/openapi.json", timeout=30).json()
    every = [(method, path) for path, methods in document["paths"].items() for method in methods]
    calls = [call for call in every if args.all or any(_below(call[1], start) for start in FORMS)]
    found, each = Found([], []), args.requests // len(MODELS) // args.connections
    threads = [
        threading.Thread(
            target=send, args=(port, each, Fuzzer(random.Random(args.seed * 1000 + n), model, calls).draw, found)
        )
        for n in range(args.connections)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if len(found.statuses) != each * args.connections:
        found.faults.append("a connection of the bench ended early")
    return found


def measured(model: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train, serve and fuzz one model."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        bakeoff(folder, "train", *MODELS[model])
        settings = {**places(folder), "ADMIN_TOKEN": "bench", "API_PORT": str(port), "WEB_CONCURRENCY": "2"}
        with server(SERVE, port, first=("/predict", ROWS[model]), **settings) as (process, _):
            before, begun = family(process), time.perf_counter()
            found = fuzz(port, model, args)
            seconds = time.perf_counter() - begun
            # There may be more than before: the first worker may answer before the second one is there.
            if {each.pid for each in before} - {each.pid for each in family(process)}:
                found.faults.append("a worker ended")
            if requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code != 200:
                found.faults.append("the service is not ready")
    statuses = dict(sorted(Counter(found.statuses).items()))
    return {"seconds": round(seconds), "statuses": statuses, "faults": len(found.faults), "examples": found.faults[:20]}


def main() -> int:
    """Fuzz, and print what the answers were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--all", action="store_true", help="all calls of the service, not those of protocols alone")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = {model: measured(model, args) for model in MODELS}
    print(json.dumps(result, indent=2))
    return 1 if any(each["faults"] for each in result.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
