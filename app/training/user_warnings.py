"""The warnings that libraries address to users, collected to be shown with the version that they concern."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collect_user_warnings() -> Iterator[list[str]]:
    """A list that is filled when the block ends: the first line of each different `UserWarning`, in order.

    Those are meant for users (no convergence, another library version). Warnings for developers, such as
    `DeprecationWarning`, are left out.
    """
    collected: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once for each line of code: the second version fitted would have none.
        warnings.simplefilter("always")
        yield collected
    for warning in caught:
        first_line = str(warning.message).partition("\n")[0]
        if issubclass(warning.category, UserWarning) and first_line not in collected:
            collected.append(first_line)
