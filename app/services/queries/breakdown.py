"""`GET /experiment/{id}/breakdown`: a comparison by true class or by feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from app.domain.breakdown import ALL, BreakdownState
from app.scoring.table import metric_of
from app.services.breakdown.report import Breakdown, BreakdownRow, Pair, breakdown_of, default_by
from app.services.queries.experiments import ExperimentLog, ExperimentRecord, found_in

# The name under which the monitor keeps its counters, by experiment.
PROJECTION = "breakdown"
_STATE = msgspec.json.Decoder(BreakdownState)
_EACH = "each labelled request counts, however often its user or case comes again"
_REWARDS = (
    "rewards of answers that chance chose, each for the version that gave it; where the split was changed meanwhile, "
    "the means may differ because of that"
)
_NOTHING = "the monitor has counted nothing of this experiment yet"

States = Callable[[Iterable[str]], dict[str, str]]


class Breakdowns:
    """The use case. `states` are the monitor's, by name."""

    def __init__(self, states: States, log: ExperimentLog) -> None:
        self._states = states
        self._log = log

    def of(self, experiment_id: str, challenger: str | None, by: str | None) -> Breakdown:
        """The breakdown; without a `by` by class. Raises `InvalidRequest`, `UnknownExperiment`, `StoreUnavailable`."""
        record = found_in(self._log, experiment_id)
        pair = Pair(record.id, record.terms, *record.pair(challenger))
        wanted = default_by(record.terms) if by is None else by
        name = f"{PROJECTION}/{record.id}"
        body = self._states([name]).get(name)
        if body is None:
            return _nothing(pair, wanted)
        return breakdown_of(pair, _STATE.decode(body), wanted, _note(record, pair))


def _note(record: ExperimentRecord, pair: Pair) -> str:
    """What the figures rest on, and how far that is from the report."""
    if metric_of(record.terms).uses_rewards:
        return _REWARDS
    compared = () if record.report is None else record.report.comparisons
    known = next((each for each in compared if each.challenger == pair.challenger), None)
    if known is None or known.units >= known.n:
        return _EACH
    return (
        f"{_EACH}: {known.n:,} labelled requests are of {known.units:,} units, each of which the report counts once, "
        "so these intervals are too narrow"
    )


def _nothing(pair: Pair, by: str) -> Breakdown:
    metric = metric_of(pair.terms)
    none = BreakdownRow(level=ALL.level, kind=ALL.kind, low=None, high=None, requests=0, labelled=0, n=0)
    return Breakdown(
        experiment=pair.experiment,
        baseline=pair.baseline,
        challenger=pair.challenger,
        by=by,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        alpha=pair.terms.alpha,
        row_alpha=pair.terms.alpha,
        note=_NOTHING,
        features=(),
        refused={},
        rows=(),
        all=none,
    )
