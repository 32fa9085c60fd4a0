"""The units of a page's plain events as columns."""

from __future__ import annotations

from itertools import repeat

import numpy as np

from app.domain.monitor_state import UnitFact, UnitPair
from app.monitor.experiment.units import NEW, UnitLedger

# Where there is no seq of a prediction.
_NO_ROW = -1


class UnitColumns:
    """The units of plain events as columns: what a ledger knows of them, with claims and votes of many rows at once.

    `units` ascend. A unit's number is the place among them; −1 is that of a request that is its own unit. The events
    of these units are all plain, so that nobody else changes what is known of them meanwhile.
    """

    def __init__(self, units: np.ndarray, ledger: UnitLedger, pairs: int) -> None:
        self._units, self._ledger, self._pairs = units, ledger, pairs
        self._facts = [*map(ledger.fact, units.tolist())]
        self._bad = [fact.bad for fact in self._facts]
        self._seqs = {name: np.full((pairs, len(units)), _NO_ROW) for name in ("first", "differs", "vote")}
        self._flags = {name: np.zeros((pairs, len(units)), bool) for name in ("voted", "late")}
        self._changed = np.zeros(len(units), bool)
        for pair in range(pairs):
            known = [number for number, fact in enumerate(self._facts) if pair < len(fact.pairs)]
            parts = [self._facts[number].pairs[pair] for number in known]
            for name, seqs in self._seqs.items():
                found = [getattr(part, name) for part in parts]
                seqs[pair, known] = [_NO_ROW if seq is None else seq for seq in found]
            for name, flags in self._flags.items():
                flags[pair, known] = [getattr(part, name) for part in parts]

    def numbers_of(self, units: np.ndarray) -> np.ndarray:
        """The number of each of these units, −1 where it is 0."""
        return np.where(units != 0, np.searchsorted(self._units, units), -1)

    def first_named(self, users: np.ndarray, bit: int) -> np.ndarray:
        """Which rows, in order, are the first for which their user (a unit) contributes the event number `bit`."""
        of, found = self.numbers_of(users), np.zeros(len(users), bool)
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
            first = np.full(len(self._units), len(of))
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
            while last and pairs[last - 1] == NEW:
                last -= 1
            fact = self._facts[number]
            self._ledger.put(UnitFact(unit=fact.unit, pairs=pairs[:last], bad=self._bad[number], counted=fact.counted))

    def _parts(self, pair: int, numbers: np.ndarray) -> list[UnitPair]:
        """The parts of the units with these numbers in a pair."""
        voted, late = (self._flags[name][pair, numbers].tolist() for name in ("voted", "late"))
        first, differs, vote = (
            [None if seq == _NO_ROW else seq for seq in self._seqs[name][pair, numbers].tolist()]
            for name in ("first", "differs", "vote")
        )
        return [*map(UnitPair, first, differs, voted, vote, late)]
