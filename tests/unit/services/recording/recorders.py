"""Loaded models, exposures, and stand-ins for the log and the metrics."""

import itertools
from collections import Counter

import numpy as np

from app.domain.prediction import Exposure, Outputs, ReportedExposure
from tests import builders

CONTRACT = builders.two_class_contract("a", "b")
_NUMBERS = itertools.count()


class Constant:
    """Answers `class_id` with a probability of 0.75 and remembers how many rows each call had."""

    def __init__(self, class_id):
        self.class_id = class_id
        self.calls = []

    def predict(self, rows):
        self.calls.append(len(rows))
        probabilities = np.full((len(rows), 2), 0.25)
        probabilities[:, self.class_id] = 0.75
        return Outputs(class_ids=np.full(len(rows), self.class_id), probabilities=probabilities)


class FailsOn(Constant):
    """Fails where a first feature is `bad`."""

    def __init__(self, class_id, bad):
        super().__init__(class_id)
        self.bad = bad

    def predict(self, rows):
        if (rows[:, 0] == self.bad).any():
            raise RuntimeError("no luck")
        return super().predict(rows)


def models_of(**runtimes):
    """Loaded models of two features."""
    return builders.models_of(CONTRACT, **runtimes)


LAYOUT = builders.layout_of(CONTRACT, ("v1", "v2", "v3"))
LOADED = models_of(v1=Constant(0), v2=Constant(1))


def exposure(version="v1", rows=((5.0, 3.0),), **changes):
    """What one request with `rows` leaves behind; each call has new prediction ids, in order."""
    rows = np.array(rows)
    number = next(_NUMBERS)
    values = {
        "prediction_ids": [f"{number:032d}{row:032d}" for row in range(len(rows))],
        "served_at_us": 1_700_000_000_000_000 + number,
        "request_id": f"request-{number}",
        "rows": rows,
        "layout": LAYOUT,
        "version": version,
        "chosen": version,
        "assignment": "weighted",
        "propensity": 0.5,
        "epoch": 3,
        "counts": True,
        "user_hash": 0,
        "synthetic": False,
        "outputs": Constant(0).predict(rows),
        "latency_s": 0.001,
    }
    return Exposure(**{**values, **changes})


def reported(version="v1", **changes):
    """What a reported exposure leaves behind."""
    number = next(_NUMBERS)
    values = {
        "prediction_id": f"{number:064d}",
        "served_at_us": 1_700_000_000_000_000 + number,
        "request_id": f"request-{number}",
        "version": version,
        "propensity": 0.5,
        "epoch": 3,
        "counts": True,
        "user_hash": 7,
        "synthetic": False,
    }
    return ReportedExposure(**{**values, **changes})


class MemoryLog:
    """Keeps rows by id; raises `error` while it is set."""

    def __init__(self):
        self.rows = {}
        self.error = None
        self.rejected = ()

    def append(self, rows):
        if self.error is not None:
            raise self.error
        if any(row.request_id in self.rejected for row in rows):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        for row in rows:
            self.rows.setdefault(row.prediction_id, row)


class CountingMetrics:
    """Counts every verb."""

    def __init__(self):
        self.requests = Counter()
        self.latencies = Counter()
        self.counts = Counter()

    def served(self, version, latencies_s, requests, protocol):
        self.requests[version] += requests
        self.latencies[version] += len(latencies_s)

    def exposed(self, version, exposures):
        self.counts["exposed", version] += exposures

    def failed(self, version, reason):
        self.counts["failed", version, reason] += 1

    def shadow_failed(self, version):
        self.counts["shadow_failed", version] += 1

    def shadow_shed(self, rows):
        self.counts["shadow_shed"] += rows

    def dropped(self, rows):
        self.counts["dropped"] += rows

    def store_failed(self):
        self.counts["store_failed"] += 1

    def queue_rows(self, rows):
        self.counts["queue_rows"] = rows
