"""`POST /feedback`: verifies the signed prediction ids, makes the outcomes durable, and only then acknowledges them.

Where an item has the caller's own key, the log says which prediction that is; an id needs no look-up. Concurrent
requests share commits: while one commit runs, further requests gather, and the next commit takes them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.contract import FeatureContract
from app.domain.outcome import Outcome
from app.domain.prediction_id import Signer
from app.errors import BakeoffError, Contradiction, InvalidRequest, StoreUnavailable, Unavailable, UnknownPrediction
from app.services.ports import KeyLookup, LoadedVersion, RetiredVersion
from app.services.recording.group_commit import GroupCommit
from app.services.recording.outcome_items import NOT_CORRECTING, Correcting, OutcomeItem, item_of, on_the_way
from app.services.serving.live_models import LiveModels

ItemStatus = Literal["accepted", "duplicate", "unknown", "contradicts", "invalid", "unavailable"]


class ItemReceipt(msgspec.Struct, frozen=True):
    """What became of one item, accepted if its label or its reward is new; `line` of a file: its header is line 1."""

    status: ItemStatus
    prediction_id: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    line: int | UnsetType = UNSET


class Receipt(msgspec.Struct, frozen=True):
    """The number of new outcomes and of repeated ones; all are on disk. `corrected` of the accepted replaced another.

    Where items were named by the caller's own keys, which predictions these are: of one item `prediction_id`, of a list
    `prediction_ids`, in its order. With `partial`, the number of items that are `unknown`, that are `invalid` and that
    contradict what is recorded, and what became of each of `items`; `unavailable` of them can be sent again later.
    """

    accepted: int
    duplicates: int
    corrected: int | UnsetType = UNSET
    prediction_id: str | UnsetType = UNSET
    prediction_ids: tuple[str, ...] | UnsetType = UNSET
    unknown: int | UnsetType = UNSET
    contradicts: int | UnsetType = UNSET
    invalid: int | UnsetType = UNSET
    unavailable: int | UnsetType = UNSET
    items: tuple[ItemReceipt, ...] | UnsetType = UNSET


class MayBeArchived(StoreUnavailable):
    """Nothing was accepted: whether an outcome is known only the archive tells, and it was not to be read."""


class OutcomeLog(Protocol):
    """The store's side of feedback.

    `commit` makes several submissions durable in one transaction. For each it returns the receipt, or the
    `Contradiction` because of which none of its outcomes was accepted, or `StoreUnavailable` where what is known of
    its predictions cannot be read; `MayBeArchived` without `archive`, if that has to be read, which may take seconds.
    Raises `StoreUnavailable`: then nothing was accepted.
    """

    def commit(
        self, submissions: Sequence[Sequence[Outcome]], *, archive: bool = True
    ) -> list[Receipt | BakeoffError]: ...


# Predictions that were answered before are in the log within some milliseconds, unless the recorder is far behind.
_ON_THE_WAY_S = 1.0
# While one call reads the archive, so many others wait this long for their turn. Each has a thread of the worker that
# answers nobody else, and a place that says nothing holds all of them: half of the usual 8 threads must be left.
_ARCHIVE_S, _ARCHIVE_CALLS = 0.5, 3
_Commits: TypeAlias = GroupCommit[Sequence[Sequence[Outcome]], list[Receipt | BakeoffError]]
_Read = tuple[str, list[Outcome]]


class Feedback:
    """The use case behind `POST /feedback`. Thread-safe; it may be made before a fork.

    `settle` waits up to so many seconds until the log has everything that was answered before, and says if it has. A
    submission that timed out may have been committed all the same. Repeating it is safe: the outcomes then count as
    duplicates.
    """

    def __init__(
        self,
        live: LiveModels,
        signer: Signer,
        log: OutcomeLog,
        keys: KeyLookup,
        settle: Callable[[float], bool],
        wait_s: float = 10.0,
    ) -> None:
        self._live = live
        self._signer = signer
        self._keys = keys
        self._settle = settle
        self._commits: _Commits = GroupCommit(lambda calls: _committed(log, calls, archive=False), wait_s)
        # By themselves, so that no fresh outcome waits for the archive.
        self._old: _Commits = GroupCommit(
            lambda calls: _committed(log, calls, archive=True), _ARCHIVE_S, _ARCHIVE_CALLS
        )

    def accept(
        self, items: Sequence[Any], *, from_file: bool = False, correcting: Correcting = NOT_CORRECTING
    ) -> Receipt:
        """Accept all outcomes of `items`, or none. `from_file`: labels and rewards are texts, as files have them.

        Raises `InvalidRequest`, `UnknownPrediction` and `Contradiction` (for a list with the index), `NotReady` for a
        label while no version is loaded, and `StoreUnavailable` if nothing could be made durable, or a key is not known
        while rows are on their way to the log.
        """
        read = self._read(items, from_file, correcting, numbered=True)
        ids, outcomes = [], []
        for index, found in enumerate(read):
            if isinstance(found, BakeoffError):
                raise found if len(items) == 1 else found.within("item", index)
            ids.append(found[0])
            outcomes += found[1]
        # Returns after the fsync: an acknowledged label that is lost or counted twice spoils an experiment (ADR 9).
        [result] = self._commit([outcomes])
        if isinstance(result, BakeoffError):
            raise result
        if not any("id" in item for item in items):
            return result
        named = {"prediction_id": ids[0]} if len(ids) == 1 else {"prediction_ids": tuple(ids)}
        return msgspec.structs.replace(result, **named)

    def accept_each(
        self, items: Sequence[Any], *, from_file: bool = False, correcting: Correcting = NOT_CORRECTING
    ) -> Receipt:
        """Accept each item of `items` that can be, and say what became of every one.

        Raises `InvalidRequest` for an empty list, `NotReady` and `StoreUnavailable` as `accept`.
        """
        read = self._read(items, from_file, correcting)
        known = [found for found in read if not isinstance(found, BakeoffError)]
        results = iter(self._commit([outcomes for _, outcomes in known]) if known else ())
        accepted = duplicates = corrected = 0
        receipts = []
        for found in read:
            if isinstance(found, BakeoffError):
                receipts.append(_refusal(found))
                continue
            result = next(results)
            if isinstance(result, BakeoffError):
                receipts.append(_refusal(result, found[0]))
                continue
            accepted, duplicates = accepted + result.accepted, duplicates + result.duplicates
            corrected += 0 if result.corrected is UNSET else result.corrected
            receipts.append(ItemReceipt("accepted" if result.accepted else "duplicate", found[0]))
        count = Counter(receipt.status for receipt in receipts)
        return Receipt(
            accepted=accepted,
            duplicates=duplicates,
            corrected=corrected or UNSET,
            unknown=count["unknown"],
            contradicts=count["contradicts"],
            invalid=count["invalid"],
            unavailable=count["unavailable"] or UNSET,
            items=tuple(receipts),
        )

    def _commit(self, submissions: Sequence[Sequence[Outcome]]) -> list[Receipt | BakeoffError]:
        results = self._commits.submit(submissions)
        old = [index for index, result in enumerate(results) if isinstance(result, MayBeArchived)]
        if old:
            try:
                settled = self._old.submit([submissions[index] for index in old])
            except StoreUnavailable as error:
                settled = [error for _ in old]  # and not for all: the others are accepted by now
            for index, result in zip(old, settled, strict=True):
                results[index] = result
        return results

    def _read(
        self, items: Sequence[Any], from_file: bool, correcting: Correcting, *, numbered: bool = False
    ) -> list[_Read | BakeoffError]:
        """For each item its prediction and outcomes, or what is wrong with it; outcomes have the item's number."""
        if not items:
            raise InvalidRequest("the list is empty: give at least one outcome", field="feedback")
        found = [item_of(given, from_file, correcting) for given in items]
        keys = {item.key for item in found if isinstance(item, OutcomeItem) and item.key is not None}
        bound = self._bound(keys)
        contracts = self._contracts()
        return [
            self._outcomes(item, bound, contracts, number if numbered else 0) if isinstance(item, OutcomeItem) else item
            for number, item in enumerate(found)
        ]

    def _bound(self, keys: set[str]) -> Mapping[str, str]:
        """The predictions that the keys are bound to; waits once for those that may be on their way to the log."""
        if not keys:
            return {}
        # Waits also where the log has a prediction of the key: the first one may be on its way from another worker.
        settled = self._settle(_ON_THE_WAY_S)
        bound = self._keys.bound(keys)
        missing = next((key for key in keys if key not in bound), None)
        if missing is not None and not settled:
            raise on_the_way(missing)
        return bound

    def _outcomes(
        self, item: OutcomeItem, bound: Mapping[str, str], contracts: Mapping[int, FeatureContract], number: int
    ) -> _Read | BakeoffError:
        prediction_id = item.prediction_id if item.key is None else bound.get(item.key)
        if prediction_id is None:
            return item.not_found()
        try:
            # No look-up for an id: the row may still be queued in another worker, and the id says all that is needed.
            fact = self._signer.verify(prediction_id)
            contract = None
            if "actual" in item.outcomes:
                contract = contracts.get(fact.version_ordinal) or self._contract_of_reference()
            return prediction_id, [
                Outcome(
                    prediction_id,
                    kind,
                    item.value(kind, contract, fact),
                    fact,
                    item=number,
                    corrected_by=item.corrected_by,
                    classes=contract.classes if contract is not None and kind == "actual" else (),
                )
                for kind in item.outcomes
            ]
        except (InvalidRequest, UnknownPrediction) as error:
            return error

    def _contracts(self) -> dict[int, FeatureContract]:
        """The contracts of the known versions by their numbers; a loaded version goes before a retired one."""
        models = self._live.loaded_models
        known: tuple[LoadedVersion | RetiredVersion, ...] = (*models.retired.values(), *models.versions.values())
        return {version.ordinal: version.contract for version in known}

    def _contract_of_reference(self) -> FeatureContract:
        """The contract for labels of a version that is gone. Raises `NotReady` while no version is loaded.

        Loaded versions of one service predict the same target, so the reference's classes are the right ones.
        """
        models = self._live.loaded_models
        if models.reference is None:
            raise self._live.not_ready()
        return models.versions[models.reference].contract


def _committed(
    log: OutcomeLog, calls: Sequence[Sequence[Sequence[Outcome]]], *, archive: bool
) -> list[list[Receipt | BakeoffError]]:
    """The results of each call's submissions, all of them in one transaction."""
    results = iter(log.commit([submission for call in calls for submission in call], archive=archive))
    return [list(islice(results, len(call))) for call in calls]


def _refusal(error: BakeoffError, prediction_id: str | UnsetType = UNSET) -> ItemReceipt:
    status: ItemStatus = "invalid"
    if isinstance(error, UnknownPrediction):
        status = "unknown"
    elif isinstance(error, Contradiction):
        status = "contradicts"
    elif isinstance(error, Unavailable):
        status = "unavailable"
    return ItemReceipt(status, prediction_id, error.message, UNSET if error.field is None else error.field)
