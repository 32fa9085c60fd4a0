"""Measure batches of rows from the bytes of a request to those of its answer, by step.

    python bench/batches.py [--rows 10000 100000] [--rounds 9] [--trained FOLDER] [--against CHECKOUT]

Processor time of the thread that answers, and of the recorder behind it, in ms; medians of rounds on random rows with
one decimal, as arrays, as objects, and with own keys. A large batch is predicted on all cores: the time of the other
threads is not in it, so `model, one thread` is given beside it. `memory` is what Python and NumPy hold at most, divided
by the body, which is not in it. `--trained` may have a v1 of any columns of numbers; `--against` measures another
checkout in the same rounds.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from servers import ROOT, train

FORMS = ("arrays", "objects", "own keys")


def bodies(rows: int, form: str, features: Sequence[Any]) -> bytes:
    """The body of a request."""
    lows, highs = zip(*((each.minimum, each.maximum) for each in features), strict=True)
    drawn = np.random.default_rng().uniform(lows, highs, (rows, len(features))).round(1).tolist()
    names = [each.name for each in features]
    instances = [dict(zip(names, row, strict=True)) for row in drawn] if form == "objects" else drawn
    body: dict[str, Any] = {"instances": instances}
    if form == "own keys":
        body["ids"] = [f"order-{place}" for place in range(rows)]
    return msgspec.json.encode(body)


def timed(call: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """The processor time of this thread in ms, and the result."""
    gc.collect()
    begun = time.thread_time()
    result = call(*args)
    return (time.thread_time() - begun) * 1e3, result


def most(call: Callable[..., Any], *args: Any) -> int:
    """The bytes that are held at most, beyond those before the call."""
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    call(*args)
    return tracemalloc.get_traced_memory()[1] - before


def measured(folder: Path, rows: int, form: str) -> dict[str, float]:
    """One round, in the checkout that is first on the path."""
    from app.domain.experiment import Configuration, ExperimentTerms
    from app.domain.prediction_id import Signer
    from app.inference.loader import load_models
    from app.inference.registry import ModelRegistry
    from app.observe.metrics import Metrics
    from app.services.recording.batch import BatchProcessor, RecordQueue
    from app.services.serving.breaker import Breaker
    from app.services.serving.live_models import LiveModels
    from app.services.serving.predictor import Predictor
    from app.store.engine import Database
    from app.store.keys import load_or_create
    from app.store.predictions import PredictionLog
    from app.web.prediction import answer_predict_batch

    models = load_models(ModelRegistry(folder / "models", load_or_create(folder / "data").registry)).led_by("v1")
    terms = ExperimentTerms(metric="accuracy", baseline="v1")
    weights = dict.fromkeys(models.versions, 1 / len(models.versions))
    configuration = Configuration(epoch=3, experiment_id="bench", weights=weights, terms=terms, champion="v1")
    live, queue = LiveModels(models, configuration, lambda: Breaker(3, 60.0, time.monotonic)), RecordQueue(10**7)
    sink = SimpleNamespace(record=queue.put, failed=print)
    predictor = Predictor(
        live, sink, Signer(b"k" * 32, b"host"), b"salt", random.random, lambda: time.time_ns() // 1000
    )

    def answered(services: Any, environ: dict[str, Any]) -> Any:
        status, headers, body = answer_predict_batch(services, environ)
        return status, headers, body if isinstance(body, bytes) else [len(piece) for piece in body]

    def environ_of(raw: bytes) -> dict[str, Any]:
        return {"CONTENT_LENGTH": str(len(raw)), "wsgi.input": io.BytesIO(raw), "PATH_INFO": "/predict/batch"}

    def record() -> None:
        while processor.waiting:
            processor.tick()

    settings = SimpleNamespace(max_body_bytes=10**9, api_token=None, predict_token=None, max_batch_rows=10**6)
    services: Any = SimpleNamespace(settings=settings, predictor=predictor, metrics=SimpleNamespace(refused=print))
    runtime, metrics = models.versions["v1"].runtime, Metrics()
    metrics.start()
    with tempfile.TemporaryDirectory() as name:
        database = Database(f"sqlite:///{name}/log.sqlite")
        processor = BatchProcessor(queue, PredictionLog(database), metrics, lambda: models, 10**9)
        database.probe()
        spent: dict[str, list[float]] = {}
        for place in range(4):
            raw = bodies(rows, form, models.versions["v1"].contract.features)
            answering, (status, _, body) = timed(answered, services, environ_of(raw))
            assert status == 200, body
            recording, _ = timed(record)
            cells = np.array([[*each.values()] if form == "objects" else each for each in json.loads(raw)["instances"]])
            model, _ = timed(runtime._block, cells)
            if place:  # the first one finds nothing prepared
                steps = {"answer": answering, "model, one thread": model, "recorder": recording}
                for step, ms in steps.items():
                    spent.setdefault(step, []).append(ms)
        tracemalloc.start()
        spent["answer, memory"] = [most(answered, services, environ_of(raw)) / len(raw)]
        queued = tracemalloc.get_traced_memory()[0]
        spent["recorder, memory"] = [(most(record) + queued) / len(raw)]
        database.close()
    return {step: statistics.median(values) for step, values in spent.items()}


def of_checkout(checkout: Path, folder: Path, rows: int, form: str) -> dict[str, float]:
    """One round in a process of its own, in which `app` is that of the checkout."""
    command = [sys.executable, __file__, "--round", str(checkout), str(folder), str(rows), form]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=checkout).stdout)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--trained", type=Path, help="a folder with the models and data of a training")
    parser.add_argument("--against", type=Path, help="another checkout")
    args = parser.parse_args()
    checkouts = [ROOT, *([args.against.resolve()] if args.against else [])]
    print("| rows | form | step | ms, or memory ÷ body |" + (" the other's | ratio |" if args.against else ""))
    print("|---" * (6 if args.against else 4) + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = args.trained or Path(name)
        if args.trained is None:
            train(folder)
        for rows in args.rows:
            for form in FORMS:
                rounds = [[of_checkout(each, folder, rows, form) for each in checkouts] for _ in range(args.rounds)]
                for step in rounds[0][0]:
                    figures = [[each[step] for each in one] for one in rounds]
                    own, *others = (statistics.median(each) for each in zip(*figures, strict=True))
                    ratio = statistics.median(each[0] / each[-1] for each in figures)
                    more = f" {others[0]:.1f} | {ratio:.2f} |" if others else ""
                    print(f"| {rows:,} | {form} | {step} | {own:.1f} |{more}", flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        sys.path.insert(0, sys.argv[2])
        print(json.dumps(measured(Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
    else:
        sys.exit(main())
