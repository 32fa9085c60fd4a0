"""Computes the secondary metrics of experiments, each with a cursor and a state of its own.

A metric that is added begins at the start of the log, in a space of its own; nothing else is computed again. Nothing
here can stop or delay the metric that decides: a failure is logged, shown with the metric, and tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.domain.experiment import Configuration, SecondaryMetric
from app.domain.log_event import Cursor
from app.domain.monitor_state import STATE_LAYOUT, ExperimentSummary
from app.domain.report import MetricReport
from app.errors import StoreUnavailable
from app.monitor.experiment.projection import NAME
from app.monitor.experiment.secondary import PASSED, SecondaryProjection, as_primary, metric_report, read_passed
from app.monitor.experiment.shared_pages import SharedPage, SharedPages
from app.monitor.projection import BATCH_ROWS, DerivedStates, EventReads, apply_page, step
from app.monitor.publisher import ExperimentReads
from app.services.boundaries import FaultBoundary

_LOG = logging.getLogger(__name__)
_TRIES = 100
_FAILED = "the monitor cannot compute it: see monitor_part_failed in its log"


class Generation(msgspec.Struct, frozen=True):
    """One metric from one start on: the number of its space, its experiments, and the layout of their states."""

    number: int
    metrics: Mapping[str, SecondaryMetric]
    layout: int = STATE_LAYOUT


class Register(msgspec.Struct, frozen=True):
    """The generation in force by metric, the next number, and the numbers of spaces that are to be deleted.

    `building` are those that a rebuild fills; the next rebuild deletes those that a former one has left.
    """

    next: int = 1
    live: Mapping[str, Generation] = msgspec.field(default_factory=dict)
    discarded: tuple[int, ...] = ()
    building: tuple[int, ...] = ()

    def restarted(self, name: str, metrics: Mapping[str, SecondaryMetric]) -> Register:
        """The register with another generation of a metric, which begins at the start of the log."""
        former = self.live.get(name)
        discarded = self.discarded if former is None else (*self.discarded, former.number)
        live = {**self.live, name: Generation(self.next, metrics)}
        return Register(self.next + 1, live, discarded, self.building)


class MetricLog(EventReads, ExperimentReads, Protocol):
    """The log: its events, and its experiments. Raises `StoreUnavailable`."""


class MetricStore(Protocol):
    """The spaces, their register, and the reports. Raises `StoreUnavailable`."""

    def space(self, number: int) -> _Space: ...

    def register(self) -> str | None: ...

    def put_register(self, before: str | None, body: str) -> bool: ...

    def put_report(self, experiment_id: str, body: str) -> None: ...

    def discard(self, number: int) -> bool: ...


class _Space(DerivedStates, Protocol):
    """The states of one generation of a metric. Raises `StoreUnavailable`."""

    def all_states(self, projection: str) -> dict[str, str]: ...


class _Wanted(NamedTuple):
    """The metrics of the configuration in force, and of each the experiments whose last configuration names it."""

    epoch: int
    metrics: Mapping[str, Mapping[str, SecondaryMetric]]


class SecondaryMetrics:
    """Computes and reports the secondary metrics. `primary` holds the states of the metric that decides."""

    def __init__(
        self, log: MetricLog, store: MetricStore, primary: DerivedStates, batch_rows: int = BATCH_ROWS
    ) -> None:
        self._log = log
        self._store = store
        self._primary = primary
        self._batch_rows = batch_rows
        self._wanted = _Wanted(-1, {})
        self._ended: dict[str, Configuration] = {}
        self._boundaries: dict[str, FaultBoundary] = {}
        # The experiments that had events since their reports were made; None: all may have had, before this process.
        self._due: set[str] | None = None
        self._made: dict[tuple[int, str], tuple[str | None, MetricReport]] = {}

    def step(self) -> int:
        """One batch of each metric; returns the rows of the largest. Raises `StoreUnavailable`."""
        with self._boundary("secondary metrics"):
            wanted = self._wanted_now()
            register = self._settled(wanted)
            self._discard(register)
            return self._step_all({name: register.live[name] for name in wanted if name in register.live})
        return 0

    def publish(self) -> None:
        """Write the reports of experiments whose figures have changed. Raises `StoreUnavailable`."""
        with self._boundary("reports of secondary metrics"):
            wanted = self._wanted_now()
            register, summaries = self._register()[1], self._log.experiments() if wanted else ()
            for place, summary in enumerate(summaries):
                # The newest one always: how much is processed changes without an event of it.
                if not place or self._due is None or summary.id in self._due:
                    self._publish(summary, wanted, register)
            self._due = set()

    def rebuild(self, between: Callable[[int], None] = lambda _rows: None) -> dict[str, bool]:
        """Compute each metric in force anew, up to where it is, and replace it; whether the states were equal, by name.

        A monitor may run meanwhile. `between` is called between batches with the number of rows so far; what it raises
        ends the rebuild, and the metrics that are not done stay as they are. Raises `StoreUnavailable`.
        """
        register = self._settled(self._wanted_now())
        if register.building:
            body, now = self._register()
            left = msgspec.structs.replace(now, discarded=(*now.discarded, *now.building), building=())
            self._put(body, now, left)
        return {name: self._rebuild(name, between) for name in self._wanted_now() if name in register.live}

    def _rebuild(self, name: str, between: Callable[[int], None]) -> bool:
        rows = 0
        number, live = self._reserved(name)
        space, begin = self._store.space(number), Cursor(corrections=self._log.newest_correction())
        for _ in range(_TRIES):
            at = self._store.space(live.number).cursor(NAME)
            while found := step(SecondaryProjection(live.metrics), self._log, space, until=at, begin=begin):
                rows += found
                between(rows)
            equal = space.all_states(NAME) == self._store.space(live.number).all_states(NAME)
            body, register = self._register()
            if register.live.get(name) == live and self._store.space(live.number).cursor(NAME) == at:
                after = msgspec.structs.replace(
                    register,
                    live={**register.live, name: Generation(number, live.metrics)},
                    discarded=(*register.discarded, live.number),
                    building=tuple(each for each in register.building if each != number),
                )
                if self._store.put_register(body, msgspec.json.encode(after).decode()):
                    return equal
        raise StoreUnavailable(f"{name} went on during each of {_TRIES} tries: stop the monitor and rebuild again")

    def _reserved(self, name: str) -> tuple[int, Generation]:
        """The number of a space that nobody has used, and the generation in force of a metric."""
        for _ in range(_TRIES):
            body, register = self._register()
            building = (*register.building, register.next)
            after = msgspec.structs.replace(register, next=register.next + 1, building=building)
            if self._store.put_register(body, msgspec.json.encode(after).decode()):
                return register.next, register.live[name]
        raise StoreUnavailable("the register of secondary metrics changes all the time: rebuild again")

    def _wanted_now(self) -> Mapping[str, Mapping[str, SecondaryMetric]]:
        epoch = self._log.newest_epoch()
        if epoch != self._wanted.epoch:
            lasts = [last for each in self._log.experiments() if (last := self._last(each)) is not None]
            # The newest experiment comes first. What it does not name costs nothing.
            names = lasts[0].metrics if lasts else ()
            self._wanted = _Wanted(epoch, {name: _experiments_with(name, lasts) for name in names})
        return self._wanted.metrics

    def _last(self, summary: ExperimentSummary) -> Configuration | None:
        """The last configuration of an experiment, which is read once where it has ended."""
        if summary.id in self._ended:
            return self._ended[summary.id]
        last = self._log.last_configuration(summary.id)
        if summary.ended_at_us is not None and last is not None:
            self._ended[summary.id] = last
        return last

    def _register(self) -> tuple[str | None, Register]:
        body = self._store.register()
        return body, Register() if body is None else msgspec.json.decode(body, type=Register)

    def _settled(self, wanted: Mapping[str, Mapping[str, SecondaryMetric]]) -> Register:
        """The register with a generation for each metric that has all of its experiments from their beginning."""
        body, register = self._register()
        after = register
        for name, metrics in wanted.items():
            live = after.live.get(name)
            if live is None or self._has_missed(live, metrics):
                after = after.restarted(name, metrics)
            elif any(experiment not in live.metrics for experiment in metrics):
                known = Generation(live.number, {**live.metrics, **metrics}, live.layout)
                after = msgspec.structs.replace(after, live={**after.live, name: known})
        return self._put(body, register, after)

    def _has_missed(self, live: Generation, metrics: Mapping[str, SecondaryMetric]) -> bool:
        if live.layout != STATE_LAYOUT:
            return True
        if any(live.metrics.get(experiment, metric) != metric for experiment, metric in metrics.items()):
            return True
        new = metrics.keys() - live.metrics.keys()
        return bool(new and new & self._passed(live.number))

    def _passed(self, number: int) -> set[str]:
        name = f"{NAME}/{PASSED}"
        return read_passed(self._store.space(number).states([name]).get(name))

    def _put(self, body: str | None, register: Register, after: Register) -> Register:
        if after == register or self._store.put_register(body, msgspec.json.encode(after).decode()):
            return after
        # A rebuild has changed it meanwhile: what it wrote counts, and the next step decides anew.
        return self._register()[1]

    def _discard(self, register: Register) -> None:
        """Delete a part of the first space that is out of use."""
        if register.discarded and not self._store.discard(register.discarded[0]):
            body, now = self._register()
            left = tuple(each for each in now.discarded if each != register.discarded[0])
            self._put(body, now, msgspec.structs.replace(now, discarded=left))

    def _step_all(self, metrics: Mapping[str, Generation]) -> int:
        """A batch of each; those at one cursor share its reading, which is most of what a metric costs otherwise."""
        cursors, rows = {}, 0
        for name, live in metrics.items():
            with self._boundary(name):
                cursors[name] = self._store.space(live.number).cursor(NAME)
        pages = SharedPages(self._log, self._batch_rows)
        for name, cursor in sorted(cursors.items(), key=lambda each: msgspec.structs.astuple(each[1]), reverse=True):
            with self._boundary(name):
                rows = max(rows, self._step(metrics[name], cursor, pages.at(cursor)))
        return rows

    def _step(self, live: Generation, before: Cursor, shared: SharedPage) -> int:
        projection = SecondaryProjection(live.metrics, shared.decode)
        if len(shared.page):
            space = self._store.space(live.number)
            apply_page(projection, self._log, space, before, (shared.page, shared.events))
        if self._due is not None:
            self._due |= projection.touched
        return len(shared.page)

    def _boundary(self, name: str) -> FaultBoundary:
        return self._boundaries.get(name) or self._boundaries.setdefault(
            name,
            FaultBoundary(_LOG, "monitor_part_failed", fields={"part": name}, once=True, passing=(StoreUnavailable,)),
        )

    def _publish(
        self, summary: ExperimentSummary, wanted: Mapping[str, Mapping[str, SecondaryMetric]], register: Register
    ) -> None:
        reports = []
        for name in wanted:
            live = register.live.get(name)
            if live is not None and summary.id in live.metrics:
                with self._boundary(f"report of {name}"):
                    reports.append(self._report(summary, live, live.metrics[summary.id]))
        if reports:
            self._store.put_report(summary.id, msgspec.json.encode(reports).decode())

    def _report(self, summary: ExperimentSummary, live: Generation, metric: SecondaryMetric) -> MetricReport:
        space = self._store.space(live.number)
        name = f"{NAME}/{summary.id}"
        body = space.states([name]).get(name)
        before, made = self._made.get((live.number, summary.id), (None, None))
        if made is None or before != body:
            first, last = self._log.first_configuration(summary.id), self._last(summary)
            assert first is not None, summary.id  # an experiment begins with a configuration, in one transaction
            assert last is not None, summary.id
            made = metric_report(body, as_primary(first, metric), last, summary)
            self._made[live.number, summary.id] = body, made
        processed = _share(space.cursor(NAME), self._primary.cursor(NAME))
        error = _FAILED if self._boundary(metric.metric).failing else None
        return msgspec.structs.replace(made, processed=processed, error=error)


def _experiments_with(name: str, lasts: Sequence[Configuration]) -> dict[str, SecondaryMetric]:
    return {last.experiment_id: each for last in lasts for each in last.secondary if each.metric == name}


def _share(done: Cursor, of: Cursor) -> float:
    """How much of what the metric that decides has processed is processed here."""
    total = of.predictions + of.outcomes
    return 1.0 if not total else min(1.0, (done.predictions + done.outcomes) / total)
