"""The ways to use the store: how durable a write is, and how long one waits for a lock."""

from __future__ import annotations

import msgspec


class Access(msgspec.Struct, frozen=True):
    """One way to use the store. `writes` takes the write lock at once, so that a transaction never fails half-way.

    `durable` commits survive a power cut (fsync each time); the others survive the death of the process.
    `busy_s` is how long to wait for another writer before giving up, `answer_s` how long a server may take to answer
    one statement.
    """

    writes: bool
    durable: bool
    busy_s: float
    answer_s: float = 10.0


READING = Access(writes=False, durable=False, busy_s=1.0)
# The recorder keeps its rows and tries again, so it wants to know soon that the store is locked.
RECORDING = Access(writes=True, durable=False, busy_s=0.1)
# Who asks whether the store can be written can wait for those who are writing.
PROBING = Access(writes=True, durable=False, busy_s=1.0)
DURABLE = Access(writes=True, durable=True, busy_s=5.0)
# Derived state can be derived again, so it need not survive a power cut; it has time to wait for the others.
MONITORING = Access(writes=True, durable=False, busy_s=5.0, answer_s=60.0)
# An index on a large table, or a whole log that is put back, takes its time.
REBUILDING = Access(writes=True, durable=True, busy_s=5.0, answer_s=3600.0)
# What copies the whole log reads it in pieces.
COPYING = Access(writes=False, durable=False, busy_s=1.0, answer_s=600.0)
