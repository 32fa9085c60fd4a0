"""Who sent rows: which are of one caller, which are repeats of a case, and which users are services, not persons.

A named user who sends a fair share of the requests all the time is a service that sends the rows of many: where nothing
changes it goes on sending that share, and the reference has its rows in that share too. A person sends some rows, and
is gone.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

# A service has sent at least `OFTEN` of the requests in at least half of the last `STRETCHES` stretches of requests, or
# of those so far, and in no fewer than `LEAST_STRETCHES`.
STRETCH: Final = 200
STRETCHES: Final = 10
OFTEN: Final = 5
LEAST_STRETCHES: Final = 2
# No row counts while a user who is not known as a service has sent so many requests of a stretch, and so large a share
# of it: one row of a block of ten is too few for a larger one.
_SUSPICIOUS: Final = 2 * OFTEN
_SUSPICIOUS_SHARE: Final = 0.1
# A key that was among this many is a repeat. Four bytes each: two keys are taken for one once in a million rows.
KEYS_KEPT: Final = 4096
_KEY_BYTES: Final = 4

# A named user (0, hash of the user), or a request of nobody or of a service (1, its number).
Caller: TypeAlias = tuple[int, int]


class Callers(NamedTuple):
    """Who sent rows, in log order; arrays of shape (n,).

    `users`, hashes (0: nobody); whether each row `begins` a request, and is `alone` in it; `keys`, 32 bits of a hash of
    the row with the caller's own key of the case (0: none).
    """

    users: np.ndarray
    begins: np.ndarray
    alone: np.ndarray
    keys: np.ndarray

    def part(self, rows: slice) -> Callers:
        """The callers of some of the rows."""
        return Callers(*(field[rows] for field in self))

    @property
    def ordinary(self) -> bool:
        """Whether every row is a request of nobody's, and none can be a repeat."""
        return bool(self.alone.all()) and not self.users.any() and not self.keys.any()


def callers_of_rows(users: np.ndarray, begins: np.ndarray, keys: np.ndarray | None = None) -> Callers:
    """The callers of whole requests: the last row is the last one of its request."""
    alone = begins & np.append(begins[1:], True)
    return Callers(users, begins, alone, np.zeros(len(users), dtype=np.int64) if keys is None else keys)


def each_alone(rows: int) -> Callers:
    """Callers of `rows` rows that are nobody's, one a request."""
    every = np.ones(rows, dtype=bool)
    return Callers(np.zeros(rows, dtype=np.int64), every, every, np.zeros(rows, dtype=np.int64))


class Acquaintance(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of callers; of bounded size.

    `requests` counts requests, not rows. `users`: the named ones of the present stretch, with their requests. `often`:
    for each of the last stretches that had any, its number and the users who sent `OFTEN` of its requests, with how
    many. `keys`: hashes of the latest own keys, 4 bytes each.
    """

    requests: int = 0
    users: tuple[tuple[int, int], ...] = ()
    often: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()
    keys: bytes = b""

    @property
    def names_nobody(self) -> bool:
        """Whether no user was named in the last stretches."""
        return not self.users and not self.often


class Acquaintances:
    """What is remembered of callers, while rows are added; `state` is what is left."""

    def __init__(self, state: Acquaintance) -> None:
        self.requests = state.requests
        self._users = Counter(dict(state.users))
        self._often = deque(state.often)
        self._services = _services(self._often, self._stretch)
        self._most = max((count for user, count in self._users.items() if user not in self._services), default=0)
        self._was_suspicious = self._is_suspicious_after(self._stretch)
        hashes = np.frombuffer(state.keys, dtype="<u4").tolist()
        self._keys = deque(hashes, maxlen=KEYS_KEPT)
        self._known_keys = set(hashes)

    @property
    def _stretch(self) -> int:
        return (self.requests - 1) // STRETCH

    def state(self) -> Acquaintance:
        """The state after the rows that were added."""
        return Acquaintance(
            requests=self.requests,
            users=tuple(sorted(self._users.items())),
            often=tuple(self._often),
            keys=np.array(self._keys, dtype="<u4").tobytes(),
        )

    def begin(self, user: int) -> int:
        """Another request, of that user (0: nobody); returns its number."""
        self.requests += 1
        if (self.requests - 1) % STRETCH == 0 and (self._users or self._often):
            self._end_stretch(self._stretch - 1)
        if user:
            self._users[user] = count = self._users.get(user, 0) + 1
            if count > self._most and user not in self._services:
                self._most = count
        return self.requests

    @property
    def are_learnt(self) -> bool:
        """Whether it is known which users are services, as far as it matters."""
        if self._most < _SUSPICIOUS:  # as nearly always, so that the share need not be known
            return not self._was_suspicious
        so_far = self.requests - STRETCH * self._stretch
        return not self._was_suspicious and self._most < max(_SUSPICIOUS, _SUSPICIOUS_SHARE * so_far)

    def _is_suspicious_after(self, stretch: int) -> bool:
        """Whether in the stretch before that one a user who is not known as a service sent a large share."""
        if not self._often or self._often[-1][0] != stretch - 1:
            return False
        return any(
            count >= _SUSPICIOUS_SHARE * STRETCH and user not in self._services for user, count in self._often[-1][1]
        )

    def is_person(self, user: int) -> bool:
        """Whether the user (0: nobody) has a name, and is no service."""
        return bool(user) and user not in self._services

    def caller(self, user: int) -> Caller:
        """Whose the rows of the present request are."""
        return (0, user) if self.is_person(user) else (1, self.requests)

    def repeats(self, keys: np.ndarray) -> np.ndarray:
        """Which rows with these keys are of a case that was sent before; new cases are remembered."""
        found = np.zeros(len(keys), bool)
        for place in np.flatnonzero(keys).tolist():
            found[place] = self._is_repeat(int(keys[place]))
        return found

    def _is_repeat(self, key: int) -> bool:
        if key in self._known_keys:
            return True
        if len(self._keys) == KEYS_KEPT:
            self._known_keys.discard(self._keys[0])
        self._keys.append(key)
        self._known_keys.add(key)
        return False

    def _end_stretch(self, ended: int) -> None:
        often = tuple(sorted((user, count) for user, count in self._users.items() if count >= OFTEN))
        self._users.clear()
        self._most = 0
        if often:
            self._often.append((ended, often))
        while self._often and self._often[0][0] < self._stretch - STRETCHES:
            self._often.popleft()
        self._services = _services(self._often, self._stretch)
        self._was_suspicious = self._is_suspicious_after(self._stretch)


def heaviest_share(state: Acquaintance) -> float:
    """The share of the requests of the last stretches (at most 2,000 requests) that the most active named user sent."""
    total: Counter[int] = Counter()
    for _, users in state.often:
        total.update(dict(users))
    total.update(dict(state.users))
    requests = min(state.requests, STRETCH * STRETCHES + (state.requests - 1) % STRETCH + 1)
    return max(total.values(), default=0) / max(1, requests)


def _services(often: deque[tuple[int, tuple[tuple[int, int], ...]]], stretches: int) -> frozenset[int]:
    """The users who are services, after so many stretches."""
    counts = Counter(user for _, users in often for user, _ in users)
    least = max(LEAST_STRETCHES, -(-min(stretches, STRETCHES) // 2))
    return frozenset(user for user, count in counts.items() if count >= least)
