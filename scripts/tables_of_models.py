"""The data that the models of the table in docs/models.md are fitted on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd
from sklearn import datasets

TARGET = "answer"
_SEED = 0


def _built_in(name: str) -> pd.DataFrame:
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    target = found.target
    if hasattr(found, "target_names"):
        target = pd.Series(np.asarray(found.target_names, dtype=object)[found.target])
    return found.data.assign(**{TARGET: target.to_numpy()})


@cache
def _people() -> pd.DataFrame:
    """600 made-up people: two numbers, one of them with gaps, a boolean, two categories, and a yes or no."""
    generator = np.random.default_rng(_SEED)
    count = 600
    age = generator.integers(18, 80, count).astype(float)
    income = generator.lognormal(10, 0.5, count).round(2)
    city = generator.choice(["Basel", "Bern", "Genf", "Zug"], count)
    plan = generator.choice(["basic", "plus"], count)
    member = generator.random(count) < 0.4
    score = (age - 45) / 15 + (city == "Bern") + 1.5 * (plan == "plus") - 1.2 * member + generator.normal(0, 1, count)
    income[generator.random(count) < 0.05] = np.nan
    answer = np.where(score > 0.5, "yes", "no")
    return pd.DataFrame({"age": age, "income": income, "member": member, "city": city, "plan": plan, TARGET: answer})


def _complete() -> pd.DataFrame:
    return _people().drop(columns="income")


DATA: dict[str, Callable[[], pd.DataFrame]] = {
    "numbers, 3 classes": partial(_built_in, "wine"),
    "numbers, 2 classes": partial(_built_in, "breast_cancer"),
    "mixed": _people,
    "categories": _complete,
    "regression": partial(_built_in, "diabetes"),
}
