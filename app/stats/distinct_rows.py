"""How many different rows the wins and losses of a comparison come from, in bounded memory.

Thirteen losses on two rows that are sent again and again are two cases, not thirteen, where a repeated row is a
repeated case. Up to 256 different rows are counted exactly. Beyond, the 256 rows with the least hashes are kept with
their votes, which is a random sample of the rows, and gives an estimate of their number. A row that is kept was kept
since it first came, so its votes are complete, and the state does not depend on the order of the votes.

Source: k minimum values, Bar-Yossef et al. (2002), Counting distinct elements in a data stream; the estimate is
(k − 1)/u, u the k-th least hash as a share of all hashes, with a relative standard error of about 1/√(k − 2) = 6 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

_KEPT = 256
_ALL_HASHES = 2**64
_LEAST_VOTES, _PER_ROW = 5, 4
# Where all is sent twice, as by clients that ask again, many votes show it although no row has many.
_MANY_VOTES, _TWICE = 20, 1.5


class DistinctRows(msgspec.Struct, frozen=True):
    """The votes of each row that is kept, as (wins, losses) by its scrambled hash; at most 10 kB of JSON.

    `wins` and `losses` are those of all rows. `sampled`: there were more rows than are kept.
    """

    votes: Mapping[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    wins: int = 0
    losses: int = 0
    sampled: bool = False

    def add(self, row: int, gain: float) -> DistinctRows:
        """The rows after a vote of the row with the 64-bit hash `row`: a win above 0, a loss below, else neither."""
        return self._with([scrambled(row)], [gain])

    def add_all(self, votes: Iterable[tuple[int, float]]) -> DistinctRows:
        """The rows after votes, as `add` takes them, in order."""
        rows, gains = [*zip(*votes, strict=True)] or ((), ())
        return self._with(_all_scrambled(rows), gains)

    def _with(self, keys: Sequence[int], gains: Sequence[float]) -> DistinctRows:
        """The rows after votes, given by their scrambled hashes."""
        kept, sampled, all_wins, all_losses = {**self.votes}, self.sampled, self.wins, self.losses
        last = max(kept, default=0)
        for key, gain in zip(keys, gains, strict=True):
            win, loss = int(gain > 0), int(gain < 0)
            all_wins, all_losses = all_wins + win, all_losses + loss
            if key in kept or len(kept) < _KEPT:
                wins, losses = kept.get(key, (0, 0))
                kept[key] = (wins + win, losses + loss)
                last = max(last, key)
                continue
            sampled = True
            if key < last:
                kept[key] = (win, loss)
                del kept[last]
                last = max(kept)
        return DistinctRows(kept, all_wins, all_losses, sampled)

    @property
    def count(self) -> int:
        """The number of different rows: exact up to 256, else an estimate, and never more than wins and losses."""
        if not self.sampled:
            return len(self.votes)
        estimate = round((_KEPT - 1) * _ALL_HASHES / (max(self.votes) + 1))
        return max(_KEPT + 1, min(estimate, self.wins + self.losses))

    def few(self, side: int) -> tuple[int, int] | None:
        """(votes, rows) of the wins (`side` 1) or losses (−1) where their rows are few; else None.

        Few: at least 5 votes, from at most a quarter as many rows, or 20 from two thirds. Beyond 256 rows the number of
        rows is an estimate.
        """
        place, votes = (0, self.wins) if side > 0 else (1, self.losses)
        held = sum(1 for each in self.votes.values() if each[place])
        rows = round(held * self.count / _KEPT) if self.sampled else held
        # No row of this side in the sample: nothing is known of their number.
        are_few = votes >= max(_LEAST_VOTES, _PER_ROW * rows) or votes >= max(_MANY_VOTES, _TWICE * rows)
        return (votes, rows) if rows and are_few else None


def scrambled(row: int) -> int:
    """The hash with its bits mixed, one to one, so that any 64-bit numbers serve as hashes; the mixer of splitmix64."""
    mixed = row % _ALL_HASHES
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % _ALL_HASHES
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % _ALL_HASHES
    return mixed ^ mixed >> 31


def _all_scrambled(rows: Sequence[int]) -> list[int]:
    """The `scrambled` of each of the rows: what a product has beyond 64 bits is dropped, as it shall be."""
    mixed = np.array([row % _ALL_HASHES for row in rows], np.uint64)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    found: list[int] = (mixed ^ mixed >> np.uint64(31)).tolist()
    return found
