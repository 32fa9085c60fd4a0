"""The plan of a version that runs on ONNX, `plan.json` of its artefact: plain data, no code, nothing unpickled."""

from __future__ import annotations

from typing import Literal

import msgspec


class NotExportable(Exception):
    """A part of an estimator that has no exact counterpart among the steps here; another candidate is tried."""


Category = float | str | None
Layout = Literal["matrix", "columns"]
Settling = Literal["none", "mean_of_trees", "sum_of_trees", "linear", "estimator"]


class Affine(msgspec.Struct, frozen=True, omit_defaults=True, tag="affine"):
    """`((x - subtract) / divide) * multiply + add`, column by column, in double and in this order; None: omitted."""

    subtract: tuple[float, ...] | None = None
    divide: tuple[float, ...] | None = None
    multiply: tuple[float, ...] | None = None
    add: tuple[float, ...] | None = None


class Impute(msgspec.Struct, frozen=True, tag="impute"):
    """Replaces a missing value in column j by `fill[j]`."""

    fill: tuple[float | str, ...]


class OneHot(msgspec.Struct, frozen=True, omit_defaults=True, tag="one_hot"):
    """One column per category (None: missing) except the one at `dropped[j]`; unknown ones are ignored, or raise."""

    categories: tuple[tuple[Category, ...], ...]
    dropped: tuple[int | None, ...]
    ignores_unknown: bool = False


class Ordinal(msgspec.Struct, frozen=True, omit_defaults=True, tag="ordinal"):
    """Replaces a category by its number; `unknown` is that of categories not listed (None: they raise)."""

    categories: tuple[tuple[Category, ...], ...]
    unknown: float | None = None


class Branch(msgspec.Struct, frozen=True):
    """Some columns, by position, and the steps that they go through."""

    columns: tuple[int, ...]
    steps: tuple[Step, ...]


class Branches(msgspec.Struct, frozen=True, tag="branches"):
    """Groups of columns with steps of their own, concatenated again in this order."""

    parts: tuple[Branch, ...]


Step = Affine | Impute | OneHot | Ordinal | Branches


class RuntimePlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The steps before the graph, the form of its input, and the way near-ties are settled after it.

    `layout`: the graph takes one `matrix` of `dtype`, or one input per feature (`columns`: numbers of `dtype`,
    strings). `preparation` runs in NumPy, in double as in scikit-learn, because float32 would change what a tree
    compares. `rounds_to_float32` is for trees: scikit-learn rounds the values they compare, whatever the graph's type.

    A version that scikit-learn serves has a plan only to say that it `asks_once`: for probabilities, not for the class.
    """

    layout: Layout = "matrix"
    dtype: Literal["float32", "float64"] = "float64"
    preparation: tuple[Step, ...] = ()
    rounds_to_float32: bool = False
    settling: Settling = "none"
    asks_once: bool = False


def encoded_plan(plan: RuntimePlan) -> bytes:
    """The plan as the content of `plan.json`."""
    return msgspec.json.encode(plan)


def decoded_plan(data: bytes) -> RuntimePlan:
    """The plan in `data`. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=RuntimePlan)
