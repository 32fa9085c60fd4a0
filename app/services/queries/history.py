"""`GET /predictions/history`: served predictions with their outcomes, page by page, newest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.columns import LoggedLayout
from app.domain.contract import VERSION_NAME, FeatureContract
from app.domain.prediction import readable
from app.domain.prediction_id import ID_LENGTH
from app.domain.timestamps import iso_utc
from app.errors import InvalidRequest, UnknownPrediction, UnknownVersion
from app.services.pages import LARGEST_PAGE, require_number
from app.services.ports import LoadedModels

_ID = re.compile(rf"[A-Za-z0-9_-]{{{ID_LENGTH}}}")


class LoggedAnswer(msgspec.Struct, frozen=True):
    """A row of the log with its outcomes; `features`, `answers`, `actual` and `reward` are JSON.

    `own_key` is the caller's own name for the row. `layout` has the columns of `features`; None: those of the contract
    of `version`, in its order.
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
    layout: LoggedLayout | None = None


class Place(msgspec.Struct, frozen=True):
    """A prediction's place in the order of the log, which is that of the ids."""

    prediction_id: str
    served_at_us: int


class AnswerLog(Protocol):
    """The store's side of the history. Raises `StoreUnavailable`."""

    def page(self, limit: int, version: str | None, before: Place | None) -> list[LoggedAnswer]: ...

    def place(self, prediction_id: str) -> Place | None: ...

    def has_version(self, version: str) -> bool: ...


class HistoryEntry(msgspec.Struct, frozen=True):
    """One prediction with names instead of ids; what is unknown or does not apply is absent.

    `prediction` and `actual` are class names; for regression they are numbers, and class ids if the names are no longer
    known. `id` is the caller's own key.
    """

    prediction_id: str
    timestamp: str
    features: Mapping[str, float | str | None]
    prediction: str | float | int
    model_version: str
    assignment: str
    confidence: float | UnsetType = UNSET
    actual: str | float | int | UnsetType = UNSET
    reward: float | int | UnsetType = UNSET
    id: str | UnsetType = UNSET


class HistoryPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `next` is the `before` of the next page, None on the last one."""

    predictions: tuple[HistoryEntry, ...]
    next: str | None


class History:
    """The use case behind `GET /predictions/history`. `loaded_models` returns the loaded models, for names."""

    def __init__(self, log: AnswerLog, loaded_models: Callable[[], LoadedModels]) -> None:
        self._log = log
        self._loaded_models = loaded_models

    def page(self, limit: int = 100, version: str | None = None, before: str | None = None) -> HistoryPage:
        """Up to `limit` (1 to 1,000) predictions; only those of `version`, and older than the id `before`, if given.

        Raises `InvalidRequest` (its field is the parameter), `UnknownVersion`, `UnknownPrediction` and
        `StoreUnavailable`.
        """
        require_number("limit", limit, LARGEST_PAGE)
        place = None if before is None else self._place(before)
        loaded_models = self._loaded_models()
        if version is not None:
            self._check_version(loaded_models, version)
        # One more than asked for shows whether another page follows.
        rows = self._log.page(limit + 1, version, place)
        following = rows[limit - 1].prediction_id if len(rows) > limit else None
        return HistoryPage(tuple(_entry(row, _contract(loaded_models, row.version)) for row in rows[:limit]), following)

    def _place(self, before: str) -> Place:
        if not _ID.fullmatch(before):
            raise InvalidRequest("before must be a prediction id: the `next` of the previous page", field="before")
        place = self._log.place(before)
        if place is None:
            raise UnknownPrediction("the log has no prediction with the id that is given as before", field="before")
        return place

    def _check_version(self, loaded_models: LoadedModels, version: str) -> None:
        if not VERSION_NAME.fullmatch(version):
            raise InvalidRequest("version must be lower-case letters, digits and _", field="version")
        if version not in loaded_models.versions and not self._log.has_version(version):
            raise UnknownVersion(
                f"no version {version!r} is loaded, and the log has no prediction by one of that name", field="version"
            )


def _contract(loaded_models: LoadedModels, version: str) -> FeatureContract | None:
    loaded = loaded_models.versions.get(version) or loaded_models.versions.get(loaded_models.reference or "")
    return loaded.contract if loaded else None


def _entry(row: LoggedAnswer, contract: FeatureContract | None) -> HistoryEntry:
    prediction, confidence = _answer(msgspec.json.decode(row.answers)[row.version], contract)
    return HistoryEntry(
        prediction_id=row.prediction_id,
        timestamp=iso_utc(row.served_at_us),
        features=_by_name(msgspec.json.decode(row.features), _names(row, contract)),
        prediction=prediction,
        confidence=confidence,
        model_version=row.version,
        assignment=row.assignment,
        actual=UNSET if row.actual is None else _label(msgspec.json.decode(row.actual), contract),
        reward=UNSET if row.reward is None else msgspec.json.decode(row.reward),
        id=UNSET if row.own_key is None else row.own_key,
    )


def _answer(answer: Mapping[str, Any], contract: FeatureContract | None) -> tuple[Any, float | UnsetType]:
    """The prediction and its confidence."""
    if "v" in answer:
        return answer["v"], UNSET
    class_id = answer["c"]
    return _label(class_id, contract), readable(answer["p"][class_id]) if "p" in answer else UNSET


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
