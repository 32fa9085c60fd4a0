"""The records of the drift report, field by field as `GET /drift` shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.drift.reference import AnswersFrom
from app.tables.model_columns import FeatureKind


class FalseAlarmBound(msgspec.Struct, frozen=True):
    """The bound on false alarms: `at_most` is the chance of any alarm within `requests` clean requests."""

    requests: int
    at_most: float


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, or one column of a version's answers, in the last `window` requests against the reference.

    `bins`: the edges of numeric cells (one more than cells) or the categories. `reference` and `live` are the shares
    of the cells: `live` sums to 1 together with `missing`, `unseen` and `out_of_range`, and `reference` together with
    `reference_missing` (except infinite values); fields about live values are None before the first. `since`: when the
    evidence began to rise, None if there is none. `assumption`: what the stream takes for granted, and nobody has
    declared; then it raises no alarm, and its evidence and score are not in the report's.
    """

    name: str
    score: float
    evidence: float
    kind: FeatureKind
    bins: tuple[float | str, ...]
    reference: tuple[float, ...]
    live: tuple[float, ...] | None
    missing: float | None
    unseen: float | None
    out_of_range: float | None
    reference_missing: float
    since: str | None
    assumption: str | None = None


class JointReport(msgspec.Struct, frozen=True, kw_only=True):
    """One joint stream: the distance of rows from the reference, or one feature given the others."""

    name: str
    evidence: float
    explanation: str
    score: float
    since: str | None


AlarmKind = Literal["inputs", "joint", "outputs", "errors"]


class AlarmStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that raised the alarm, with its `evidence` at that moment, which may have gone since.

    `kind`: a feature (`inputs`), several of them together (`joint`), the version's answers (`outputs`) or `errors`.
    It was raised after `requests` rows (for answers: answers of the version; for errors: labels), at `at`.
    """

    name: str
    kind: AlarmKind
    evidence: float
    requests: int
    at: str | None


class Crowds(msgspec.Struct, frozen=True, kw_only=True):
    """What became of requests with many rows and of named users who come again: a block takes one row of each.

    `waiting` rows are for later blocks; `skipped` ones never enter the evidence: too many waited, or for too long.
    `unlearnt` ones do not either: they came while it was not known whether a user is a service. `repeated` rows were
    sent before under the same own key. `few_callers`: the last block of ten was closed with fewer callers, after 500
    requests in which no other came. `heaviest_share`: the share of the last requests (about 2,000) that the most active
    named user sent, of those who sent 5 of 200.
    """

    waiting: int = 0
    skipped: int = 0
    repeated: int = 0
    unlearnt: int = 0
    few_callers: bool = False
    heaviest_share: float = 0.0


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic compared with the data that `version` was made from.

    `score`: a lower bound of the displaced share of the last `window` requests. `evidence`: 1 is the alarm. `alarm` is
    latched: it stays until it is acknowledged, or until all streams have been clean for a while. `since`: the estimated
    start of the change; `since_requests` the same as a number of requests. `least_detectable_outlier_share`: about the
    least share of requests beyond all reference values, as at 8 standard deviations, that can be proven (None: no share
    can). `answers_from`: what the reference of answers and errors is made of; `notes` say what it cannot show. `alarms`
    counts the alarms so far, cleared ones too. `reference_number` is that of a reference which the version got
    after its publication, 0 without one; then the figures are of requests served from `reference_since` on.
    `alarm_streams` raised the alarm; they stay until it is acknowledged, or the next one is raised. `assumption`: what
    an alarm rests on, and what to do where that does not hold; None without an alarm.
    """

    version: str
    score: float
    evidence: float
    alarm: bool
    alarms: int
    since: str | None
    since_requests: int | None
    acknowledged: str | None
    requests: int
    window: int
    reference_rows: int
    least_detectable_shift_sd: float | None
    false_alarm_probability: FalseAlarmBound
    features: tuple[StreamReport, ...]
    joint: tuple[JointReport, ...]
    outputs: tuple[StreamReport, ...]
    least_detectable_outlier_share: float | None = None
    answers_from: AnswersFrom | None = None
    notes: tuple[str, ...] = ()
    crowds: Crowds = Crowds()
    alarm_streams: tuple[AlarmStream, ...] = ()
    assumption: str | None = None
    reference_number: int = 0
    reference_since: str | None = None
