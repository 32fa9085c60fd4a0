"""Simulate a log of one partition for each writer, and show that the evidence is a property of the log alone.

    python bench/partitions.py [--runs 200] [--writers 4] [--commits 300]

Nothing of this is built: docs/scaling.md says when it would be. Writers commit to partitions of their own and do not
wait for each other; a transaction may stay open while others commit. Each stamps its rows with the tick that it read
after taking its partition's lock, so ticks never fall within a partition. A label lies in its prediction's partition.

A reader has a cursor for each partition. What is a sum (requests, labels) it takes at once. What depends on order (the
first vote of a unit, bets, the strongest evidence) waits until every partition has reached a later tick, and is then
taken by (tick, partition, seq). Compared, byte for byte: two readers that read different pages at different times and
restart in between; a replay afterwards; and, as the control, two readers that take rows as they find them.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import NamedTuple

import msgspec
import numpy as np
from servers import ROOT

sys.path.insert(0, str(ROOT))

from app.stats import paired, two_sample
from app.stats.paired import PairedSummary
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes, TwoSampleState

_STEPS_PER_TICK = 7
_UNITS = 400
_LABELLED = 0.6
_ACCURACY = (0.7, 0.76)  # of the baseline, of the challenger


class Row(NamedTuple):
    """A prediction, or (`right` set) a label of the prediction `of` in the same partition."""

    tick: int
    partition: int
    seq: int
    unit: int
    of: int = 0
    right: tuple[bool, bool] | None = None

    @property
    def place(self) -> tuple[int, int, int]:
        """Its position in the one order of all partitions."""
        return self.tick, self.partition, self.seq


class Writer:
    """One partition: its committed rows, and the transaction that is open, of which nobody sees anything."""

    def __init__(self, partition: int, chance: random.Random) -> None:
        self._partition, self._chance = partition, chance
        self.rows: list[Row] = []
        self._unlabelled: list[Row] = []
        self._open: list[Row] | None = None

    def step(self, tick: int) -> bool:
        """Begin a transaction, or commit the open one; whether it committed."""
        if self._open is None:
            self._open = self._batch(tick)
            return False
        self.rows += self._open
        self._open = None
        return True

    def _batch(self, tick: int) -> list[Row]:
        batch = []
        for _ in range(self._chance.randint(1, 20)):
            row = Row(tick, self._partition, len(self.rows) + len(batch), self._chance.randrange(_UNITS))
            batch.append(row)
            self._unlabelled.append(row)
        self._chance.shuffle(self._unlabelled)
        for _ in range(self._chance.randint(0, len(self._unlabelled))):
            made = self._unlabelled.pop()
            if self._chance.random() < _LABELLED:
                right = self._chance.random() < _ACCURACY[0], self._chance.random() < _ACCURACY[1]
                batch.append(Row(tick, self._partition, len(self.rows) + len(batch), made.unit, made.seq, right))
        return batch


class Sums(msgspec.Struct):
    """The additive part: one for each partition, and the whole is their sum."""

    requests: int = 0
    labels: int = 0


class State(msgspec.Struct):
    """All that a reader keeps, and what it would write with its cursors in one transaction."""

    cursors: list[int]
    sums: list[Sums]
    waiting: list[tuple[int, int, int, int, bool, bool]]
    voted: set[int]
    summary: PairedSummary
    strongest: Strongest
    rewards: TwoSampleState


class Evidence(NamedTuple):
    """What a reader publishes."""

    sums: Sums
    summary: PairedSummary
    strongest: Strongest
    rewards: TwoSampleState


def empty(partitions: int) -> State:
    """The state before the first row."""
    sums = [Sums() for _ in range(partitions)]
    return State([0] * partitions, sums, [], set(), PairedSummary(), Strongest(), two_sample.initial())


def read(state: State, writer: Writer, partition: int, limit: int) -> None:
    """Take the next rows of a partition: the sums at once, the rest when its turn comes."""
    start = state.cursors[partition]
    page, sums = writer.rows[start : start + limit], state.sums[partition]
    for row in page:
        if row.right is None:
            sums.requests += 1
        else:
            sums.labels += 1
            state.waiting.append((*row.place, row.unit, *row.right))
    state.cursors[partition] = start + len(page)


def settle(state: State, until: int | None, *, in_order: bool) -> None:
    """Take what waits: with `in_order` the rows below the tick `until` (None: all) by their places."""
    waiting = sorted(state.waiting) if in_order else state.waiting
    due = [each for each in waiting if not in_order or until is None or each[0] < until]
    state.waiting = waiting[len(due) :]
    gains, arms, values = [], [], []
    for *_, unit, baseline, challenger in due:
        if unit in state.voted:
            continue
        state.voted.add(unit)
        gains.append(challenger - baseline)
        served = unit % 2 == 1  # sticky: the unit's own, whoever answers
        arms.append(served)
        values.append(float(challenger if served else baseline))
    if not gains:
        return
    state.summary, state.strongest = paired.follow(state.summary, state.strongest, np.array(gains, np.int64))
    outcomes = Outcomes(np.array(arms, bool), np.array(values), np.full(len(arms), 0.5), np.ones(len(arms), bool))
    state.rewards = two_sample.update(state.rewards, outcomes)


def floor_of(state: State, writers: list[Writer]) -> int:
    """The tick below which nothing can come any more, by what this reader has read.

    The next transaction of a partition begins after its last commit. For one that is idle, an empty commit would do.
    """
    seen = [writer.rows[: state.cursors[place]] for place, writer in enumerate(writers)]
    return min(rows[-1].tick if rows else 0 for rows in seen)


class Reader:
    """Reads pages of any size at any time, and is killed between them now and then."""

    def __init__(self, writers: list[Writer], seed: int, *, in_order: bool = True) -> None:
        self._writers, self._chance, self._in_order = writers, random.Random(seed), in_order
        self._state = empty(len(writers))

    def step(self) -> None:
        """Read a page of one partition, and take what its turn has come for."""
        partition = self._chance.randrange(len(self._writers))
        read(self._state, self._writers[partition], partition, self._chance.randint(1, 60))
        settle(self._state, floor_of(self._state, self._writers), in_order=self._in_order)
        if self._chance.random() < 0.05:
            self._state = msgspec.json.decode(msgspec.json.encode(self._state), type=State)

    def finish(self) -> bytes:
        """Read the rest in random order, and give the evidence as bytes."""
        while any(len(writer.rows) > at for writer, at in zip(self._writers, self._state.cursors, strict=True)):
            self.step()
        settle(self._state, None, in_order=self._in_order)
        return self._published()

    def _published(self) -> bytes:
        state = self._state
        sums = Sums(sum(each.requests for each in state.sums), sum(each.labels for each in state.sums))
        return msgspec.json.encode(Evidence(sums, state.summary, state.strongest, state.rewards))


def run(seed: int, writers: int, commits: int) -> tuple[bool, bool, bool]:
    """Whether the two readers agree, whether the replay agrees with them, and whether the control's readers agree."""
    chance = random.Random(seed)
    partitions = [Writer(number, random.Random(f"{seed} {number}")) for number in range(writers)]
    one, two = Reader(partitions, seed + 1), Reader(partitions, seed + 2)
    found_one, found_two = (Reader(partitions, seed + more, in_order=False) for more in (1, 2))
    committed = steps = 0
    while committed < commits:
        steps += 1
        # Some writers are far slower than others.
        committed += partitions[int(writers * chance.random() ** 2)].step(steps // _STEPS_PER_TICK)
        for reader in (one, two, found_one, found_two):
            if chance.random() < 0.5:
                reader.step()
    first, second, replayed = one.finish(), two.finish(), Reader(partitions, seed + 3).finish()
    return first == second, first == replayed, found_one.finish() == found_two.finish()


def main() -> int:
    """Run the simulations and print the table; exit status 1 if any reader of the ordered log differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--commits", type=int, default=300)
    args = parser.parse_args()
    results = [run(10 * seed, args.writers, args.commits) for seed in range(args.runs)]
    same, replayed, control = (sum(each) for each in zip(*results, strict=True))
    print(f"| {args.writers} writers, {args.commits} commits, {args.runs} runs | equal to the last bit |")
    print("|---|---|")
    print(f"| two readers, by (tick, partition, seq) | {same} |")
    print(f"| reader and replay | {replayed} |")
    print(f"| control: two readers, rows as they are found | {control} |")
    return 0 if same == replayed == args.runs else 1


if __name__ == "__main__":
    sys.exit(main())
