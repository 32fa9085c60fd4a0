"""What the web edge needs: the use cases, given by `app.bootstrap`. The edge knows no store, file or thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from app.services.control.decisions import Decisions
from app.services.queries.drift import Drift
from app.services.queries.experiments import Experiments
from app.services.queries.history import HistoryPage
from app.services.queries.models import ModelQueries
from app.services.recording.feedback import Receipt
from app.services.serving.health import Health
from app.services.serving.predictor import LiveModels, Predictor
from app.services.serving.reload import Reload
from app.settings import Settings


class History(Protocol):
    """Reads the log. Raises `InvalidRequest`, `UnknownVersion` and `StoreUnavailable`."""

    def page(self, limit: int, version: str | None, before: str | None, /) -> HistoryPage: ...


class Feedback(Protocol):
    """Takes outcomes, all or none, and returns when they are durable.

    Raises what `app.services.recording.feedback` says.
    """

    def accept(self, items: Sequence[Any], /) -> Receipt: ...


class Metrics(Protocol):
    """Counts what never reaches the recorder, and shows all that was counted."""

    def refused(self, code: str, /) -> None:
        """Count a predict request that got no prediction, by its error's code."""

    def exposition(self, accept: str, /) -> tuple[bytes, str]:
        """The text and its content type, for an `Accept` header."""


class Recording(Protocol):
    """Writes the log behind the answers."""

    def flush(self, timeout_s: float, /) -> object:
        """Wait, no longer than `timeout_s`, until what was answered before is in the log and counted."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a route may use. `draining` says whether this process wants no more requests."""

    settings: Settings
    live: LiveModels
    predictor: Predictor
    health: Health
    catalogue: ModelQueries
    history: History
    feedback: Feedback
    experiments: Experiments
    decisions: Decisions
    drift: Drift
    reload: Reload
    metrics: Metrics
    recorder: Recording
    draining: Callable[[], bool]
