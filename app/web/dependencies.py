"""The use cases that the routes call, as `app.bootstrap` supplies them. Routes know no store, file or thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from app.domain.prediction import OWN_PROTOCOL
from app.errors import Draining
from app.services.control.decisions import Decisions
from app.services.queries.breakdown import Breakdowns
from app.services.queries.disagreements import Disagreements
from app.services.queries.drift import Drift
from app.services.queries.experiments import Experiments
from app.services.queries.history import HistoryPage, Name
from app.services.queries.logged_answers import PredictionDetail
from app.services.queries.models import ModelQueries
from app.services.recording.feedback import Receipt
from app.services.recording.outcome_items import NOT_CORRECTING, Correcting
from app.services.serving.assignments import Assignments
from app.services.serving.health import Health
from app.services.serving.live_models import LiveModels
from app.services.serving.predictor import Predictor
from app.services.serving.reload import Reload
from app.settings import Settings
from app.web.wrong_tokens import WrongTokens


class HistoryQueries(Protocol):
    """Reads the log. Raises `InvalidRequest`, `UnknownVersion`, `UnknownPrediction` and `StoreUnavailable`."""

    def page(self, limit: int, version: str | None, before: str | None, name: Name | None, /) -> HistoryPage: ...

    def one(self, name: Name, /) -> PredictionDetail: ...


class OutcomeReceiver(Protocol):
    """Accepts outcomes, all or none or each that can be, and returns once they are durable.

    Raises what `app.services.recording.feedback.Feedback` raises.
    """

    def accept(
        self, items: Sequence[Any], /, *, from_file: bool = False, correcting: Correcting = NOT_CORRECTING
    ) -> Receipt: ...

    def accept_each(
        self, items: Sequence[Any], /, *, from_file: bool = False, correcting: Correcting = NOT_CORRECTING
    ) -> Receipt: ...


class RequestMetrics(Protocol):
    """Counts what never reaches the recorder, and renders everything that was counted."""

    def refused(self, code: str, protocol: str = OWN_PROTOCOL, /) -> None:
        """Count a predict request of a protocol that got no prediction, by the code of its error."""

    def exposition(self, accept: str, /) -> tuple[bytes, str]:
        """The text and its content type, for the value of an `Accept` header."""


class Recording(Protocol):
    """Writes the log behind the answers."""

    def flush(self, timeout_s: float, /) -> object:
        """Wait up to `timeout_s` seconds until everything that was answered before is counted and in the log."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a route may use. `draining` returns whether this process accepts no more requests."""

    settings: Settings
    live: LiveModels
    predictor: Predictor
    assignments: Assignments
    health: Health
    catalogue: ModelQueries
    history: HistoryQueries
    feedback: OutcomeReceiver
    experiments: Experiments
    breakdowns: Breakdowns
    disagreements: Disagreements
    decisions: Decisions
    drift: Drift
    reload: Reload
    metrics: RequestMetrics
    recorder: Recording
    draining: Callable[[], bool]
    wrong_tokens: WrongTokens


def require_ready(services: Services, *, writable: bool = False) -> None:
    """Raise `Draining` or `NotReady` if this process should get no predictions.

    `writable` also asks whether the store can be written, as labels and decisions need.
    """
    # Before readiness: a draining process is healthy, and load balancers must skip it all the same.
    if services.draining():
        raise Draining("this process is shutting down: it finishes the requests that it has and accepts no more")
    if writable:
        services.health.require_ready()
    else:
        services.health.require_answers()
