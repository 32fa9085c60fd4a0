"""Cost: what an answer costs, by the true class and the predicted one (`COST_MATRIX`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import msgspec

from app.domain.experiment import ExperimentTerms
from app.errors import InvalidRequest
from app.scoring.contract import Answer, Metric, Range, Unfit, class_at, class_list

CostMatrix = Mapping[str, Mapping[str, float]]
# Sums of as many costs as a log can hold keep their digits.
_LARGEST = 1e12


def cost_matrix(document: str | bytes) -> CostMatrix:
    """The matrix from its JSON, {true class: {predicted class: cost}}.

    Raises `InvalidRequest` for another document, and what `require_costs` raises.
    """
    try:
        matrix = msgspec.json.decode(document, type=dict[str, dict[str, float]])
        json.loads(document, object_pairs_hook=_each_once)  # where a key comes twice, a decoder keeps the last
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            f'it is not {{"true class": {{"predicted class": cost}}}} in JSON: {error}', field="cost_matrix"
        ) from error
    require_costs(matrix)
    return matrix


def _each_once(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InvalidRequest(f"the class {twice[:64]!r} is given twice: give it once", field="cost_matrix")


def require_costs(matrix: CostMatrix) -> None:
    """Raise `InvalidRequest` where no cost differs from 0, or one is not finite or too large to count."""
    costs = [cost for row in matrix.values() for cost in row.values()]
    if not all(math.isfinite(cost) and abs(cost) <= _LARGEST for cost in costs):
        raise InvalidRequest(f"each cost must be a number of at most {_LARGEST:g}", field="cost_matrix")
    if not any(costs):
        raise InvalidRequest(
            'no cost in it differs from 0: give what a wrong answer costs, such as {"yes": {"no": 10}, "no": '
            '{"yes": 1}}',
            field="cost_matrix",
        )


def score(answer: Answer, label: float, terms: ExperimentTerms) -> float | None:
    """What the answer costs, 0 where the matrix does not say; None for a label that is no class."""
    return None if answer.c is None else score_of_id(answer.c, label, terms)


def score_of_id(class_id: float, label: float, terms: ExperimentTerms) -> float | None:
    """The same of the class id in a prediction id."""
    true, predicted = class_at(label, terms), class_at(class_id, terms)
    if true is None or predicted is None:
        return None
    return float((terms.cost_matrix or {}).get(true, {}).get(predicted, 0.0))


def _range(terms: ExperimentTerms) -> Range:
    """From the least to the largest cost that an answer can have."""
    costs = [cost for row in (terms.cost_matrix or {}).values() for cost in row.values()]
    if len(costs) < len(terms.classes) ** 2:
        costs.append(0.0)
    return Range(float(min(costs, default=0.0)), float(max(costs, default=0.0)))


def _unfit(terms: ExperimentTerms) -> Unfit | None:
    matrix = terms.cost_matrix
    if matrix is None:
        return Unfit("cost_matrix", f"the metric cost needs what wrong answers cost, by class: {class_list(terms)}")
    named = [name for true, row in matrix.items() for name in (true, *row)]
    unknown = next((name for name in named if name not in terms.classes), None)
    if unknown is not None:
        return Unfit("cost_matrix", f"no class is called {unknown[:64]!r}: {class_list(terms)}")
    if _range(terms).width <= 0:
        return Unfit("cost_matrix", "all answers cost the same, so no version can be better: give different costs")
    return None


COST = Metric(
    name="cost",
    quantity="cost",
    tasks=("classification",),
    higher_is_better=False,
    method="paired_numeric",
    range_of=_range,
    score=score,
    score_of_id=score_of_id,
    reads=("cost_matrix",),
    unfit=_unfit,
)
