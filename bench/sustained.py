"""Predictions at the highest rate with a label for each: what is dropped, and how old the experiment's report gets.

The age of the report is measured from outside: `GET /experiment` says how many predictions and labels it has counted,
and the client knows when that many had been answered and acknowledged.
"""

from __future__ import annotations

import bisect
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import requests
from contenders import product, start
from load import IRIS, ended, started
from running import monitor_process
from servers import places

CONNECTIONS = 64
_MOST_BEHIND_S = 180


@dataclass(frozen=True)
class Counts:
    """Predictions and labels, at a time (s since 1970)."""

    at_s: float
    predictions: int
    labels: int


def counted(url: str) -> Counts:
    """What the experiment's report has counted."""
    at_s = time.time()
    variants = requests.get(url + "/experiment", timeout=30).json()["variants"]
    return Counts(at_s, sum(one["requests"] for one in variants), sum(one["labelled"] for one in variants))


def age_s(report: Counts, client: list[Counts]) -> float:
    """How long before the report was read the client had had more than it counts, predictions or labels; 0 if never."""
    return max(
        _age(report.at_s, report.predictions, client, lambda one: one.predictions),
        _age(report.at_s, report.labels, client, lambda one: one.labels),
    )


def _age(at_s: float, count: int, client: list[Counts], of: Callable[[Counts], int]) -> float:
    first = bisect.bisect_right([of(one) for one in client], count)
    return max(0.0, at_s - client[first].at_s) if first < len(client) else 0.0


class Reader(threading.Thread):
    """Reads the report and the monitor's own lag every second until `stop` is called."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._ended = url, threading.Event()
        self.reports: list[Counts] = []
        self.own_lag_s: list[float] = []

    def run(self) -> None:
        """Read until it is stopped."""
        while not self._ended.wait(1):
            self.reports.append(counted(self._url))
            self.own_lag_s += series(self._url, "monitor_lag_seconds")

    def stop(self) -> None:
        """Stop reading."""
        self._ended.set()
        self.join()


def series(url: str, name: str) -> list[float]:
    """The values of a metric, one for each set of labels."""
    lines = requests.get(url + "/metrics", timeout=30).text.splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name]


def measure(folder: Path, seconds: float) -> dict[str, float | None]:
    """One sustained run on the installation in `folder`, with its monitor. Times in seconds."""
    with ExitStack() as stack:
        api = stack.enter_context(start(product(folder)))
        stack.enter_context(monitor_process(places(folder)))
        place, url = Path(stack.enter_context(tempfile.TemporaryDirectory())), f"http://127.0.0.1:{api.port}"
        IRIS.write(place / "rows", seed=1)
        counted_before = counted(url)
        reader = Reader(url)
        reader.start()
        figures = ended(
            started(api.port, CONNECTIONS, seconds, "labelled.lua", str(place / "rows"), str(place / "counts"))
        )
        end_s = time.time()
        reader.stop()
        lines = (place / "counts").read_text().splitlines()
        client = [Counts(float(at), int(first), int(second)) for at, first, second in map(str.split, lines)]
        dropped = sum(series(url, "predictions_dropped_total"))
        wanted = Counts(
            end_s,
            counted_before.predictions + int(figures["predictions"] - dropped),
            counted_before.labels + int(figures["labels"]),
        )
        last = _caught_up(url, wanted)
    shift = (counted_before.predictions, counted_before.labels)
    ages = [
        age_s(Counts(one.at_s, one.predictions - shift[0], one.labels - shift[1]), client) for one in reader.reports
    ]
    return {
        "predictions_per_s": figures["predictions"] / figures["seconds"],
        "labels_per_s": figures["labels"] / figures["seconds"],
        "refused": figures["refused"] + figures["errors"],
        "p99_ms": figures["p99_ms"],
        "dropped": dropped,
        "lag_max_s": max(ages, default=0.0),
        "lag_end_s": max(0.0, last - end_s) if last else None,
        "own_lag_max_s": max(reader.own_lag_s, default=None),
    }


def _caught_up(url: str, wanted: Counts) -> float | None:
    """When the report had counted that much (s since 1970); None if it took over `_MOST_BEHIND_S`."""
    deadline = time.monotonic() + _MOST_BEHIND_S
    while time.monotonic() < deadline:
        report = counted(url)
        if report.predictions >= wanted.predictions and report.labels >= wanted.labels:
            return report.at_s
        time.sleep(0.1)
    return None
