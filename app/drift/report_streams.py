"""The parts of the drift report about single streams: features, joint streams, answers and errors."""

from __future__ import annotations

import msgspec
import numpy as np

from app.domain.timestamps import iso_utc
from app.drift.cells import DECIMALS, Cells, shares_of
from app.drift.detector_state import DetectorState, stream_onset, stream_wealth
from app.drift.errors import ErrorState
from app.drift.evidence import distances, evidence, live_counts, margin, stream_scores
from app.drift.family import Family
from app.drift.joint import DISTANCE, GIVEN_THE_OTHERS
from app.drift.reference import LabelledErrors
from app.drift.report_types import JointReport, StreamReport
from app.drift.streams import Stream

EXOGENOUS = "assumes that labels do not depend on the answer"


def iso_time(at_us: int | None) -> str | None:
    """The moment `at_us` (µs since 1970) as ISO 8601 in UTC; None for None, and for 0: unknown."""
    return iso_utc(at_us) if at_us else None


def stream_reports(
    family: Family, state: DetectorState, watched: int
) -> tuple[tuple[StreamReport, ...], tuple[JointReport, ...]]:
    """The reports of the streams that have cells, and of the joint ones; `watched` streams share the promise."""
    found = stream_evidence(state, watched)
    scores, counts, onset = stream_scores(family, state), live_counts(family, state), stream_onset(state)[1].tolist()
    shown = len(family.cells)
    live = shares_of(counts[:shown]) if state.requests else [None] * shown
    columns = map(_column, family.cells, live, scores[:shown], found[:shown], onset[:shown])
    joint = map(_joint, family.streams[shown:], scores[shown:], found[shown:], onset[shown:])
    return tuple(columns), tuple(joint)


def error_report(reference: LabelledErrors, state: ErrorState, watched: int) -> StreamReport:
    """The report of a version's errors, as a column with the cells `right` and `wrong`."""
    known = (reference.rows - reference.errors, reference.errors)
    live = (state.seen - state.seen_wrong, state.seen_wrong)
    found = evidence(state.mean_wealth, state.seen, watched)
    cells = Cells(name="errors", kind="categorical", bins=("right", "wrong"), counts=(0, *known, 0, 0, 0))
    score = max(0.0, float(distances(known, live)) - margin(reference.rows, state.seen, 1))
    shares = shares_of(np.array([[0, *live, 0, 0, 0]]))[0] if state.seen else None
    column = _column(cells, shares, score, found, state.onset_us)
    return column if state.declared else msgspec.structs.replace(column, assumption=EXOGENOUS)


def stream_evidence(state: DetectorState, watched: int) -> list[float]:
    """The evidence of each stream, 0 to 1."""
    return [evidence(wealth, state.closed_requests, watched) for wealth in stream_wealth(state).tolist()]


def explain(name: str, found: float) -> str:
    """The meaning, in one sentence, of evidence `found` in the joint stream `name`."""
    if name == DISTANCE:
        verb = "lie" if found == 0 else "may no longer lie" if found < 1 else "no longer lie"
        return f"Rows {verb} as far from the middle of the reference, all features taken together, as they did there."
    feature = name.removesuffix(GIVEN_THE_OTHERS)
    verb = "goes" if found == 0 else "may no longer go" if found < 1 else "no longer goes"
    return f"{feature} {verb} with the other features as it did in the reference."


def _joint(stream: Stream, score: float, found: float, onset_us: int) -> JointReport:
    return JointReport(
        name=stream.name,
        evidence=found,
        explanation=explain(stream.name, found),
        score=round(score, DECIMALS),
        since=iso_time(onset_us) if found else None,
    )


def _column(cells: Cells, live: list[float] | None, score: float, found: float, onset_us: int) -> StreamReport:
    """The report of a column; `live` are the shares of its cells, and of more that are empty."""
    known, size = cells.shares, len(cells.counts)
    live = None if live is None else live[:size]
    return StreamReport(
        name=cells.name,
        score=round(score, DECIMALS),
        evidence=found,
        kind=cells.kind,
        bins=cells.bins,
        reference=() if known is None else tuple(known[1:-3]),
        live=None if live is None else tuple(live[1:-3]),
        missing=None if live is None else live[-2],
        # Of a column of texts the reference counts all as unseen: that a new one is, too, means nothing.
        unseen=None if live is None or cells.counts[-1] else live[-1],
        out_of_range=None if live is None else round(live[0] + live[-3], DECIMALS),
        reference_missing=0.0 if known is None else known[-2],
        since=iso_time(onset_us) if found else None,
    )
