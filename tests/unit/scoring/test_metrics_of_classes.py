"""Balanced accuracy, recall, cost and squared error: values worked by hand, and terms that do not fit."""

import msgspec
import pytest

from app.domain.experiment import ExperimentTerms
from app.errors import InvalidRequest
from app.scoring.contract import MISSING, Answer, Range
from app.scoring.cost import cost_matrix
from app.scoring.table import METRICS

THREE = ExperimentTerms(
    metric="cost",
    baseline="v1",
    classes=("a", "b", "c"),
    class_shares=(0.5, 0.3, 0.2),
    positive_class="c",
    cost_matrix={"a": {"b": 2.0}, "b": {"a": 5.0, "c": -1.0}},
)
# True class, answer, and how many rows: a confusion matrix with 10 rows at the shares of the reference.
ROWS = [(0, 0, 4), (0, 1, 1), (1, 1, 2), (1, 0, 1), (2, 2, 1), (2, 1, 1)]


def mean(metric, terms=THREE):
    values = [METRICS[metric].value(Answer(c=c), label, terms) for label, c, n in ROWS for _ in range(n)]
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def test_balanced_accuracy_is_the_mean_of_the_recalls_where_shares_are_those_of_the_reference():
    # Recalls 4/5, 2/3 and 1/2; a right answer is worth 1/(3 · share): 2/3, 10/9 and 5/3.
    assert mean("balanced_accuracy") == pytest.approx((4 / 5 + 2 / 3 + 1 / 2) / 3)
    assert METRICS["balanced_accuracy"].range_of(THREE) == Range(0.0, pytest.approx(5 / 3))
    assert METRICS["balanced_accuracy"].score(Answer(c=1), 1, THREE) == pytest.approx(10 / 9)


def test_a_class_without_a_row_in_the_reference_counts_like_the_rarest_that_has_one():
    terms = msgspec.structs.replace(THREE, class_shares=(0.75, 0.25, 0.0))
    assert METRICS["balanced_accuracy"].score(Answer(c=2), 2, terms) == pytest.approx(4 / 3)


def test_recall_is_over_the_rows_of_its_class_alone():
    assert mean("recall") == 0.5
    assert METRICS["recall"].value(Answer(c=0), 0, THREE) is None


def test_cost_is_what_the_matrix_says_and_0_elsewhere():
    # a as b: 2, b as a: 5, c as b: 0.
    assert mean("cost") == pytest.approx((2 + 5) / 10)
    assert METRICS["cost"].score(Answer(c=2), 1, THREE) == -1.0
    assert METRICS["cost"].range_of(THREE) == Range(-1.0, 5.0)


def test_a_full_matrix_has_its_own_least_cost():
    full = msgspec.structs.replace(
        THREE, classes=("a", "b"), cost_matrix={"a": {"a": 1, "b": 4}, "b": {"a": 3, "b": 2}}
    )
    assert METRICS["cost"].range_of(full) == Range(1.0, 4.0)


def test_squared_error_is_the_square_and_an_enormous_one_can_be_counted():
    terms = ExperimentTerms(metric="squared_error", error_range=(0.0, 9.0))
    assert METRICS["squared_error"].score(Answer(v=3.5), 1.0, terms) == 6.25
    assert METRICS["squared_error"].value(Answer(v=1e200), 0.0, terms) == 1e50
    assert METRICS["squared_error"].gain(terms, 6.25, 1.75) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("metric", "label", "worst"),
    [("balanced_accuracy", 0, 0.0), ("recall", 2, 0.0), ("recall", 0, None), ("cost", 0, 5.0)],
)
def test_a_missing_answer_is_the_worst_on_rows_that_count(metric, label, worst):
    assert METRICS[metric].value(MISSING, label, THREE) == worst


@pytest.mark.parametrize("label", [-1, 3, 0.5])
@pytest.mark.parametrize("metric", ["recall", "cost"])
def test_a_label_that_is_no_class_has_no_value(metric, label):
    assert METRICS[metric].score(Answer(c=0), label, THREE) is None


@pytest.mark.parametrize(
    ("metric", "changes", "field", "said"),
    [
        ("recall", {"positive_class": None}, "POSITIVE_CLASS", "use one of a, b, c"),
        ("recall", {"positive_class": "yes"}, "POSITIVE_CLASS", "no class is called 'yes': use one of a, b, c"),
        ("cost", {"cost_matrix": None}, "COST_MATRIX", "use one of a, b, c"),
        ("cost", {"cost_matrix": {"x": {"a": 1}}}, "COST_MATRIX", "no class is called 'x'"),
        ("cost", {"cost_matrix": {"a": {"y": 1}}}, "COST_MATRIX", "no class is called 'y'"),
        ("cost", {"classes": ("a",), "cost_matrix": {"a": {"a": 1}}}, "COST_MATRIX", "all answers cost the same"),
        ("balanced_accuracy", {"class_shares": None}, "EXPERIMENT_METRIC", "publish the model again"),
    ],
)
def test_terms_that_do_not_fit_are_named_with_what_to_do(metric, changes, field, said):
    unfit = METRICS[metric].unfit(msgspec.structs.replace(THREE, **changes))
    assert unfit.variable == field
    assert said in unfit.message


@pytest.mark.parametrize("metric", METRICS)
def test_complete_terms_fit_every_metric(metric):
    assert METRICS[metric].unfit(THREE) is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[1]", "true class"),
        ('{"a": 1}', "true class"),
        ('{"a": {"b": "much"}}', "true class"),
        ("{}", "no cost in it differs from 0"),
        ('{"a": {"b": 0}}', "no cost in it differs from 0"),
        ('{"a": {"b": 1e13}}', "at most 1e+12"),
    ],
)
def test_a_document_that_is_no_cost_matrix_is_refused(document, said):
    with pytest.raises(InvalidRequest, match=r"cost|true") as refused:
        cost_matrix(document)
    assert said in refused.value.message
