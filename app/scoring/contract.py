"""The contract of experiment metrics: all that comparing, reporting and validating must know of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from app.domain.contract import Task
from app.domain.experiment import ExperimentTerms

if TYPE_CHECKING:
    import numpy as np

    from app.domain.outcome import OutcomeKind


class Range(msgspec.Struct, frozen=True):
    """The values that a metric may take, from `low` to `high`; a value outside counts as the nearer end."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """`high` minus `low`. One unit of the tests is this much of the metric."""
        return self.high - self.low

    def to_unit(self, value: float) -> float:
        """The value moved onto [0, 1]; NaN stays NaN, so that a test can refuse it."""
        return min(max((value - self.low) / self.width, 0.0), 1.0)

    def clipped(self, value: float) -> float:
        """The value, or the nearer end."""
        return min(max(value, self.low), self.high)

    def difference(self, unit_difference: float) -> float:
        """A difference on the unit scale in the units of the metric."""
        return unit_difference * self.width

    def interval(self, unit_interval: tuple[float, float]) -> tuple[float, float]:
        """An interval of differences on the unit scale in the units of the metric."""
        low, high = unit_interval
        return low * self.width, high * self.width


# Sums of squares of squares of as many values as a log can hold stay finite, and so does the state that keeps them.
_LARGEST = 1e50


def bounded(value: float) -> float:
    """The value, or the nearer of ±1e50: an outcome that an experiment can count, whatever was reported."""
    return min(max(value, -_LARGEST), _LARGEST)


Method: TypeAlias = Literal["paired", "paired_numeric", "two_sample", "asymptotic"]


class Answer(msgspec.Struct, frozen=True):
    """One version's logged answer: class id `c` and the probabilities `p` of all classes, or a number `v`.

    All are None in `MISSING`, the answer of a version that was asked and failed.
    """

    c: int | None = None
    p: tuple[float, ...] | None = None
    v: float | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the version was asked and failed."""
        return self.c is None and self.v is None and self.p is None


MISSING = Answer()

ScoreAnswer: TypeAlias = Callable[[Answer, float, ExperimentTerms], float | None]
ScoreId: TypeAlias = Callable[[float, float, ExperimentTerms], float | None]
RangeOf: TypeAlias = Callable[[ExperimentTerms], Range | None]


class Unfit(msgspec.Struct, frozen=True):
    """Why an experiment cannot begin with a metric: the term that does not fit, and what to do about it."""

    field: str
    message: str

    @property
    def variable(self) -> str:
        """The environment variable of the term."""
        return "EXPERIMENT_METRIC" if self.field == "metric" else self.field.upper()


def class_at(class_id: float, terms: ExperimentTerms) -> str | None:
    """The name of the class with this id; None where no class has it."""
    names = terms.classes
    return names[int(class_id)] if 0 <= class_id < len(names) and class_id == int(class_id) else None


def class_list(terms: ExperimentTerms) -> str:
    """The classes of an experiment as a clause of a message; the first twenty."""
    shown = ", ".join(terms.classes[:20]) + (", …" if len(terms.classes) > 20 else "")
    return f"use one of {shown}" if shown else "no classes are known"


def unscored(_answer: Answer, _label: float, _terms: ExperimentTerms) -> None:
    """No value: the score of a metric that does not read labels."""


