"""A logged prediction with its outcomes as readers get it: class names instead of ids, features by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.columns import LoggedLayout
from app.domain.contract import FeatureContract
from app.domain.prediction import readable
from app.domain.timestamps import iso_utc


class LoggedCorrection(msgspec.Struct, frozen=True):
    """A correction of an outcome; `replaced` and `outcome` are JSON, the time is µs since 1970."""

    kind: Literal["actual", "reward"]
    replaced: str
    outcome: str
    corrected_at_us: int
    actor: str


class LoggedAnswer(msgspec.Struct, frozen=True):
    """A row of the log with its outcomes; `features`, `answers`, `actual` and `reward` are JSON.

    Outcomes have their last value; `corrections` are in order.

    The fields that `LoggedPrediction` has too mean the same here. `actual_at_us` and `reward_at_us` are when the
    outcomes were received. `experiment_id` is the experiment of the config revision `epoch`.
    """

    prediction_id: str
    served_at_us: int
    version: str
    assignment: str
    features: str
    answers: str
    actual: str | None = None
    reward: str | None = None
    own_key: str | None = None
    request_id: str = ""
    epoch: int = 0
    propensity: float | None = None
    chosen: str = ""
    counts: bool = True
    synthetic: bool = False
    user_hash: int = 0
    latency_us: int = 0
    actual_at_us: int | None = None
    reward_at_us: int | None = None
    experiment_id: str | None = None
    failed: str | None = None
    lacking: str | None = None
    layout: LoggedLayout | None = None
    corrections: tuple[LoggedCorrection, ...] = ()


class VersionAnswer(msgspec.Struct, frozen=True):
    """The answer of one version, served or in shadow; `probabilities` only where a single prediction is asked for."""

    prediction: str | float | int
    confidence: float | UnsetType = UNSET
    probabilities: Mapping[str, float] | UnsetType = UNSET


class KnownCorrection(msgspec.Struct, frozen=True):
    """What an administrator replaced: the outcome before and after, when, and by whom."""

    kind: Literal["actual", "reward"]
    before: str | float | int
    after: str | float | int
    at: str
    by: str


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction with names instead of ids; what is unknown or does not apply is absent.

    Where `assignment` is `exposure`, a caller reported it: it has no features, no answers and no `prediction`.

    `prediction` and `actual` are class names; for regression they are numbers, and class ids if the names are no longer
    known. `id` is the caller's own key. `answers` are those of all versions. `propensity` is the probability with which
    the version was chosen, `epoch` the config revision. `corrections` say how `actual` or `reward` became what it is.
    """

    prediction_id: str
    timestamp: str
    features: Mapping[str, float | str | None]
    prediction: str | float | int | UnsetType = UNSET
    model_version: str
    assignment: str
    confidence: float | UnsetType = UNSET
    actual: str | float | int | UnsetType = UNSET
    reward: float | int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    request_id: str = ""
    answers: Mapping[str, VersionAnswer] = msgspec.field(default_factory=dict)
    propensity: float | UnsetType = UNSET
    epoch: int = 0
    corrections: tuple[KnownCorrection, ...] | UnsetType = UNSET


class KnownOutcome(msgspec.Struct, frozen=True):
    """An outcome of a prediction, and when it was received."""

    kind: Literal["actual", "reward"]
    value: str | float | int
    received: str


class PredictionDetail(HistoryEntry, frozen=True, kw_only=True):
    """Everything that is known of one prediction.

    `chosen` is the version that the policy chose, another one than `model_version` after a fallback. `counts`: whether
    it enters the experiment. `user` is the hash of the user's id, in hexadecimal. `failed` are the versions that were
    asked and gave no answer, `lacking` those that took no part because the request lacks a column that they read.
    """

    chosen: str
    counts: bool
    synthetic: bool
    latency_ms: float
    experiment: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    failed: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    outcomes: tuple[KnownOutcome, ...] = ()


_Form: TypeAlias = Callable[[Mapping[str, Any], FeatureContract | None], VersionAnswer]


def entry_of(row: LoggedAnswer, contract: FeatureContract | None) -> HistoryEntry:
    """The entry of the history; `contract` has the names of the version that answered, None where it is gone."""
    return HistoryEntry(**_fields(row, contract), answers=_answers(row, contract, _brief))


