"""The split, the rows and the pipelines that variants are fitted with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from app.domain.contract import Feature, FeatureContract
from app.training.columns import categorical, numeric
from app.training.features import digest, examples_of, features_of, missing_in, rows_of
from app.training.fit import inputs_for, pipeline_for, stratified
from app.training.task import truth_of

COLUMNS = (
    numeric("Age (years)", np.array([30.0, np.nan, 50.0, 70.0])),
    categorical("city", ["Rome", "Paris", None, "Rome"]),
    categorical("member", ["true", "false", "true", "true"]),
)
LABELS = np.array(["no", "yes", "yes", "no"])


def contract_of(*features):
    return FeatureContract(task="classification", target="y", features=features, classes=("no", "yes"))


def test_features_describe_their_columns():
    age, city, member = features_of(COLUMNS)
    assert (age.name, age.source_name, age.nullable) == ("age", "Age (years)", True)
    assert (age.minimum, age.median, age.maximum) == (30.0, 50.0, 70.0)
    assert (city.categories, city.nullable, city.source_name) == (("Paris", "Rome"), True, None)
    assert (member.categories, member.nullable) == (("false", "true"), False)


def test_ranges_are_those_of_the_training_rows_alone():
    (age,) = features_of(COLUMNS[:1], np.array([0, 2]))
    assert (age.minimum, age.maximum, age.nullable) == (30.0, 50.0, True)


def test_rows_are_floats_where_all_features_are_numeric_and_objects_else():
    assert rows_of(COLUMNS[:1]).dtype == np.float64
    mixed = rows_of(COLUMNS)
    assert mixed.dtype == object
    assert mixed[0].tolist() == [30.0, "Rome", "true"]
    assert missing_in(mixed).tolist() == [[False] * 3, [True, False, False], [False, True, False], [False] * 3]


def test_numeric_features_need_no_pipeline():
    model = LogisticRegression()
    assert pipeline_for(contract_of(Feature("a"), Feature("b")), model, scale=False) is model


@pytest.mark.parametrize(
    ("nullable", "scale", "steps"),
    [(True, False, ["impute", "model"]), (False, True, ["scale", "model"]), (True, True, ["impute", "scale", "model"])],
)
def test_numeric_features_are_imputed_and_scaled_as_needed(nullable, scale, steps):
    pipeline = pipeline_for(contract_of(Feature("a", nullable=nullable)), LogisticRegression(), scale=scale)
    assert isinstance(pipeline, Pipeline)
    assert [name for name, _ in pipeline.steps] == steps


def fitted():
    contract = contract_of(*features_of(COLUMNS))
    pipeline = pipeline_for(contract, LogisticRegression(), scale=True)
    return contract, pipeline.fit(inputs_for(contract, rows_of(COLUMNS)), LABELS)


def test_a_pipeline_of_mixed_features_answers_rows_with_gaps():
    contract, pipeline = fitted()
    rows = np.empty((2, 3), dtype=object)
    rows[:] = [[float("nan"), "Paris", "false"], [20.0, None, "true"]]
    assert set(pipeline.predict(inputs_for(contract, rows))) <= {"no", "yes"}


def test_an_unknown_category_is_an_error():
    contract, pipeline = fitted()
    rows = np.array([[1.0, "Berlin", "true"]], dtype=object)
    with pytest.raises(ValueError, match="unknown categories"):
        pipeline.predict(inputs_for(contract, rows))


def test_the_digest_changes_with_any_value():
    contract, truth = contract_of(*features_of(COLUMNS)), truth_of(categorical("y", LABELS.tolist()), "classification")
    rows = rows_of(COLUMNS)
    changed = rows.copy()
    changed[0, 0] = 31.0
    assert digest(contract, rows, truth) == digest(contract, rows.copy(), truth) != digest(contract, changed, truth)


def test_examples_show_each_class_and_write_gaps_as_none():
    truth = truth_of(categorical("y", LABELS.tolist()), "classification")
    assert examples_of(rows_of(COLUMNS), truth) == ((30.0, "Rome", "true"), (None, "Paris", "false"))


def test_examples_of_quantities_run_from_small_to_large():
    values = np.arange(20.0)[::-1]
    examples = examples_of(values[:, None], truth_of(numeric("y", values), "regression"), limit=3)
    assert examples == ((0.0,), (10.0,), (19.0,))


strata_lists = st.lists(st.integers(0, 3), min_size=2, max_size=60)


def whole(strata, seed=0, first=None):
    strata = np.array(strata)
    return stratified(strata, np.arange(len(strata)) if first is None else first, seed)


@given(strata_lists, st.integers(0, 2**32 - 1))
def test_each_row_is_on_exactly_one_side(strata, seed):
    split = whole(strata, seed)
    assert sorted([*split.training, *split.holdout]) == list(range(len(strata)))


@given(strata_lists)
def test_each_class_of_two_or_more_is_on_both_sides(strata):
    split = whole(strata)
    for stratum in set(strata):
        trained, held = (np.array(strata)[side] == stratum for side in (split.training, split.holdout))
        assert trained.any()
        assert held.any() or strata.count(stratum) == 1


def test_a_fifth_of_each_class_is_held_out():
    split = whole([0] * 50 + [1] * 100)
    assert np.sort(split.holdout < 50).tolist() == [False] * 20 + [True] * 10


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    first, again, other = whole([0] * 50, 1), whole([0] * 50, 1), whole([0] * 50, 2)
    assert first.holdout.tolist() == again.holdout.tolist() != other.holdout.tolist()


def test_copies_stay_with_their_original():
    first = np.array([*range(20), *range(20)])
    split = whole([0] * 40, first=first)
    assert not set(first[split.training]) & set(first[split.holdout])
