import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction import Outputs
from app.services.recording.log_rows import log_rows
from tests.unit.services.recording.recorders import LOADED, Constant, FailsOn, exposure, models_of


def never(version, error):
    raise error


def rows_of(*exposures, loaded_models=LOADED, on_failure=never):
    return log_rows(exposures, loaded_models, on_failure)


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
    (row,) = rows_of(exposure(rows=np.array([["a\u2028b\n", None]], dtype=object), outputs=Constant(0).predict([0])))
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
    (row,) = rows_of(exposure("v0"))
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
