"""The estimators inside an estimator: steps, branches, members, trees, as they were fitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and every fitted one inside it, each once, outer ones first.

    `get_params` would show the templates of an ensemble's members, not the fitted members.
    """
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        thing = waiting.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, list | tuple):
            waiting.extend(thing)
        elif isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, np.ndarray):
            waiting.extend(thing.ravel().tolist() if thing.dtype == object else ())
        elif hasattr(thing, "get_params") and not isinstance(thing, type):
            yield thing
            waiting.extend(vars(thing).values())


def make_single_threaded(estimator: Any) -> None:
    """Set every `n_jobs` in it to 1: a request has one core, and a forest then sums its trees in one order."""
    for part in parts_of(estimator):
        if getattr(part, "n_jobs", 1) != 1:
            part.n_jobs = 1


def knows_none(estimator: Any) -> bool:
    """Whether it was fitted on data where None, rather than NaN, stood for a missing category."""
    for part in parts_of(estimator):
        if getattr(part, "missing_values", np.nan) is None:
            return True
        for categories in getattr(part, "categories_", ()):
            if any(category is None for category in categories):
                return True
    return False
