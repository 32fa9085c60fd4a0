"""Units: whose first outcome votes, and what is known of each of them.

A user who comes again, a case that is sent again, and a row that can only be the same case again would otherwise vote
many times, and every error rate counts votes as independent. Only units that can come again are remembered: a request
that is its own unit needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b

import msgspec
import numpy as np

from app.domain.log_columns import Block
from app.domain.log_event import PredictionRow
from app.domain.monitor_state import UnitFact, UnitPair
from app.domain.outcome import OutcomeKind
from app.monitor.experiment.state import ExperimentPlan

NEW = UnitPair()


def identities(plan: ExperimentPlan, row: PredictionRow) -> tuple[str, tuple[int, ...]]:
    """The kind of a row's unit, and the hashes that stand for it: none for a request that is its own unit.

    A repeated own key is always the same case, so it is an identity beside the unit.
    """
    wanted = plan.terms.unit
    if wanted is None:
        return "request", ()
    key = key_identity(row)
    if row.user_hash and unit_of_user(plan) == "user":
        return "user", (user_identity(row), *key)
    if key and wanted in ("auto", "key"):
        return "key", key
    # A reported exposure has no features, so that all of them would be one row.
    if not row.is_reported and rows_are_units(plan):
        return "row", (row_hash(row), *key)
    return "request", key


def unit_of_user(plan: ExperimentPlan) -> str:
    """The kind of the unit of a named user's request without an own key."""
    return "user" if plan.terms.unit in ("auto", "user") else unit_of_nobody(plan)


def unit_of_nobody(plan: ExperimentPlan) -> str:
    """The kind of the unit of a request without a user and without an own key."""
    return "row" if rows_are_units(plan) else "request"


def rows_are_units(plan: ExperimentPlan) -> bool:
    """Whether a row that comes again, without user and key, is one unit."""
    wanted = plan.terms.unit
    return wanted == "row" or (wanted == "auto" and plan.cases.rows_are_cases)


def user_identity(row: PredictionRow) -> int:
    """The unit that stands for a row's user."""
    return user_unit(row.user_hash)


def user_unit(user_hash: int) -> int:
    """The unit that stands for the user with this hash."""
    return _hash(b"u", user_hash.to_bytes(8, "big"))


def user_units(block: Block, at: np.ndarray) -> np.ndarray:
    """The units that stand for the users of those rows of a block, 0 for nobody; shape of `at`."""
    if "user_units" not in block.made:
        users, of = np.unique(block.users, return_inverse=True)
        units = _hashes(b"u", (each.to_bytes(8, "big") for each in users.tolist()))
        block.made["user_units"] = np.where(users != 0, units, 0)[of]
    found: np.ndarray = block.made["user_units"][at]
    return found


def units_of(plan: ExperimentPlan, block: Block, at: np.ndarray) -> np.ndarray:
    """The units of those rows of a block, none of which has an own key; 0 for a request that is its own unit."""
    found = user_units(block, at) if unit_of_user(plan) == "user" else np.zeros(len(at), np.int64)
    if rows_are_units(plan):
        others = np.flatnonzero(found == 0)
        found[others] = row_hashes(block, at[others])
    return found


def key_identity(row: PredictionRow) -> tuple[int, ...]:
    """The unit that stands for a row's own key; none where it has no key."""
    return () if row.own_key is None else (_hash(b"k", row.own_key.encode("utf-8", "surrogatepass")),)


def outcome_identity(prediction_id: str, kind: OutcomeKind) -> int:
    """What stands among the units for an outcome that was corrected."""
    return _hash(b"o", f"{kind} {prediction_id}".encode())


def row_hash(row: PredictionRow) -> int:
    """The unit that stands for all rows with its features, as they are logged."""
    return _hash(b"r", row.features.encode())


def row_hashes(block: Block, at: np.ndarray) -> np.ndarray:
    """The `row_hash` of those rows of a block; shape of `at`. Each is computed once."""
    if "row_hashes" not in block.made:
        block.made["row_hashes"] = np.zeros(len(block.seqs), np.int64), np.zeros(len(block.seqs), bool)
    hashes, known = block.made["row_hashes"]
    new = at[~known[at]]
    if new.size:
        hashes[new], known[new] = _hashes(b"r", block.features_of(new)), True
    found: np.ndarray = hashes[at]
    return found


def _hash(kind: bytes, value: bytes) -> int:
    # 64 bits: of 10⁸ units, two share a hash with probability .0003.
    found = _begun(kind).copy()
    found.update(value)
    return int.from_bytes(found.digest(), "big", signed=True)


