"""Drift where callers differ, come again, send sorted batches or retry: false alarms, and delays.

    python bench/drift_callers.py --seed 1 [--replications 400] [--only TEXT]

Rows of four features; 500 reference rows, drawn as the traffic is, so that callers are in both in the same shares. For
unchanged traffic, the share of runs of 10,000 requests with any alarm, and its 95 % Clopper–Pearson limit. For changes,
after 4,000 unchanged requests, the median of requests until the alarm (looked at every 10), and the runs without one
within 4,000.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.contract import Feature, FeatureContract
from app.drift.callers import Callers, callers_of_rows
from app.drift.reference import DriftReference, build_reference
from app.drift.watch import start, update
from bench.drift import upper_limit

FEATURES: Final = 4
REFERENCE_ROWS: Final = 500
CLEAN: Final = 10_000
CHANGES_AT: Final = 4_000
CONTRACT = FeatureContract(
    task="classification",
    target="target",
    features=tuple(
        Feature(name=f"x{each}", kind="numeric", minimum=-9.0, maximum=9.0, median=0.0) for each in range(FEATURES)
    ),
    classes=("a", "b"),
)
# A run: the reference, the rows and who sent them.
Run = tuple[DriftReference, np.ndarray, Callers]


def rows_of(chance: np.random.Generator, callers: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Normal rows, the first feature with the caller's mean."""
    rows = chance.normal(size=(len(callers), FEATURES))
    rows[:, 0] += means[callers]
    return rows


def mixed(
    chance: np.random.Generator, shares: np.ndarray, means: np.ndarray, requests: int, *, names_from: int
) -> tuple[DriftReference, np.ndarray, np.ndarray]:
    """Reference, rows and users of callers with these shares and means; the caller `c` is named `c + names_from`."""
    drawn = chance.choice(len(shares), size=REFERENCE_ROWS, p=shares)
    reference = build_reference(CONTRACT, rows_of(chance, drawn, means), seed=int(chance.integers(1 << 30)))
    callers = chance.choice(len(shares), size=requests, p=shares)
    return reference, rows_of(chance, callers, means), callers + names_from


def alone(users: np.ndarray) -> Callers:
    """A request a row."""
    return callers_of_rows(users.astype(np.int64), np.ones(len(users), dtype=bool))


def one_large(chance: np.random.Generator, *, share: float, apart: float = 0.0, change: float = 0.0) -> Run:
    """A named caller with that share of the requests, `apart` from the others; it alone changes."""
    shares, means = np.array([1 - share, share]), np.array([0.0, apart])
    requests = 2 * CHANGES_AT if change else CLEAN
    reference, rows, users = mixed(chance, shares, means, requests, names_from=0)
    rows[(np.arange(requests) >= CHANGES_AT) & (users == 1), 0] += change
    return reference, rows, alone(users)


def several(
    chance: np.random.Generator, *, users: int, apart: float = 0.0, change: float = 0.0, zipf: float = 0.0
) -> Run:
    """All callers are named, with means that differ by `apart` (a standard deviation); all change."""
    weights = 1 / np.arange(1, users + 1) ** zipf
    requests = 2 * CHANGES_AT if change else CLEAN
    means = chance.normal(size=users) * apart
    reference, rows, names = mixed(chance, weights / weights.sum(), means, requests, names_from=1)
    if change:
        rows[CHANGES_AT:, 0] += change
    return reference, rows, alone(names)


def nobody(chance: np.random.Generator, requests: int) -> tuple[DriftReference, np.ndarray]:
    """Reference and rows of callers without names."""
    reference, rows, _ = mixed(chance, np.ones(1), np.zeros(1), requests, names_from=0)
    return reference, rows


def sorted_batches(chance: np.random.Generator, *, rows: int) -> Run:
    """Only requests of so many rows, sorted by the first feature."""
    reference, drawn = nobody(chance, CLEAN)
    batches = drawn.reshape(-1, rows, FEATURES)
    drawn = np.take_along_axis(batches, np.argsort(batches[:, :, :1], axis=1), axis=1).reshape(CLEAN, FEATURES)
    return reference, drawn, callers_of_rows(np.zeros(CLEAN, dtype=np.int64), np.arange(CLEAN) % rows == 0)


