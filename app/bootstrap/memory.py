"""Memory that a replaced version leaves behind, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def give_back_freed() -> None:
    """Return what the C library holds and nobody uses; does nothing where that is not glibc.

    Versions are loaded on whichever thread was asked to reload, and glibc keeps what each thread has freed for that
    thread: without this, resident memory grows with every reload until each of them has seen one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Tidying:
    """Calls `tidy` some turns after something was let go of: requests that began with it must have ended."""

    def __init__(self, tidy: Callable[[], None] = give_back_freed, turns: int = 4) -> None:
        self._tidy = tidy
        self._turns = turns
        self._left = 0

    def soon(self) -> None:
        """Something was let go of just now."""
        self._left = self._turns

    def turn(self) -> None:
        """Once in a while, always as often."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._tidy()