def _hashes(kind: bytes, values: Iterable[bytes]) -> np.ndarray:
    begun, found = _begun(kind), list[bytes]()
    for value in values:
        one = begun.copy()
        one.update(value)
        found.append(one.digest())
    return np.frombuffer(b"".join(found), ">i8").astype(np.int64)


@cache
def _begun(kind: bytes) -> blake2b:
    """The hash of nothing: to copy it takes half of the time that a new one takes."""
    return blake2b(person=kind, digest_size=8)


class UnitLedger:
    """What is known of the units of a batch of events; `changed` is to be written."""

    def __init__(self, known: Mapping[int, UnitFact]) -> None:
        self._known = known
        self.changed: dict[int, UnitFact] = {}

    def is_first(self, ids: Sequence[int], pair: int, seq: int) -> bool:
        """Whether the prediction `seq` is the first row of its unit that both versions of the pair were asked."""
        return self._claim(ids, pair, "first", seq)

    def is_first_to_differ(self, ids: Sequence[int], pair: int, seq: int) -> bool:
        """Whether it is the first row of its unit on which the two differ."""
        return self._claim(ids, pair, "differs", seq)

    def was_first(self, ids: Sequence[int], pair: int, seq: int) -> bool:
        """Whether it was the first row, asked again once its outcome is known."""
        return not ids or self._part(ids[0], pair).first == seq

    def was_first_to_differ(self, ids: Sequence[int], pair: int, seq: int) -> bool:
        """Whether it was the first row on which the two differ, asked again once its outcome is known."""
        return not ids or self._part(ids[0], pair).differs == seq

    def has_voted(self, ids: Sequence[int], pair: int) -> bool:
        """Whether the unit has voted, under any of its identities."""
        return any(self._part(unit, pair).voted for unit in ids)

    def vote(self, ids: Sequence[int], pair: int, seq: int | None = None, *, late: bool = False) -> None:
        """Remember that the unit has voted: by the label of the row `seq`; `late` where its baseline has before."""
        for unit in ids:
            part = self._part(unit, pair)
            other = None if seq == part.first else seq
            self._put(unit, pair, msgspec.structs.replace(part, voted=True, vote=other, late=late))

    def voted_with(self, ids: Sequence[int], pair: int, seq: int) -> tuple[bool, bool]:
        """Whether the label of the row `seq` is the unit's vote: the challenger's, and the baseline's too."""
        part = self._part(ids[0], pair) if ids else None
        if part is None:
            return True, True  # a request that is its own unit
        return part.voted_row == seq, part.voted_row == seq and not part.late

    def counted(self, outcome: int, value: float) -> float:
        """The value that evidence counts of a corrected outcome: `value`, unless another is remembered."""
        fact = self.fact(outcome)
        if fact.counted is None:
            self.changed[outcome] = msgspec.structs.replace(fact, counted=value)
            return value
        return fact.counted

    def is_first_of_kind(self, unit: int, bit: int) -> bool:
        """Whether the unit contributes the bad event number `bit` for the first time; remembers that it has."""
        fact = self.fact(unit)
        if fact.bad >> bit & 1:
            return False
        self.changed[unit] = msgspec.structs.replace(fact, bad=fact.bad | 1 << bit)
        return True

    def put(self, fact: UnitFact) -> None:
        """Replace what is known of a unit."""
        self.changed[fact.unit] = fact

    def _claim(self, ids: Sequence[int], pair: int, field: str, seq: int) -> bool:
        if any(getattr(self._part(unit, pair), field) is not None for unit in ids):
            return False
        for unit in ids:
            self._put(unit, pair, msgspec.structs.replace(self._part(unit, pair), **{field: seq}))
        return True

    def fact(self, unit: int) -> UnitFact:
        """What is known of a unit."""
        return self.changed.get(unit) or self._known.get(unit) or UnitFact(unit=unit)

    def _part(self, unit: int, pair: int) -> UnitPair:
        pairs = self.fact(unit).pairs
        return pairs[pair] if pair < len(pairs) else NEW

    def _put(self, unit: int, pair: int, part: UnitPair) -> None:
        fact = self.fact(unit)
        pairs = [*fact.pairs, *(NEW for _ in range(pair + 1 - len(fact.pairs)))]
        pairs[pair] = part
        self.changed[unit] = msgspec.structs.replace(fact, pairs=tuple(pairs))
