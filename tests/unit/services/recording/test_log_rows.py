import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.columns import union_of
from app.domain.contract import Feature
from app.domain.layouts import RequestColumns
from app.domain.prediction import CIRCUIT_OPEN, Failure, Outputs
from app.services.recording.log_rows import log_rows
from tests import builders
from tests.unit.services.recording.recorders import CONTRACT, LOADED, Constant, FailsOn, exposure, models_of


def never(version, error):
    raise error


def rows_of(*exposures, loaded_models=LOADED, on_failure=never):
    return [row for batch in log_rows(exposures, loaded_models, on_failure) for row in batch]


def failures_of(rows):
    return [None if row.failed is None else msgspec.json.decode(row.failed) for row in rows]


def answers(row):
    return {version: answer["c"] for version, answer in msgspec.json.decode(row.answers).items()}


def test_a_row_has_the_answers_of_both_versions_with_their_probabilities():
    (row,) = rows_of(exposure("v1"))
    assert msgspec.json.decode(row.answers) == {"v1": {"c": 0, "p": [0.75, 0.25]}, "v2": {"c": 1, "p": [0.25, 0.75]}}


def test_a_batch_is_a_row_each_under_its_own_id():
    asked = exposure("v1", rows=[(1.0, 2.0), (3.0, 4.0)])
    assert [(row.prediction_id, row.features) for row in rows_of(asked)] == [
        (asked.prediction_ids[0], "[1.0,2.0]"),
        (asked.prediction_ids[1], "[3.0,4.0]"),
    ]


def test_rows_stay_in_the_order_of_serving_whichever_version_served():
    asked = [exposure(version) for version in ("v2", "v1", "v2", "v1")]
    assert [row.prediction_id for row in rows_of(*asked)] == [each.prediction_ids[0] for each in asked]


def test_a_version_is_asked_once_for_all_rows_that_another_served():
    loaded_models = models_of(v1=Constant(0), v2=Constant(1))
    rows_of(*[exposure("v1") for _ in range(5)], loaded_models=loaded_models)
    assert [version.runtime.calls for version in loaded_models.versions.values()] == [[], [5]]


def test_a_missing_value_is_null():
    (row,) = rows_of(exposure(rows=[(float("nan"), 1.0)]))
    assert row.features == "[null,1.0]"


