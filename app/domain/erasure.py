"""Erasing a person: whose rows go, and what stays of that, which identifies nobody without the deployment's key."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

_USER, _ROW, _SUBJECT = b"user", b"row", b"subject"


class Wanted(msgspec.Struct, frozen=True):
    """Whose rows are to be erased: hashes of users, own keys, and ids of requests; rows that fit any of them."""

    users: frozenset[int] = frozenset()
    own_keys: frozenset[str] = frozenset()
    request_ids: frozenset[str] = frozenset()


class Tombstones(msgspec.Struct, frozen=True):
    """Makes hashes under which the store remembers that something was erased. They need the deployment's key."""

    key: bytes

    def __repr__(self) -> str:
        return "Tombstones(…)"  # a key must never reach a log or a traceback

    def of_user(self, user_hash: int) -> int:
        """The hash of a user; signed, 64 bits."""
        return self._hash(_USER, user_hash.to_bytes(8, "big"))

    def of_row(self, prediction_id: str) -> int:
        """The hash of a prediction; signed, 64 bits."""
        return self._hash(_ROW, prediction_id.encode())

    def of_subject(self, wanted: Wanted) -> str:
        """The hash of those who are to be erased, by which an erasure that was interrupted is known again."""
        parts = [sorted(each) for each in (wanted.users, wanted.own_keys, wanted.request_ids)]
        return f"{self._hash(_SUBJECT, msgspec.json.encode(parts)) % 2**64:016x}"

    def _hash(self, kind: bytes, value: bytes) -> int:
        digest = blake2b(value, key=self.key[:64], person=kind, digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure as the store notes it: when it began and ended (µs since 1970; None: not yet), and what was erased.

    `counts` are rows by place in the store; `experiments` are predictions and outcomes of the log by experiment (an
    empty name: none), and `archived` those of the archive.
    """

    number: int
    began_us: int
    ended_us: int | None
    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    experiments: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    archived: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Predictions and outcomes."""
        return sum(sum(each) for each in (*self.experiments.values(), *self.archived.values()))


class Traces(msgspec.Struct, frozen=True):
    """What derived state may have of erased rows: hashes of `users`, `units`, `cases` (32 bits) and `features`."""

    users: frozenset[int] = frozenset()
    units: frozenset[int] = frozenset()
    cases: frozenset[int] = frozenset()
    features: frozenset[int] = frozenset()
