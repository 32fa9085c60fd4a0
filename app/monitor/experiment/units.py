"""Units: whose first outcome votes, and what is known of each of them.

A user who comes again, a case that is sent again, and a row that can only be the same case again would otherwise vote
many times, and every error rate counts votes as independent. Only units that can come again are remembered: a request
that is its own unit needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import repeat

import msgspec
import numpy as np

from app.domain.log_columns import Block
from app.domain.log_event import PredictionRow
from app.domain.monitor_state import UnitFact, UnitPair
from app.domain.outcome import OutcomeKind
from app.monitor.experiment.state import ExperimentPlan

_NEW = UnitPair()
# In columns, where there is no seq of a prediction.
_NO_ROW = -1


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
    if not row.is_reported and (wanted == "row" or (wanted == "auto" and plan.cases.rows_are_cases)):
        return "row", (row_hash(row), *key)
    return "request", key


def unit_of_user(plan: ExperimentPlan) -> str:
    """The kind of the unit of a named user's request without an own key, unless that is its row."""
    return "user" if plan.terms.unit in ("auto", "user") else "request"


def user_identity(row: PredictionRow) -> int:
    """The unit that stands for a row's user."""
    return user_unit(row.user_hash)


def user_unit(user_hash: int) -> int:
    """The unit that stands for the user with this hash."""
    return _hash(b"u", user_hash.to_bytes(8, "big"))


def user_units(users: np.ndarray) -> list[int]:
    """The units that stand for users with these hashes."""
    units: list[int] = _hashes(b"u", (each.to_bytes(8, "big") for each in users.tolist())).tolist()
    return units


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
    return np.frombuffer(b"".join(found), ">i8")


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
        return pairs[pair] if pair < len(pairs) else _NEW

    def _put(self, unit: int, pair: int, part: UnitPair) -> None:
        fact = self.fact(unit)
        pairs = [*fact.pairs, *(_NEW for _ in range(pair + 1 - len(fact.pairs)))]
        pairs[pair] = part
        self.changed[unit] = msgspec.structs.replace(fact, pairs=tuple(pairs))


class UnitColumns:
    """The users of plain events as columns: what a ledger knows of them, with claims and votes of many rows at once.

    `users` are their hashes, ascending, and `units` the units that stand for them. A user's number is the place among
    them; −1 is that of a row that is its own unit. The events of these users are all plain, so that nobody else changes
    what is known of them meanwhile.
    """

    def __init__(
        self, users: np.ndarray, units: Sequence[int], ledger: UnitLedger, pairs: int, *, units_are_users: bool
    ) -> None:
        self._users, self._ledger, self._pairs, self._units_are_users = users, ledger, pairs, units_are_users
        self._facts = [*map(ledger.fact, units)]
        self._bad = [fact.bad for fact in self._facts]
        self._seqs = {name: np.full((pairs, len(users)), _NO_ROW) for name in ("first", "differs", "vote")}
        self._flags = {name: np.zeros((pairs, len(users)), bool) for name in ("voted", "late")}
        self._changed = np.zeros(len(users), bool)
        for pair in range(pairs):
            known = [number for number, fact in enumerate(self._facts) if pair < len(fact.pairs)]
            parts = [self._facts[number].pairs[pair] for number in known]
            for name, seqs in self._seqs.items():
                found = [getattr(part, name) for part in parts]
                seqs[pair, known] = [_NO_ROW if seq is None else seq for seq in found]
            for name, flags in self._flags.items():
                flags[pair, known] = [getattr(part, name) for part in parts]

    def units_of(self, users: np.ndarray) -> np.ndarray:
        """The number of the unit of each row by its user's hash (0: nobody's); −1 for all where users are no units."""
        return self._numbers(users) if self._units_are_users else np.full(len(users), -1)

    def first_named(self, users: np.ndarray, bit: int) -> np.ndarray:
        """Which rows, in order, are the first for which their user contributes the event number `bit`."""
        of, found = self._numbers(users), np.zeros(len(users), bool)
        numbers, at = np.unique(of, return_index=True)
        for number, place in zip(numbers.tolist(), at.tolist(), strict=True):
            if number >= 0 and not self._bad[number] >> bit & 1:
                found[place] = self._changed[number] = True
                self._bad[number] |= 1 << bit
        return found

    def claim(self, pair: int, field: str, of: np.ndarray, seqs: np.ndarray) -> np.ndarray:
        """Which rows, in order, are the first of their unit for `field`, `first` or `differs`; remembers their seqs."""
        known, found = self._seqs[field][pair], of < 0
        own = np.flatnonzero(~found)
        own = own[known[of[own]] == _NO_ROW]
        numbers, at = np.unique(of[own], return_index=True)
        found[own[at]] = True
        known[numbers] = seqs[own[at]]
        self._changed[numbers] = True
        return found

    def claimed(self, pair: int, field: str, of: np.ndarray, seqs: np.ndarray) -> np.ndarray:
        """Which rows have claimed this of their unit."""
        found, own = of < 0, np.flatnonzero(of >= 0)
        found[own] = self._seqs[field][pair][of[own]] == seqs[own]
        return found

    def vote(self, of: np.ndarray, seqs: np.ndarray, entering: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which labels, in order, are votes in each pair; and for which the unit has voted in any before, shape (n,).

        `entering`, shape (pairs, n): those that are votes unless their unit has voted.
        """
        before, named = np.zeros_like(entering), np.flatnonzero(of >= 0)
        for pair, own in enumerate(entering):
            own = np.flatnonzero(own & (of >= 0))
            numbers, at = np.unique(of[own], return_index=True)
            first = np.full(len(self._users), len(of))
            first[numbers] = own[at]
            before[pair, named] = self._flags["voted"][pair][of[named]] | (named > first[of[named]])
        votes, late = entering & ~before, np.logical_or.reduce(before, axis=0)
        for pair, own in enumerate(votes):
            own = np.flatnonzero(own & (of >= 0))
            numbers, seq = of[own], seqs[own]
            self._flags["voted"][pair, numbers], self._flags["late"][pair, numbers] = True, late[own]
            is_first = seq == self._seqs["first"][pair, numbers]
            self._seqs["vote"][pair, numbers] = np.where(is_first, _NO_ROW, seq)
            self._changed[numbers] = True
        return votes, late

    def remember(self) -> None:
        """Put what has changed into the ledger."""
        changed = np.flatnonzero(self._changed)
        parts = zip(*(self._parts(pair, changed) for pair in range(self._pairs)), strict=True)
        for number, pairs in zip(changed.tolist(), parts if self._pairs else repeat(()), strict=False):
            last = len(pairs)
            while last and pairs[last - 1] == _NEW:
                last -= 1
            fact = self._facts[number]
            self._ledger.put(UnitFact(unit=fact.unit, pairs=pairs[:last], bad=self._bad[number], counted=fact.counted))

    def _numbers(self, users: np.ndarray) -> np.ndarray:
        return np.where(users != 0, np.searchsorted(self._users, users), -1)

    def _parts(self, pair: int, numbers: np.ndarray) -> list[UnitPair]:
        """The parts of the units with these numbers in a pair."""
        voted, late = (self._flags[name][pair, numbers].tolist() for name in ("voted", "late"))
        first, differs, vote = (
            [None if seq == _NO_ROW else seq for seq in self._seqs[name][pair, numbers].tolist()]
            for name in ("first", "differs", "vote")
        )
        return [*map(UnitPair, first, differs, voted, vote, late)]