def test_categories_are_kept_as_text():
    texts = (Feature(name="a", kind="categorical"), Feature(name="b", kind="categorical", nullable=True))
    layout = builders.layout_of(msgspec.structs.replace(CONTRACT, features=texts))
    values = np.array([["a\u2028b\n", None]], dtype=object)
    (row,) = rows_of(exposure(rows=values, layout=layout, outputs=Constant(0).predict([0])))
    assert msgspec.json.decode(row.features) == ["a\u2028b\n", None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_numbers_lose_no_digit(values):
    (row,) = rows_of(exposure(rows=[values]))
    assert msgspec.json.decode(row.features) == values


def test_a_shadow_that_fails_is_reported_and_left_out():
    failures = []
    (row,) = rows_of(
        exposure("v1"),
        loaded_models=models_of(v1=Constant(0), v2=FailsOn(1, bad=5.0)),
        on_failure=lambda *a: failures.append(a),
    )
    assert answers(row) == {"v1": 0}
    assert [version for version, _ in failures] == ["v2"]


def test_a_row_that_a_shadow_cannot_answer_costs_no_other_row_its_answer():
    loaded_models = models_of(v1=Constant(0), v2=FailsOn(1, bad=9.0))
    failures = []
    asked = [exposure("v1", rows=[(9.0 if number == 3 else 1.0, 0.0)]) for number in range(8)]
    rows = rows_of(*asked, loaded_models=loaded_models, on_failure=lambda *a: failures.append(a))
    assert ["v2" in answers(row) for row in rows] == [number != 3 for number in range(8)]
    assert len(failures) == 1


@pytest.mark.parametrize(
    "wrong", [Outputs(), Outputs(class_ids=np.zeros(2)), Outputs(class_ids=np.zeros(1), probabilities=np.zeros((2, 2)))]
)
def test_a_shadow_whose_outputs_do_not_fit_the_rows_has_failed(wrong):
    class Wrong:
        def predict(self, rows):
            return wrong

    failures = []
    (row,) = rows_of(
        exposure("v1"), loaded_models=models_of(v1=Constant(0), v2=Wrong()), on_failure=lambda *a: failures.append(a)
    )
    assert answers(row) == {"v1": 0}
    assert len(failures) == 1


def test_a_version_that_is_served_no_more_is_logged_without_shadows():
    (row,) = rows_of(exposure("v0", layout=builders.layout_of(CONTRACT, ("v0", "v1", "v2"))))
    assert answers(row) == {"v0": 0}


def test_a_regression_is_logged_as_a_number():
    class Half:
        def predict(self, rows):
            return Outputs(values=np.full(len(rows), 0.5))

    (row,) = rows_of(
        exposure("v1", outputs=Outputs(values=np.array([1.5]))), loaded_models=models_of(v1=Constant(0), v2=Half())
    )
    assert msgspec.json.decode(row.answers) == {"v1": {"v": 1.5}, "v2": {"v": 0.5}}


def test_a_model_without_probabilities_is_logged_without_them():
    (row,) = rows_of(exposure("v1", outputs=Outputs(class_ids=np.array([1]))), loaded_models=models_of(v1=Constant(0)))
    assert msgspec.json.decode(row.answers) == {"v1": {"c": 1}}


def test_own_keys_go_with_their_rows():
    rows = rows_of(exposure(rows=[(1.0, 2.0), (3.0, 4.0)], keys=("a", "注文-2")), exposure())
    assert [row.own_key for row in rows] == ["a", "注文-2", None]


def test_a_row_that_all_versions_answered_has_no_failures():
    assert failures_of(rows_of(exposure("v1"), exposure("v2"))) == [None, None]


class FailsOnAny:
    """Fails on every call with a row whose first feature is in `bad`."""

    def __init__(self, bad):
        self.bad = list(bad)

    def predict(self, rows):
        if np.isin(rows[:, 0], self.bad).any():
            raise RuntimeError("no luck")
        return Constant(1).predict(rows)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_a_shadow_fails_on_exactly_the_rows_that_it_cannot_answer(sizes, data):
    count = sum(sizes)
    bad = data.draw(st.sets(st.integers(0, count - 1)))
    numbers = iter(range(count))
    asked = [exposure("v1", rows=[(next(numbers), 0.0) for _ in range(size)]) for size in sizes]
    reported = []
    rows = rows_of(
        *asked,
        loaded_models=models_of(v1=Constant(0), v2=FailsOnAny(bad)),
        on_failure=lambda *failure: reported.append(failure),
    )
    assert failures_of(rows) == [["v2"] if number in bad else None for number in range(count)]
    assert ["v2" in answers(row) for row in rows] == [number not in bad for number in range(count)]
    starts = np.cumsum([0, *sizes])
    assert len(reported) == len({int(np.searchsorted(starts, number, side="right")) for number in bad})


def test_the_calls_to_find_failing_rows_are_limited_and_what_they_leave_together_has_failed():
    calls = []

    class Fails:
        def predict(self, rows):
            calls.append(len(rows))
            raise RuntimeError("no luck")

    asked = exposure("v1", rows=np.zeros((10_000, 2)))
    rows = rows_of(asked, loaded_models=models_of(v1=Constant(0), v2=Fails()), on_failure=lambda *failure: None)
    assert failures_of(rows) == [["v2"]] * 10_000
    assert 4000 < len(calls) <= 4096


def test_a_few_failing_rows_of_a_large_batch_cost_no_other_row_its_answer():
    bad = range(7, 20_000, 1999)
    asked = exposure("v1", rows=[(float(number), 0.0) for number in range(20_000)])
    loaded_models = models_of(v1=Constant(0), v2=FailsOnAny(bad))
    rows = rows_of(asked, loaded_models=loaded_models, on_failure=lambda *failure: None)
    assert [number for number, row in enumerate(rows) if row.failed] == [*bad]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "outputs",
    [
        Outputs(values=np.array([1.0, NAN, 2.0])),
        Outputs(values=np.array([1.0, -INF, 2.0])),
        Outputs(class_ids=np.zeros(3, int), probabilities=np.array([[0.5, 0.5], [NAN, 0.5], [1.0, 0.0]])),
        Outputs(class_ids=np.zeros(3, int), probabilities=np.array([[0.5, 0.5], [0.5, INF], [1.0, 0.0]])),
    ],
)
def test_an_answer_in_shadow_that_is_not_finite_is_a_failure_on_its_row(outputs):
    class Given:
        def predict(self, rows):
            return outputs

    reported = []
    rows = rows_of(
        exposure("v1", rows=[(1.0, 2.0)] * 3),
        loaded_models=models_of(v1=Constant(0), v2=Given()),
        on_failure=lambda version, error: reported.append((version, type(error).__name__)),
    )
    assert failures_of(rows) == [None, ["v2"], None]
    assert ["v2" in msgspec.json.decode(row.answers) for row in rows] == [True, False, True]
    assert reported == [("v2", "NotFinite")]


