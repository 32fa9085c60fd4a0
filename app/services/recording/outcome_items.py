"""The items of `POST /feedback`: what each of them says, before anything is looked up."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.contract import FeatureContract
from app.domain.outcome import OutcomeKind, label_in_text, label_of, number_in_text, reward_of
from app.domain.prediction import LONGEST_KEY, is_own_key
from app.domain.prediction_id import ServedFact
from app.errors import BakeoffError, InvalidRequest, StoreUnavailable, UnknownPrediction
from app.services.ports import KEY_DAYS

_KEYS = frozenset(("prediction_id", "id", "actual", "reward", "correct"))
_KINDS: tuple[OutcomeKind, ...] = ("actual", "reward")
_LONG_TEXT = 60
MUST_BE_BOOLEAN = "must be true or false"


class Correcting(msgspec.Struct, frozen=True):
    """Whether a call may replace outcomes, and which of its items do.

    `actor` is the administrator who makes the call, None for anybody else. `all`: every item replaces what is recorded
    that does not say `"correct": false`, as an item does that has `"correct": true`.
    """

    actor: str | None = None
    all: bool = False


NOT_CORRECTING = Correcting()


class OutcomeItem(msgspec.Struct, frozen=True):
    """One item: the prediction, named by its id or by the caller's own key, and its label or reward or both.

    `from_file`: label and reward are cells of a file, texts whose meaning the model's classes decide. `corrected_by`:
    who replaces what is recorded, None where it may not be replaced.
    """

    prediction_id: str | None
    key: str | None
    outcomes: dict[OutcomeKind, Any]
    from_file: bool = False
    corrected_by: str | None = None

    def value(self, kind: OutcomeKind, contract: FeatureContract | None, fact: ServedFact) -> int | float:
        """The canonical value of one of `outcomes`; only a label needs the contract. Raises `InvalidRequest`."""
        given = self.outcomes[kind]
        if kind == "actual" and fact.reported:
            what = "this id is of an exposure, which has no answer that a label could score"
            raise InvalidRequest(f"{what}: give its outcome as reward (a number)", field="actual")
        if kind == "reward" or contract is None:
            return number_in_text(given, "reward") if self.from_file else reward_of(given)
        return label_in_text(given, contract) if self.from_file else label_of(given, contract)

    def not_found(self) -> UnknownPrediction:
        """The refusal of an item whose key no prediction has."""
        return UnknownPrediction(
            f"no prediction of the last {KEY_DAYS} days has the id {(self.key or '')[:_LONG_TEXT]!r}", field="id"
        )


def item_of(given: Any, from_file: bool = False, correcting: Correcting = NOT_CORRECTING) -> OutcomeItem | BakeoffError:
    """The item, or why it is none; what was refused already stays refused."""
    if isinstance(given, BakeoffError):
        return given
    if type(given) is not dict:
        return InvalidRequest('an outcome is an object such as {"prediction_id": "…", "actual": "…"}', field="feedback")
    # Of thousands of items in a call nearly every one has an id and an outcome, and nothing else.
    is_plain = len(given) == 2 and type(given.get("prediction_id")) is str and ("actual" in given or "reward" in given)
    if not is_plain:
        refused = _unknown_key(given) or _prediction_named(given) or _outcome_given(given) or _correction_said(given)
        if refused is not None:
            return refused
    outcomes: dict[OutcomeKind, Any] = {kind: given[kind] for kind in _KINDS if kind in given}
    corrects = given.get("correct", correcting.all)
    return OutcomeItem(
        given.get("prediction_id"), given.get("id"), outcomes, from_file, correcting.actor if corrects else None
    )


def on_the_way(key: str) -> StoreUnavailable:
    """The refusal of a call while the log is behind: 404 would be taken as final, and the label would be lost."""
    return StoreUnavailable(
        f"the log is behind, so the prediction with the id {key[:_LONG_TEXT]!r} may be on its way; nothing of this "
        "request is accepted: send it again"
    )


def _unknown_key(given: dict[str, Any]) -> InvalidRequest | None:
    if given.keys() <= _KEYS:
        return None
    unknown = next(key for key in given if key not in _KEYS)
    shown = unknown[:_LONG_TEXT]
    return InvalidRequest(f"unknown key {shown!r}; known keys: {', '.join(sorted(_KEYS))}", field=shown)


def _prediction_named(given: dict[str, Any]) -> InvalidRequest | None:
    prediction_id, key = given.get("prediction_id"), given.get("id")
    if "id" in given and "prediction_id" in given:
        return InvalidRequest("give prediction_id or id (your own key), not both", field="id")
    if type(prediction_id) is not str and type(key) is not str:
        field = "id" if "id" in given else "prediction_id"
        what = "must be a string" if field in given else "is missing"
        return InvalidRequest(
            f"{field} {what}: give prediction_id, the id of the prediction, or id, your own key for it", field=field
        )
    if key is not None and not is_own_key(key):
        return InvalidRequest(f"id must be a string of 1 to {LONGEST_KEY} printable characters", field="id")
    return None


def _outcome_given(given: dict[str, Any]) -> InvalidRequest | None:
    if "actual" in given or "reward" in given:
        return None
    return InvalidRequest("give actual (the true label) or reward (a number)", field="actual")


def _correction_said(given: dict[str, Any]) -> InvalidRequest | None:
    if type(given.get("correct", False)) is bool:
        return None
    return InvalidRequest(f"correct {MUST_BE_BOOLEAN}", field="correct")
