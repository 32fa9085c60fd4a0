"""The log as readers see it: `GET /predictions/history`, page by page and newest first, and a single prediction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec

from app.domain.contract import VERSION_NAME, FeatureContract
from app.domain.prediction_id import ID_LENGTH, SHORT_LENGTH
from app.domain.timestamps import iso_utc
from app.errors import InvalidRequest, UnknownPrediction, UnknownVersion
from app.services.pages import LARGEST_PAGE, require_number
from app.services.ports import KEY_DAYS, KeyLookup, LoadedModels
from app.services.queries.logged_answers import HistoryEntry, LoggedAnswer, PredictionDetail, detail_of, entry_of

_ID = re.compile(rf"[A-Za-z0-9_-]{{{SHORT_LENGTH}}}|[A-Za-z0-9_-]{{{ID_LENGTH}}}")
NameKind = Literal["prediction_id", "own_key", "request_id"]
_FIELDS: Mapping[NameKind, str] = {"prediction_id": "prediction_id", "own_key": "id", "request_id": "request_id"}
_NOT_FOUND: Mapping[NameKind, str] = {
    "prediction_id": "the log has no prediction with this id",
    "own_key": f"the log has no prediction of the last {KEY_DAYS} days with this id",
    "request_id": "the log has no prediction of a request with this id",
}


class Place(msgspec.Struct, frozen=True):
    """A prediction's place in the order of the log, which is that of the ids."""

    prediction_id: str
    served_at_us: int


class Name(msgspec.Struct, frozen=True):
    """What predictions are searched by: their id, the caller's own key, or the id of their request."""

    kind: NameKind
    value: str


class AnswerLog(Protocol):
    """The store's side of the history. Raises `StoreUnavailable`."""

    def page(
        self, limit: int, version: str | None, before: Place | None, name: Name | None = None
    ) -> list[LoggedAnswer]: ...

    def first(self, name: Name) -> LoggedAnswer | None: ...

    def place(self, prediction_id: str) -> Place | None: ...

    def has_version(self, version: str) -> bool: ...


class HistoryPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `next` is the `before` of the next page, None on the last one."""

    predictions: tuple[HistoryEntry, ...]
    next: str | None


class History:
    """The use case behind the calls that read the log. `loaded_models` returns the loaded models, for names.

    `archived_until_us` returns the time of the newest archived row (µs since 1970), None where nothing is archived.
    """

    def __init__(
        self,
        log: AnswerLog,
        keys: KeyLookup,
        loaded_models: Callable[[], LoadedModels],
        archived_until_us: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._log = log
        self._keys = keys
        self._loaded_models = loaded_models
        self._archived_until_us = archived_until_us

    def one(self, name: Name) -> PredictionDetail:
        """The prediction of that name: of a request with several rows the first, of an own key the one it is bound to.

        Raises `UnknownPrediction` and `StoreUnavailable`.
        """
        place = name
        if name.kind == "own_key":
            place = Name("prediction_id", self._keys.bound([name.value]).get(name.value, ""))
        # What is no id is not asked for: some stores refuse such texts.
        is_id = place.kind != "prediction_id" or _ID.fullmatch(place.value)
        row = self._log.first(place) if is_id else None
        if row is None:
            raise UnknownPrediction(_NOT_FOUND[name.kind] + self._unless_archived(), field=_FIELDS[name.kind])
        return detail_of(row, contract_of(self._loaded_models(), row.version))

    def page(
        self,
        limit: int = 100,
        version: str | None = None,
        before: str | None = None,
        name: Name | None = None,
    ) -> HistoryPage:
        """Up to `limit` (1 to 1,000) predictions.

        Only those of `version`, of that `name`, and older than the id `before`, if given. Raises `InvalidRequest` (its
        field is the parameter), `UnknownVersion`, `UnknownPrediction` and `StoreUnavailable`.
        """
        require_number("limit", limit, LARGEST_PAGE)
        place = None if before is None else self._place(before)
        loaded_models = self._loaded_models()
        if version is not None:
            self._check_version(loaded_models, version)
        # One more than asked for shows whether another page follows.
        rows = self._log.page(limit + 1, version, place, name)
        following = rows[limit - 1].prediction_id if len(rows) > limit else None
        return HistoryPage(
            tuple(entry_of(row, contract_of(loaded_models, row.version)) for row in rows[:limit]), following
        )

    def _place(self, before: str) -> Place:
        if not _ID.fullmatch(before):
            raise InvalidRequest("before must be a prediction id: the `next` of the previous page", field="before")
        place = self._log.place(before)
        if place is None:
            reason = f"the log has no prediction with the id that is given as before{self._unless_archived()}"
            raise UnknownPrediction(reason, field="before")
        return place

    def _unless_archived(self) -> str:
        until_us = self._archived_until_us()
        return "" if until_us is None else f"; rows of up to {iso_utc(until_us)} are archived, and not found here"

    def _check_version(self, loaded_models: LoadedModels, version: str) -> None:
        if not VERSION_NAME.fullmatch(version):
            raise InvalidRequest("version must be lower-case letters, digits and _", field="version")
        if version not in loaded_models.versions and not self._log.has_version(version):
            raise UnknownVersion(
                f"no version {version!r} is loaded, and the log has no prediction by one of that name", field="version"
            )


def contract_of(loaded_models: LoadedModels, version: str) -> FeatureContract | None:
    """The contract with the names of a version, loaded or retired; the reference's where it is gone."""
    known = loaded_models.versions.get(version) or loaded_models.retired.get(version)
    if known is None or not known.ordinal:  # 0: retired, and its manifest is not here
        known = loaded_models.versions.get(loaded_models.reference or "")
    return known.contract if known else None
