"""Waiting for a state: poll until it holds, instead of sleeping for as long as it might take."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def _pause() -> None:
    time.sleep(0.05)


def eventually(
    check: Callable[[], T],
    timeout_s: float = 60,
    explain: Callable[[], object] = lambda: "the state did not come",
    *,
    ignoring: type[Exception] | tuple[type[Exception], ...] = (),
    pause: Callable[[], object] = _pause,
) -> T:
    """The first true value that `check` returns.

    Exceptions of the types in `ignoring` count as "not yet"; every other one ends the wait. After `timeout_s` it raises
    `AssertionError` with what `explain` returns.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(*(ignoring if isinstance(ignoring, tuple) else (ignoring,))):
            if value := check():
                return value
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {explain()}"
        pause()


def consistently(check: Callable[[], object], for_s: float, *, pause: Callable[[], object] = _pause) -> None:
    """Asserts that `check` stays true for `for_s` seconds: the way to show that nothing happens."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert check(), f"it did not stay so for {for_s:g} s"
        pause()
    assert check(), f"it did not stay so for {for_s:g} s"