def fits(_terms: ExperimentTerms) -> None:
    """Nothing is missing: the answer of a metric that needs no more than its name."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment metric. Its file in `app.scoring` makes one, and `app.scoring.table` lists it.

    - `name`: what settings, patches and reports call it. `quantity`: what sentences call it; `of`: the class that it is
      of, which stands behind. Figures in sentences are multiplied by `scale` and followed by `unit`, a plural with its
      leading space.
    - `tasks`: the kinds of model that it is for. `outcome`: the kind of feedback that it needs.
    - `range_of`: the range of its values under an experiment's terms; None where none is declared.
    - `method`: how versions are compared where a range is declared; without one the comparison is asymptotic.
      `paired` is for values of 0 and 1 alone, so that a gain is a win, a loss or a tie.
    - `score`: the value of an answer once the label is known, in the units of the metric; None where the answer does
      not hold what the metric reads. `score_of_id`: the same from what a signed prediction id holds (a class id or a
      number), so that a label counts before its row is read; None where an id is not enough. A metric of rewards has
      neither: the reward is the value.
    - `is_outcome`: whether a label is an outcome of the metric at all; a row whose label is none is left out.
    - `reads`: the terms that can be set and that its values depend on, but for those of rewards.
    - `unfit`: why an experiment with these terms cannot begin; None where it can.
    - `reads_probabilities`: two answers with one class and other probabilities are scored differently.
    - `bounded_by_disagreement`: two versions differ in it by no more than the share of requests on which their answers
      differ. Then versions can be proven equivalent without labels (`app.stats.agreement`), and labelled disagreements
      can tell of all traffic (`app.stats.all_traffic`).
    """

    name: str
    quantity: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    method: Method
    range_of: RangeOf
    outcome: OutcomeKind = "actual"
    score: ScoreAnswer = unscored
    score_of_id: ScoreId | None = None
    is_outcome: Callable[[float, ExperimentTerms], bool] = lambda _label, _terms: True
    unfit: Callable[[ExperimentTerms], Unfit | None] = fits
    reads: tuple[str, ...] = ()
    reads_probabilities: bool = False
    bounded_by_disagreement: bool = False
    of: Callable[[ExperimentTerms], str | None] = lambda _terms: None
    scale: int = 1
    unit: str = ""

    def described(self, terms: ExperimentTerms) -> str:
        """What sentences call it under these terms, such as `recall of yes`."""
        of = self.of(terms)
        return self.quantity if of is None else f"{self.quantity} of {of}"

    @property
    def uses_rewards(self) -> bool:
        """Whether it compares rewards, which count for the served version alone, instead of labels."""
        return self.outcome == "reward"

    def method_under(self, terms: ExperimentTerms) -> Method:
        """The method of comparison that these terms ask for."""
        # Every exact test here bets on bounded outcomes. Without bounds only the asymptotic one is left.
        return "asymptotic" if self.range_of(terms) is None else self.method

    def is_triggered(self, terms: ExperimentTerms) -> bool:
        """Whether an outcome waits for its logged row: rewards count only where the versions answered differently."""
        return self.uses_rewards and terms.reward_triggered

    def value(self, answer: Answer, label: float, terms: ExperimentTerms) -> float | None:
        """The value of an answer once the label is known, a missing answer being the worst that there can be.

        None where the answer does not hold what the metric reads, where the label is no outcome of the metric, and for
        a missing answer where no range is declared.
        """
        if not self.is_outcome(label, terms):
            return None
        if not answer.is_missing:
            found = self.score(answer, label, terms)
            return None if found is None else bounded(found)
        declared = self.range_of(terms)
        if declared is None:
            return None
        return declared.low if self.higher_is_better else declared.high

    def counted(self, terms: ExperimentTerms, value: float | None) -> float | None:
        """The value as means count it: one outside the declared range as the nearer end, as in comparisons."""
        if value is None:
            return None
        declared = self.range_of(terms)
        return bounded(value) if declared is None else declared.clipped(value)

    def gain(self, terms: ExperimentTerms, baseline: float, challenger: float) -> float:
        """How much better the challenger's value is: in widths of the declared range, else in units of the metric.

        Values outside the range count as the nearer end. Positive is good for the challenger, also for losses.
        """
        worse, better = (baseline, challenger) if self.higher_is_better else (challenger, baseline)
        declared = self.range_of(terms)
        return better - worse if declared is None else declared.to_unit(better) - declared.to_unit(worse)

    def tells_apart(self, one: Answer, other: Answer) -> bool:
        """Whether the two answers can get different values."""
        if one.c is not None and not self.reads_probabilities:
            return one.c != other.c
        return one != other


def scored_by(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> ScoreAnswer:
    """A metric's `score` from a loss of rows, shapes (rows, classes) and (rows,) → (rows,).

    None of an answer without probabilities, and of a label that is not the id of one of its classes.
    """

    def score(answer: Answer, label: float, _terms: ExperimentTerms) -> float | None:
        if answer.p is None or label != int(label) or not 0 <= label < len(answer.p):
            return None
        # Not at the top: the settings read the table of metrics, and commands that need no arithmetic start without
        # numpy, whose import takes longer than theirs.
        import numpy as np

        return float(loss(np.array([answer.p]), np.array([int(label)]))[0])

    return score
