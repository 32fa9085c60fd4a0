"""One turn of the recorder: take what waits, count it, ask the other versions, write the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from app.domain.prediction import Exposure
from app.services.backlog import Backlog, BacklogMetrics
from app.services.intake import Intake
from app.services.log_rows import log_rows
from app.services.ports import ExposureLog, Fleet, LoggedPrediction
from app.services.tally import FailureReports, ServingMetrics, count_served

_LOG = logging.getLogger(__name__)
ROWS_A_TURN = 512
_DEEP = 8
_MODEL_FAILED = "model_failed"


class RecorderMetrics(BacklogMetrics, ServingMetrics, Protocol):
    """What the recorder counts. What it raises is logged, and recording goes on."""

    def shadow_failed(self, version: str) -> None: ...

    def shadow_shed(self, rows: int) -> None: ...

    def queue_rows(self, rows: int) -> None: ...


class Drain:
    """Moves exposures from the intake to the log. For one thread; `turn` raises nothing.

    The other versions are not asked while `pressed` says that requests wait, nor while an eighth of `limit_rows` waits
    here: those rows are logged without their answers.
    """

    def __init__(
        self,
        intake: Intake,
        log: ExposureLog,
        metrics: RecorderMetrics,
        fleet: Callable[[], Fleet],
        limit_rows: int,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pressed = pressed
        self._deep_rows = limit_rows // _DEEP
        self._intake = intake
        self._metrics = metrics
        self._fleet = fleet
        self._backlog = Backlog(log, metrics, limit_rows, time.monotonic)
        self.failures = FailureReports(_MODEL_FAILED, lambda v: metrics.failed(v, _MODEL_FAILED), time.monotonic)
        self._shadow_failures = FailureReports("shadow_failed", metrics.shadow_failed, time.monotonic)
        self._drained = 0
        self._shown_rows = 0

    @property
    def outage(self) -> str | None:
        """Why the store did not take the last write; None while it does."""
        return self._backlog.outage

    @property
    def waiting(self) -> int:
        """Rows that are not in the log yet."""
        return self._intake.waiting + len(self._backlog)

    @property
    def settled(self) -> int:
        """Rows in the log, or dropped, or kept for as long as the store is unusable: nobody need wait for them."""
        return self._drained - (0 if self._backlog.outage else len(self._backlog))

    def turn(self) -> None:
        """Do what there is to do, up to some hundred rows."""
        exposures = self._intake.take(ROWS_A_TURN)
        _survive(lambda: self._count(exposures))
        _survive(lambda: self._keep(exposures))
        _survive(self._backlog.write)
        self._drained += sum(map(len, exposures))

    def _count(self, exposures: Sequence[Exposure]) -> None:
        if exposures:
            count_served(exposures, self._metrics)
        refused = self._intake.take_refused()
        if refused is not None:
            self._metrics.dropped(refused.rows)
            for version, requests in refused.requests.items():
                self._metrics.served(version, (), requests)
        self.failures.report()
        if self.waiting != self._shown_rows:
            self._shown_rows = self.waiting
            self._metrics.queue_rows(self._shown_rows)

    def _keep(self, exposures: Sequence[Exposure]) -> None:
        if exposures:
            self._backlog.add(self._rows(exposures, self._to_ask(exposures)))
        self._shadow_failures.report()

    def _to_ask(self, exposures: Sequence[Exposure]) -> Fleet:
        """The fleet, without peers where there is no time to ask them."""
        fleet = self._fleet()
        if len(fleet.peers) < 2 or not (self._pressed() or self._intake.waiting > self._deep_rows):
            return fleet
        self._metrics.shadow_shed(sum(map(len, exposures)))
        return msgspec.structs.replace(fleet, peers=())

    def _rows(self, exposures: Sequence[Exposure], fleet: Fleet) -> list[LoggedPrediction]:
        """The rows to log; an exposure that has no form in the log is dropped and does not take others with it."""
        try:
            return log_rows(exposures, fleet, self._shadow_failed)
        except Exception:  # noqa: BLE001 - logged and counted
            if len(exposures) == 1:
                _LOG.exception("exposure_not_recorded")
                self._metrics.dropped(len(exposures[0]))
                return []
        return [row for exposure in exposures for row in self._rows([exposure], fleet)]

    def _shadow_failed(self, version: str, error: Exception) -> None:
        self._shadow_failures.add(version, f"{type(error).__name__}: {error}")


def _survive(step: Callable[[], None]) -> None:
    """Do one step; the recorder's thread must outlive whatever it raises."""
    try:
        step()
    except Exception:  # noqa: BLE001 - logged; what it would have counted is the count that failed
        _LOG.exception("recorder_step_failed")
