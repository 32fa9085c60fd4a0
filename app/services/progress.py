"""How far recorders have come: what a reader waits for to see what was answered before it asked."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, MutableSequence
from typing import Protocol

_POLL_S = 0.001


class Progress(Protocol):
    """The recorders that share a log, two numbers each: rows accepted and rows settled. May raise `OSError`."""

    def open(self) -> MutableSequence[int]:
        """This process's numbers, to be written in place."""

    def all(self) -> Mapping[str, tuple[int, int]]:
        """(accepted, settled) of each live process, by name."""

    def close(self) -> None:
        """Withdraw this process's numbers."""


class OwnProgress:
    """The progress of a process that shares its log with no other."""

    def __init__(self) -> None:
        self._numbers = array("Q", (0, 0))

    def open(self) -> MutableSequence[int]:
        """Rows accepted, rows settled."""
        return self._numbers

    def all(self) -> Mapping[str, tuple[int, int]]:
        """This process's numbers under one name."""
        return {"own": (self._numbers[0], self._numbers[1])}

    def close(self) -> None:
        """Nothing to withdraw."""


def wait_until_settled(progress: Progress, timeout_s: float) -> bool:
    """Whether all rows accepted so far, by whatever process, were settled within `timeout_s`. Dead processes do not
    count: what they had not settled is lost."""
    deadline = time.monotonic() + timeout_s
    targets = {name: accepted for name, (accepted, settled) in progress.all().items() if settled < accepted}
    while targets:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
        now = progress.all()
        targets = {name: target for name, target in targets.items() if name in now and now[name][1] < target}
    return True