def fallback(reason, rows=((5.0, 3.0),)):
    """What is left of a request for which v1 was chosen and v2 answered."""
    return exposure("v2", rows=rows, chosen="v1", assignment="fallback", failures=(Failure("v1", reason),))


def test_a_version_that_raised_when_it_was_to_serve_has_failed_on_every_row_and_is_not_asked_again():
    loaded_models = models_of(v1=Constant(0), v2=Constant(1))
    rows = rows_of(fallback("RuntimeError", rows=[(1.0, 2.0)] * 2), loaded_models=loaded_models)
    assert failures_of(rows) == [["v1"], ["v1"]]
    assert [[*answers(row)] for row in rows] == [["v2"], ["v2"]]
    assert loaded_models.versions["v1"].runtime.calls == []


def test_a_version_whose_circuit_was_open_is_asked_in_shadow_and_has_not_failed():
    (row,) = rows_of(fallback(CIRCUIT_OPEN))
    assert row.failed is None
    assert {*answers(row)} == {"v1", "v2"}


def test_a_version_whose_circuit_was_open_fails_in_shadow_like_any_other():
    loaded_models = models_of(v1=FailsOn(0, bad=5.0), v2=Constant(1))
    rows = rows_of(fallback(CIRCUIT_OPEN), loaded_models=loaded_models, on_failure=lambda *failure: None)
    assert failures_of(rows) == [["v1"]]


def test_in_one_batch_a_version_is_asked_only_for_the_requests_on_which_it_has_not_raised():
    loaded_models = models_of(v1=Constant(0), v2=Constant(1))
    asked = [exposure("v2"), fallback("ValueError", rows=[(1.0, 2.0)] * 3), fallback(CIRCUIT_OPEN), exposure("v2")]
    rows = rows_of(*asked, loaded_models=loaded_models)
    assert failures_of(rows) == [None, ["v1"], ["v1"], ["v1"], None, None]
    assert ["v1" in answers(row) for row in rows] == [True, False, False, False, True, True]
    assert sum(loaded_models.versions["v1"].runtime.calls) == 3


def test_failures_to_serve_and_in_shadow_are_listed_together():
    loaded_models = models_of(v1=Constant(0), v2=Constant(1), v3=FailsOn(1, bad=5.0))
    rows = rows_of(fallback("RuntimeError"), loaded_models=loaded_models, on_failure=lambda *failure: None)
    assert failures_of(rows) == [["v1", "v3"]]


@pytest.mark.parametrize("loaded_models", [models_of(v2=Constant(1)), models_of(v4=Constant(1))])
def test_a_failure_to_serve_is_kept_where_no_shadow_runs(loaded_models):
    assert failures_of(rows_of(fallback("RuntimeError"), loaded_models=loaded_models)) == [["v1"]]


def test_a_forced_answer_has_shadows_that_may_fail():
    forced = exposure("v1", assignment="forced", propensity=None, counts=False)
    loaded_models = models_of(v1=Constant(0), v2=FailsOn(1, bad=5.0))
    rows = rows_of(forced, loaded_models=loaded_models, on_failure=lambda *failure: None)
    assert failures_of(rows) == [["v2"]]


def test_a_version_answers_with_its_own_columns_or_not_at_all():
    class Sum:
        def predict(self, rows):
            return Outputs(values=rows.sum(axis=1))

    houses = msgspec.structs.replace(CONTRACT, task="regression", classes=())
    more = msgspec.structs.replace(houses, features=(Feature(name="c"), Feature(name="a")))
    models = builders.loaded_models(
        builders.loaded_version("v1", Sum(), houses), builders.loaded_version("v2", Sum(), more)
    )
    columns = RequestColumns("v1", union_of("v1", {"v1": houses, "v2": more}))
    both, without = columns.row({"a": 1.0, "b": 2.0, "c": 40.0}), columns.row([1.0, 2.0])
    served = [
        exposure("v1", rows, layout=layout, outputs=Outputs(values=np.array([3.0]))) for rows, layout in (both, without)
    ]
    logged, lacking = rows_of(*served, loaded_models=models)
    assert msgspec.json.decode(logged.answers) == {"v1": {"v": 3.0}, "v2": {"v": 41.0}}
    assert (logged.features, logged.lacking) == ("[1.0,2.0,40.0]", None)
    assert [column.name for column in logged.layout.columns] == ["a", "b", "c"]
    assert msgspec.json.decode(lacking.answers) == {"v1": {"v": 3.0}}
    assert (lacking.features, lacking.lacking, lacking.layout) == ("[1.0,2.0]", '["v2"]', None)
