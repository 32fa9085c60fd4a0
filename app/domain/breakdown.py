"""The parts in which the monitor counts an experiment, fixed when it begins, and their counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

MOST_FEATURES = 12
# With the two that hold everything else, twelve parts.
MOST_VALUES = 10
MOST_CLASSES = 50
CLASS = "class"

SegmentKind = Literal["value", "range", "other", "missing", "all"]


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the requests. A `range` is above `low`, up to `high`; None where it has no end."""

    level: str
    kind: SegmentKind = "value"
    low: float | None = None
    high: float | None = None


OTHER = Segment("(other)", "other")
MISSING = Segment("(missing)", "missing")
ALL = Segment("all", "all")


class FeatureSplit(msgspec.Struct, frozen=True):
    """The parts of one feature: its values or ranges, then all other ones, then what is missing.

    `name` and `source_name` are those of the column. `edges` are the upper ends of the ranges but the last, ascending;
    empty for values. `boolean`: the two values may be spelled in several ways.
    """

    name: str
    source_name: str | None
    segments: tuple[Segment, ...]
    edges: tuple[float, ...] = ()
    boolean: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether its parts are ranges."""
        return self.segments[0].kind == "range"


class BreakdownPlan(msgspec.Struct, frozen=True):
    """The parts of an experiment. A cell is a part of one of the `features`, in order, then of the classes, then all.

    `classes` are the ids of the classes that are parts; all others are one, which is there too. It is empty where the
    classes are not known. `refused` has the reason for each feature that is not counted, by name.
    """

    features: tuple[FeatureSplit, ...] = ()
    classes: tuple[int, ...] = ()
    refused: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def first_class(self) -> int:
        """The first cell of the classes."""
        return sum(len(split.segments) for split in self.features)

    @property
    def everything(self) -> int:
        """The cell of all."""
        return self.first_class + self.class_cells

    @property
    def class_cells(self) -> int:
        """The number of cells of classes, with the one of all others."""
        return len(self.classes) + 1 if self.classes else 0

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.everything + 1


class PairCounts(msgspec.Struct, kw_only=True):
    """A challenger and the baseline, by cell: the labelled requests of which both versions have a value.

    `base` and `other` are the sums of the values, `gains` of the improvements and `squares` of their squares, in units
    of the metric. `both` to `neither` count right (1) and wrong (0) answers.
    """

    n: list[int]
    base: list[float]
    other: list[float]
    gains: list[float]
    squares: list[float]
    both: list[int]
    only_base: list[int]
    only_other: list[int]
    neither: list[int]


class ServedCounts(msgspec.Struct, kw_only=True):
    """The rewards of a version's answers, by cell: how many, and their sum."""

    n: list[int]
    total: list[float]


class BreakdownState(msgspec.Struct, kw_only=True):
    """One experiment: the plan, and counters by cell.

    `requests`: rows that count. `labelled` of them have a label (in an experiment of rewards: a reward of an answer
    that chance chose). `pairs`: by challenger. `served`: rewards by version. `matrices`: by version, the labelled rows
    on which its answer is known, flat: by true class (`plan.classes`, then all others), the answered class in the same
    order, and last the rows on which it failed.
    """

    plan: BreakdownPlan
    requests: list[int]
    labelled: list[int]
    pairs: dict[str, PairCounts] = msgspec.field(default_factory=dict)
    served: dict[str, ServedCounts] = msgspec.field(default_factory=dict)
    matrices: dict[str, list[int]] = msgspec.field(default_factory=dict)
