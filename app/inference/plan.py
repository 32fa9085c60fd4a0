"""Why a part of an estimator cannot be exported.

How a version that runs on ONNX is to be run: `plan.json` of its artefact. Plain data, no code, nothing unpickled.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class NotExportable(Exception):
    """This part has no exact counterpart here; another way of serving is tried."""


Category = float | str | None
Layout = Literal["matrix", "columns"]
Settling = Literal["none", "mean_of_trees", "sum_of_trees", "linear", "estimator"]


class Affine(msgspec.Struct, frozen=True, omit_defaults=True, tag="affine"):
    """`((x - subtract) / divide) * multiply + add`, column by column, in double and in this order; None: left out."""

    subtract: tuple[float, ...] | None = None
    divide: tuple[float, ...] | None = None
    multiply: tuple[float, ...] | None = None
    add: tuple[float, ...] | None = None


class Impute(msgspec.Struct, frozen=True, tag="impute"):
    """A missing value of column j becomes `fill[j]`."""

    fill: tuple[float | str, ...]


class OneHot(msgspec.Struct, frozen=True, omit_defaults=True, tag="one_hot"):
    """One column a category (None: missing), but for the one at `dropped[j]`; `ignores_unknown`, else it raises."""

    categories: tuple[tuple[Category, ...], ...]
    dropped: tuple[int | None, ...]
    ignores_unknown: bool = False


class Ordinal(msgspec.Struct, frozen=True, omit_defaults=True, tag="ordinal"):
    """A category becomes its number; `unknown` is for categories not listed (None: raises)."""

    categories: tuple[tuple[Category, ...], ...]
    unknown: float | None = None


class Branch(msgspec.Struct, frozen=True):
    """Some columns and the steps that they go through."""

    columns: tuple[int, ...]
    steps: tuple[Step, ...]


class Branches(msgspec.Struct, frozen=True, tag="branches"):
    """Groups of columns that go separate ways and are put side by side again, in this order."""

    parts: tuple[Branch, ...]


Step = Affine | Impute | OneHot | Ordinal | Branches


class RuntimePlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done to rows before the graph, and who settles near-ties after it.

    `layout`: the graph takes one `matrix` of `dtype`, or one input a feature (`columns`: numbers of `dtype`, strings).
    `preparation` is done by us in double, as scikit-learn does it, because float32 would change what a tree compares.
    `rounds_to_float32` is for trees: scikit-learn rounds what they compare, whatever the graph's type.
    """

    layout: Layout = "matrix"
    dtype: Literal["float32", "float64"] = "float64"
    preparation: tuple[Step, ...] = ()
    rounds_to_float32: bool = False
    settling: Settling = "none"


def encoded_plan(plan: RuntimePlan) -> bytes:
    """The plan as the content of `plan.json`."""
    return msgspec.json.encode(plan)


def decoded_plan(data: bytes) -> RuntimePlan:
    """The plan in `data`. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=RuntimePlan)
