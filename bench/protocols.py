"""Measure a row and a batch of Iris by the Open Inference Protocol against `/predict` and `/predict/batch`.

    python bench/protocols.py [--rows 10000] [--rounds 15] [--trained FOLDER]

Processor time of the thread that answers, from the bytes of a request to those of its answer, without the recorder;
medians of interleaved rounds. The floor of a batch is the model alone and the signatures of its ids alone, in that
thread: the model is asked on all cores, and what other threads take of it is not in any of these figures. `--trained`
has models/ and data/ with versions of Iris.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from servers import train

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.prediction_id import Signer
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.services.serving.breaker import Breaker
from app.services.serving.live_models import LiveModels
from app.services.serving.predictor import Predictor
from app.settings import Settings
from app.store.keys import load_or_create
from app.web.app import fast_lane

ROW = [5.1, 3.5, 1.4, 0.2]
ONES = 2000


def services_of(folder: Path) -> Any:
    """What the fast lane needs; what is answered is not recorded."""
    models = load_models(ModelRegistry(folder / "models", load_or_create(folder / "data").registry)).led_by("v1")
    terms = ExperimentTerms(metric="accuracy", baseline="v1")
    configuration = Configuration(
        epoch=1, weights={"v1": 1.0}, champion="v1", experiment_id="x", terms=terms, created_at_us=0
    )
    live = LiveModels(models, configuration, lambda: Breaker(3, 60.0, time.monotonic))
    sink = SimpleNamespace(record=lambda _: None, failed=lambda *_: None)
    predictor = Predictor(live, sink, Signer(b"k" * 32, b"test"), b"salt", lambda: 0.5, lambda: time.time_ns() // 1000)
    metrics = SimpleNamespace(refused=print)
    return SimpleNamespace(settings=Settings(), live=live, predictor=predictor, metrics=metrics)


def asked(call: Callable[[dict[str, Any]], Any], path: str, body: bytes, times: int, **headers: str) -> float:
    """Processor time of one answer in ms."""
    begun = time.thread_time()
    for _ in range(times):
        environ = {"PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), **headers}
        status, _, answer = call(environ)
        if not isinstance(answer, bytes):  # that of a large batch is made while it is sent
            answer = b"".join(answer)
    assert status == 200, answer
    return (time.thread_time() - begun) * 1e3 / times


def spent(call: Callable[..., Any], *args: Any) -> float:
    """Processor time of a call in ms."""
    begun = time.thread_time()
    call(*args)
    return (time.thread_time() - begun) * 1e3


def signed(signer: Signer, answers: np.ndarray) -> None:
    """Sign an id for each answer."""
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 0}
    signer.sign_all(**facts, answers=answers)


def rows_of(count: int) -> np.ndarray:
    """Rows of Iris with one decimal."""
    return np.random.default_rng(1).uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (count, 4)).round(1)


def calls_of(rows: int) -> dict[str, tuple[str, bytes, int, dict[str, str]]]:
    """The requests by name: path, body, how often, headers."""
    drawn = rows_of(rows)
    one = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP64", "data": ROW}]}
    size = {"binary_data_size": drawn.nbytes}
    head = msgspec.json.encode(
        {
            "inputs": [{"name": "input", "shape": [rows, 4], "datatype": "FP64", "parameters": size}],
            "parameters": {"binary_data_output": True},
        }
    )
    header = {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": str(len(head))}
    infer = "/v2/models/iris/infer"
    return {
        "/predict": ("/predict", msgspec.json.encode({"features": ROW}), ONES, {}),
        "infer, a row": (infer, msgspec.json.encode(one), ONES, {}),
        "/predict/batch": ("/predict/batch", msgspec.json.encode({"instances": drawn.tolist()}), 1, {}),
        "infer, raw": (infer, head + drawn.tobytes(), 1, header),
    }


def main() -> None:
    """Print the medians and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--trained", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if options.trained is None:
            train(Path(made))
        services = services_of(options.trained or Path(made))
        lane = fast_lane(services)
    calls = calls_of(options.rows)
    times: dict[str, list[float]] = {}
    runtime = services.live.state.loaded_models.versions["v1"].runtime
    drawn, signer = rows_of(options.rows), Signer(b"k" * 32, b"test")
    answers = runtime.predict(drawn).class_ids
    for _ in range(options.rounds):
        times.setdefault("model alone", []).append(spent(runtime.predict, drawn))
        times.setdefault("signatures alone", []).append(spent(signed, signer, answers))
        for name, (path, body, often, headers) in calls.items():
            call = lane.get(path)
            assert call is not None
            times.setdefault(name, []).append(asked(call, path, body, often, **headers))
    median = {name: statistics.median(each) for name, each in times.items()}
    for name, each in median.items():
        print(f"{name:16} {each:9.4f} ms")
    print(f"a row:   {median['infer, a row'] / median['/predict']:.2f} x the time of /predict")
    floor = median["model alone"] + median["signatures alone"]
    batch, raw = median["/predict/batch"], median["infer, raw"]
    print(f"a batch: {batch / raw:.2f} x the rows/s of /predict/batch; {batch / floor:.2f} x at the floor")


if __name__ == "__main__":
    main()
