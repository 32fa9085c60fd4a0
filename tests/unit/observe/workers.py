"""Worker processes that count, and a reader of what they counted."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from app.observe.metrics import Metrics

_FORK = multiprocessing.get_context("fork")
SHA256 = {"v1": "a" * 64, "v2": "b" * 64}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Worker:
    """A process with `Metrics` of its own that executes commands."""

    def __init__(self, directory: Path) -> None:
        self._pipe, theirs = _FORK.Pipe()
        self.process = _FORK.Process(target=_work, args=(theirs, directory), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def do(self, verb: str, *arguments: object) -> object:
        self._pipe.send((verb, arguments))
        return self._pipe.recv()

    def serve(self, version: str, count: int) -> None:
        self.do("served", version, [0.001] * count, count)

    def watch(self, name: str, version: str) -> Callable[[], object]:
        """Scrape without a pause; the result stops it and gives every value that the series of `version` had."""
        self._pipe.send(("watch", (name, version)))
        assert self._pipe.recv() == "watching"

        def stop() -> object:
            self._pipe.send("stop")
            return self._pipe.recv()

        return stop

    def end(self, how: str = "kill") -> int:
        """SIGKILL, or SIGTERM with `how="terminate"`; gives the pid, reaped."""
        getattr(self.process, how)()
        self.process.join()
        return self.pid


def _work(pipe: Connection, directory: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the process that was forked does with it
    metrics = Metrics(directory=directory)
    metrics.declare(SHA256)
    metrics.start()
    while True:
        verb, arguments = pipe.recv()
        if verb == "watch":
            pipe.send("watching")
            pipe.send(_watched(pipe, metrics, *arguments))
        else:
            pipe.send(getattr(metrics, verb)(*arguments))


def _watched(pipe: Connection, metrics: Metrics, name: str, version: str) -> set[float | None]:
    seen = {value(metrics, name, version=version)}
    while not pipe.poll():
        seen.add(value(metrics, name, version=version))
    pipe.recv()
    return seen


def samples(text: bytes) -> Samples:
    """Every sample of a Prometheus text by name and labels."""
    families = text_string_to_metric_families(text.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics.exposition()[0]).get((name, frozenset(labels.items())))
