"""What people should know about the callers behind the figures: whose rows count little, and that a change may hide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.drift.crowds import CLOSES_AFTER, CrowdState
from app.drift.report_types import StreamReport

# From this share of the rows on it is said that they are not evidence.
_NOTABLE: Final = 0.2
_LEAST_ROWS: Final = 500
_DISPLACED: Final = 0.1
_LITTLE_EVIDENCE: Final = 0.5


def crowd_notes(crowd: CrowdState, rows: int, score: float, features: Sequence[StreamReport]) -> tuple[str, ...]:
    """Sentences about the callers of `rows` rows; none where all count."""
    notes = (_few(crowd), _left_out(crowd, rows), _repeated(crowd, rows), _hidden(crowd, rows, score, features))
    return tuple(note for note in notes if note)


def _few(crowd: CrowdState) -> str | None:
    if not crowd.few_callers:
        return None
    return (
        f"Few callers make up the traffic: in {CLOSES_AFTER} requests there were fewer than ten. A block of ten rows "
        "takes one of each, so there is little evidence, and changes are found late."
    )


def _left_out(crowd: CrowdState, rows: int) -> str | None:
    if rows < _LEAST_ROWS or crowd.skipped < _NOTABLE * rows:
        return None
    return (
        f"{crowd.skipped / rows:.0%} of the rows are no evidence: they are further rows of large requests or of users "
        "who come again, of whom a block takes one. Changes are found later than in traffic of single rows."
    )


def _repeated(crowd: CrowdState, rows: int) -> str | None:
    if rows < _LEAST_ROWS or crowd.repeated < _NOTABLE * rows:
        return None
    return (
        f"{crowd.repeated / rows:.0%} of the rows repeat a case that was sent before under the same id, and count once."
    )


def _hidden(crowd: CrowdState, rows: int, score: float, features: Sequence[StreamReport]) -> str | None:
    """A displacement that the evidence does not see, because few callers make it."""
    displaced = [each for each in features if each.score >= _DISPLACED and each.evidence < _LITTLE_EVIDENCE]
    held_back = len(crowd.waiting) + crowd.skipped + crowd.repeated
    if rows < _LEAST_ROWS or score < _DISPLACED or not displaced or not held_back:
        return None
    most = max(displaced, key=lambda each: each.score)
    return (
        f"{most.name} is displaced in {most.score:.0%} of the traffic, but there is little evidence: the rows that do "
        "it are of few callers (large requests, one user, or repeats), and only one of each counts at a time. Look at "
        "who sends them."
    )
