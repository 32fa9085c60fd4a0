"""Collect what libraries warn users of, to report it in its place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collect_user_warnings() -> Iterator[list[str]]:
    """A list that has, once the block is left, the first line of each different warning meant for users.

    Those are `UserWarning`s (no convergence, another library version); warnings for developers are left out.
    """
    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield complaints
    for warning in caught:
        first_line = str(warning.message).partition("\n")[0]
        if issubclass(warning.category, UserWarning) and first_line not in complaints:
            complaints.append(first_line)
