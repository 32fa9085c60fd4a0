"""What deciding needs from outside, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from app.domain.decision import AuditEntry, Checked, Decided, DecisionAction, Ruling
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport

Judge = Callable[[Configuration | None], Ruling | None]


class DecisionLog(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def decide(self, judge: Judge) -> Decided: ...

    def add_check(self, seq: int, checked: Checked) -> None: ...

    def page(self, limit: int, before: int | None) -> list[AuditEntry]: ...

    def of_experiment(self, experiment_id: str) -> list[AuditEntry]: ...


class Decision(msgspec.Struct, frozen=True):
    """What is asked for, by whom and why."""

    action: DecisionAction
    version: str | None
    actor: str
    note: str | None = None


class Steer(msgspec.Struct, frozen=True):
    """What the monitor does with the weights at a person's word: `ramp` or `weights`, of which version, and why."""

    action: str
    version: str | None
    reason: str


class World(msgspec.Struct, frozen=True):
    """What deciding needs from around it.

    `report` gives the present report of an experiment, None where there is none (raises `StoreUnavailable`); `probe`
    what is wrong with a version's answers, None where it answers; `now_us` the clock; `new_id` an experiment's id;
    `follow` is called after each change, so that this process acts on it before the caller is answered.
    """

    report: Callable[[str], ExperimentReport | None]
    probe: Callable[[str], str | None]
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    follow: Callable[[], None] = lambda: None
