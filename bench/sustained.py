"""Predictions at the highest rate with a label for each: what is dropped, and how old the experiment's report gets.

The age of the report is measured from outside: `GET /experiment` says how many predictions and labels it has counted,
and the client knows when that many had been answered and acknowledged.
"""

from __future__ import annotations

import bisect
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from contenders import product, start
from load import IRIS, ended, started
from running import monitor_process
from servers import ROOT, bakeoff, places, processor_s

sys.path.insert(0, str(ROOT))
from tests import postgres

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


def hosts(folder: Path, seconds: float, rounds: int) -> dict[int, list[dict[str, float]]]:
    """Rounds of one host with two workers, and of two with one each, on one PostgreSQL, by the number of hosts.

    All read the registry in `folder` and have its key. A monitor runs beside the first. Each round has its own log.
    """
    measured: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with postgres.server(fsync="on", full_page_writes="on") as server:
        for _ in range(rounds):
            for count, found in measured.items():
                found.append(_on_hosts(folder, seconds, count, server.fresh()))
    return measured


def _on_hosts(folder: Path, seconds: float, count: int, database: str) -> dict[str, float]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = folder / "data" / "keys" / "deployment.key"
        own = {**places(folder), "DATABASE_URL": database, "DEPLOYMENT_KEY_FILE": str(key), "AUTO_DECIDE": "off"}
        settings = [{**own, "DATA_DIR": str(place / str(number))} for number in range(count)]
        one = product(folder, workers=2 // count)
        apis = [stack.enter_context(start(replace(one, environment={**one.environment, **host}))) for host in settings]
        urls = [f"http://127.0.0.1:{api.port}" for api in apis]
        before, used = counted(urls[0]), sum(processor_s(api.process) for api in apis)
        IRIS.write(place / "rows", seed=1)
        with monitor_process(settings[0]):
            loads = [
                started(
                    api.port, CONNECTIONS // count, seconds, "labelled.lua", str(place / "rows"), f"{place}/{n}.counts"
                )
                for n, api in enumerate(apis)
            ]
            figures = [ended(load) for load in loads]
            used = sum(processor_s(api.process) for api in apis) - used
            dropped = sum(sum(series(url, "predictions_dropped_total")) for url in urls)
            predictions, labels = (sum(each[name] for each in figures) for name in ("predictions", "labels"))
            wanted = Counts(0, before.predictions + int(predictions - dropped), before.labels + int(labels))
            _caught_up(urls[-1], wanted)
            last = counted(urls[-1])
        rebuilt = json.loads(bakeoff(folder, "monitor", "--rebuild", "--json", **settings[0]))
    return {
        "predictions_per_s": sum(each["predictions"] / each["seconds"] for each in figures),
        "labels_per_s": sum(each["labels"] / each["seconds"] for each in figures),
        "p99_ms": max(each["p99_ms"] for each in figures),
        "refused": sum(each["refused"] + each["errors"] for each in figures),
        "dropped": dropped,
        "processor_us": 1e6 * used / predictions,
        # The report may have more: the last ones were acknowledged when wrk had stopped to count.
        "labels_lost": max(0, wanted.labels - last.labels),
        "equal": float(all(rebuilt["states_equal"].values())),
    }


def hosts_table(measured: Mapping[int, list[dict[str, float]]]) -> str:
    """The medians of the rounds, and the ratio that two hosts have to one in the median round."""
    shown = {
        "predictions_per_s": "predictions/s",
        "labels_per_s": "labels acknowledged/s",
        "processor_us": "processor time of the APIs, µs a prediction with its label",
        "p99_ms": "p99, ms",
        "refused": "requests refused",
        "dropped": "records dropped",
        "labels_lost": "acknowledged labels that the report lacks",
        "equal": "evidence equal to a replay, share of rounds",
    }
    lines = ["| two workers, PostgreSQL | on one host | on two hosts | ratio |", "|---|---|---|---|"]
    for name, title in shown.items():
        one, two = ([each[name] for each in measured[count]] for count in (1, 2))
        ratios = [b / a for a, b in zip(one, two, strict=True) if a]
        middle = statistics.mean if name == "equal" else statistics.median
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        lines.append(f"| {title} | {middle(one):,.6g} | {middle(two):,.6g} | {ratio} |")
    return "\n".join(lines)