def _fields(row: LoggedAnswer, contract: FeatureContract | None) -> dict[str, Any]:
    """What an entry of the history and the whole prediction have in common."""
    given = msgspec.json.decode(row.answers).get(row.version)  # a reported exposure has none
    served = None if given is None else _brief(given, contract)
    return {
        "prediction_id": row.prediction_id,
        "timestamp": iso_utc(row.served_at_us),
        "features": _by_name(msgspec.json.decode(row.features), _names(row, contract)),
        "prediction": UNSET if served is None else served.prediction,
        "confidence": UNSET if served is None else served.confidence,
        "model_version": row.version,
        "assignment": row.assignment,
        "actual": UNSET if row.actual is None else _label(msgspec.json.decode(row.actual), contract),
        "reward": UNSET if row.reward is None else msgspec.json.decode(row.reward),
        "id": UNSET if row.own_key is None else row.own_key,
        "request_id": row.request_id,
        "propensity": UNSET if row.propensity is None else row.propensity,
        "epoch": row.epoch,
        "corrections": tuple(_correction(each, contract) for each in row.corrections) or UNSET,
    }


def _correction(given: LoggedCorrection, contract: FeatureContract | None) -> KnownCorrection:
    before, after = (msgspec.json.decode(each) for each in (given.replaced, given.outcome))
    if given.kind == "actual":
        before, after = _label(before, contract), _label(after, contract)
    return KnownCorrection(given.kind, before, after, iso_utc(given.corrected_at_us), given.actor)


def detail_of(row: LoggedAnswer, contract: FeatureContract | None) -> PredictionDetail:
    """The same with everything else that the log has of it."""
    return PredictionDetail(
        **_fields(row, contract),
        answers=_answers(row, contract, _in_full),
        chosen=row.chosen,
        counts=row.counts,
        synthetic=row.synthetic,
        latency_ms=row.latency_us / 1000,
        experiment=UNSET if row.experiment_id is None else row.experiment_id,
        user=f"{row.user_hash:012x}" if row.user_hash else UNSET,
        failed=msgspec.json.decode(row.failed or "[]", type=tuple[str, ...]),
        lacking=msgspec.json.decode(row.lacking or "[]", type=tuple[str, ...]),
        outcomes=tuple(_outcomes(row, contract)),
    )


def _outcomes(row: LoggedAnswer, contract: FeatureContract | None) -> Iterator[KnownOutcome]:
    if row.actual is not None:
        yield KnownOutcome("actual", _label(msgspec.json.decode(row.actual), contract), iso_utc(row.actual_at_us or 0))
    if row.reward is not None:
        yield KnownOutcome("reward", msgspec.json.decode(row.reward), iso_utc(row.reward_at_us or 0))


def _answers(row: LoggedAnswer, contract: FeatureContract | None, form: _Form) -> dict[str, VersionAnswer]:
    return {version: form(answer, contract) for version, answer in msgspec.json.decode(row.answers).items()}


def _brief(answer: Mapping[str, Any], contract: FeatureContract | None) -> VersionAnswer:
    """The prediction and its confidence."""
    if "v" in answer:
        return VersionAnswer(answer["v"])
    class_id = answer["c"]
    return VersionAnswer(_label(class_id, contract), readable(answer["p"][class_id]) if "p" in answer else UNSET)


def _in_full(answer: Mapping[str, Any], contract: FeatureContract | None) -> VersionAnswer:
    """The same with the probabilities of all classes."""
    brief = _brief(answer, contract)
    if "p" not in answer:
        return brief
    probabilities = {str(_label(id_, contract)): readable(share) for id_, share in enumerate(answer["p"])}
    return msgspec.structs.replace(brief, probabilities=probabilities)


def _label(value: Any, contract: FeatureContract | None) -> Any:
    """The name of a class id; any other value unchanged."""
    is_id = contract is not None and type(value) is int and 0 <= value < len(contract.classes)
    return contract.classes[value] if is_id and contract else value


def _names(row: LoggedAnswer, contract: FeatureContract | None) -> tuple[str, ...]:
    if row.layout is not None:
        return tuple(column.name for column in row.layout.columns)
    return contract.names if contract is not None else ()


def _by_name(values: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    if len(names) != len(values):  # the version that answered is no longer loaded, and had other features
        names = tuple(f"feature_{number}" for number in range(1, len(values) + 1))
    return dict(zip(names, values, strict=True))