def alike_batches(chance: np.random.Generator, *, rows: int, correlation: float) -> Run:
    """Only requests of so many rows that are correlated, each of which is distributed as the reference is."""
    reference, drawn = nobody(chance, CLEAN)
    common = np.repeat(chance.normal(size=(CLEAN // rows, FEATURES)), rows, axis=0)
    drawn = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * drawn
    return reference, drawn, callers_of_rows(np.zeros(CLEAN, dtype=np.int64), np.arange(CLEAN) % rows == 0)


def named_late(chance: np.random.Generator, *, share: float, apart: float) -> Run:
    """A client with that share begins to name itself at half of the requests, and takes another name later."""
    shares, means = np.array([1 - share, share]), np.array([0.0, apart])
    reference, rows, users = mixed(chance, shares, means, CLEAN, names_from=0)
    place = np.arange(CLEAN)
    return reference, rows, alone(users * np.where(place < CLEAN // 2, 0, np.where(place < CLEAN * 3 // 4, 1, 2)))


def burst(chance: np.random.Generator, *, rows: int, within: int) -> Run:
    """Nearly equal rows of one user, drawn among so many requests from the 1,000th on."""
    reference, drawn = nobody(chance, CLEAN)
    places = 1000 + np.sort(chance.choice(within, size=rows, replace=False))
    drawn[places] = 1.5 * chance.normal(size=FEATURES) + 1e-3 * chance.normal(size=(rows, FEATURES))
    users = np.zeros(CLEAN, dtype=np.int64)
    users[places] = 7
    return reference, drawn, alone(users)


def retries(chance: np.random.Generator) -> Run:
    """A fifth of the cases is sent six times under the same key."""
    reference, drawn = nobody(chance, CLEAN)
    times = np.where(chance.random(CLEAN) < 0.2, 6, 1)
    cases = np.repeat(np.arange(CLEAN), times)[:CLEAN]
    each = np.ones(CLEAN, dtype=bool)
    return reference, drawn[cases], callers_of_rows(np.zeros(CLEAN, dtype=np.int64), each, cases + 1)


Scenario = Callable[[np.random.Generator], Run]
UNCHANGED: Final[dict[str, Scenario]] = {
    "one caller of 40 %, 1 sd apart": functools.partial(one_large, share=0.4, apart=1.0),
    "one caller of 40 %, 2 sd apart": functools.partial(one_large, share=0.4, apart=2.0),
    "one caller of 6 %, 2 sd apart": functools.partial(one_large, share=0.06, apart=2.0),
    "8 callers, 1 sd apart": functools.partial(several, users=8, apart=1.0),
    "30 callers, activity 1/rank, 1 sd apart": functools.partial(several, users=30, apart=1.0, zipf=1.0),
    "200 callers, activity 1/rank, 1 sd apart": functools.partial(several, users=200, apart=1.0, zipf=1.0),
    "sorted batches of 5": functools.partial(sorted_batches, rows=5),
    "sorted batches of 100": functools.partial(sorted_batches, rows=100),
    "batches of 5, correlated .5": functools.partial(alike_batches, rows=5, correlation=0.5),
    "batches of 20, correlated .9": functools.partial(alike_batches, rows=20, correlation=0.9),
    "a client of 40 % begins to name itself, 1 sd": functools.partial(named_late, share=0.4, apart=1.0),
    "100 nearly equal rows of a user at once": functools.partial(burst, rows=100, within=100),
    "100 nearly equal rows of a user in 1,000": functools.partial(burst, rows=100, within=1000),
    "300 nearly equal rows of a user at once": functools.partial(burst, rows=300, within=300),
    "a fifth sent six times, own keys": retries,
}
CHANGED: Final[dict[str, Scenario]] = {
    "one caller of 40 % moves by 1 sd": functools.partial(one_large, share=0.4, change=1.0),
    "one caller of 40 % moves by 2 sd": functools.partial(one_large, share=0.4, change=2.0),
    **{
        f"all of {users:,} callers move by 1 sd": functools.partial(several, users=users, change=1.0)
        for users in (5, 12, 20, 30, 60, 2000)
    },
}


def alarm_at(run: Run, first: int, step: int) -> int | None:
    """After how many rows, from `first` on, there was an alarm, looked at every `step` rows."""
    reference, rows, callers = run
    state = start(reference)
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        state = update(reference, state, rows[part], callers=callers.part(part))
        if state.alarm and begin + step > first:
            return begin + step - first
    return None


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose name has this text")
    options = parser.parse_args()
    n = options.replications
    for name, scenario in (UNCHANGED | CHANGED).items():
        if options.only not in name:
            continue
        began = time.process_time()
        chances = [np.random.default_rng([options.seed, zlib.crc32(name.encode()), each]) for each in range(n)]
        if name in UNCHANGED:
            alarms = sum(alarm_at(scenario(chance), 0, 500) is not None for chance in chances)
            found = f"{alarms:4} of {n} alarm, upper limit {upper_limit(alarms, n):.4f}"
        else:
            few = chances[: max(20, n // 10)]
            delays = [alarm_at(scenario(chance), CHANGES_AT, 10) for chance in few]
            median = np.median([np.inf if each is None else each for each in delays])
            found = f"found after {median:.0f}; not found in {delays.count(None)} of {len(few)}"
        print(f"  {name:44} {found}   ({time.process_time() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
