"""The records of the drift report, field by field as `GET /drift` shows them."""

from __future__ import annotations

import msgspec

from app.domain.contract import FeatureKind


class FalseAlarmBound(msgspec.Struct, frozen=True):
    """On clean traffic the chance of any alarm within so many requests is `at_most` this."""

    requests: int
    at_most: float


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, or one column of a version's answers, in the last `window` requests against the reference.

    `bins`: the edges of numeric cells (one more than cells) or the categories. `reference` and `live` are the shares
    of the cells: `live` sums to 1 together with `missing`, `unseen` and `out_of_range`, and `reference` together with
    `reference_missing` (but for infinite values); what is about live values is None before the first. `since`: when
    its evidence began to rise, where there is some.
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


class JointReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the features say together: the distance from the reference, or one feature given the others."""

    name: str
    evidence: float
    explanation: str
    score: float
    since: str | None


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the traffic compares with the data that `version` was made from.

    `score`: the share of the traffic that is displaced, at least, in the last `window` requests. `evidence`: 1 is the
    alarm. `alarm` is latched: it stays until acknowledged, or until all has been clean for a while. `since`: when the
    change began, as far as can be told; `since_requests` the same as a number of requests. `alarms` counts the alarms
    so far, also those that have passed.
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
