"""New cases: like the rows of a data set, and none of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import datasets

from app.domain.contract import Feature, FeatureContract
from app.simulation import rows
from app.simulation.new_cases import NewCases, new_cases
from app.simulation.rows import BUILT_IN, LabelledRows
from app.tables.names import unique_snake_case

CASES = 20_000


def known(name: str) -> LabelledRows:
    bunch = getattr(datasets, f"load_{name}")()
    features = tuple(Feature(name=each) for each in unique_snake_case([str(column) for column in bunch.feature_names]))
    classes = tuple(str(each) for each in bunch.target_names)
    return rows.built_in(FeatureContract("classification", "target", features, classes), name)


def drawn(data: LabelledRows, name: str, size: int = CASES, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    values, labels = new_cases(data, name).take(0, size, np.random.default_rng(seed))
    return values, np.array(labels)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_value_is_one_that_its_column_has_in_the_class(name: str) -> None:
    data = known(name)
    values, labels = drawn(data, name, 2000)
    of = np.array(data.labels)
    for label in np.unique(of):
        for column in range(values.shape[1]):
            assert set(values[labels == label, column]) <= set(data.values[of == label, column])


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_shares_of_the_classes_are_those_of_the_set(name: str) -> None:
    data = known(name)
    labels, of = drawn(data, name)[1], np.array(data.labels)
    for label in np.unique(of):
        assert np.mean(labels == label) == pytest.approx(np.mean(of == label), abs=0.012)  # 3 standard errors


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_means_spreads_and_rank_correlations_are_those_of_the_class(name: str) -> None:
    data = known(name)
    values, labels = drawn(data, name)
    of = np.array(data.labels)
    for label in np.unique(of):
        new, old = values[labels == label], data.values[of == label]
        assert (new.mean(axis=0) - old.mean(axis=0)) / old.std(axis=0) == pytest.approx(0.0, abs=0.05)
        assert new.std(axis=0) / old.std(axis=0) == pytest.approx(1.0, rel=0.1)
        assert spearmanr(new)[0] == pytest.approx(spearmanr(old)[0], abs=0.14)


def test_hardly_a_case_is_a_recorded_row() -> None:
    for name, most in (("iris", 0.1), ("wine", 0.0), ("breast_cancer", 0.0)):
        data = known(name)
        recorded = {tuple(row) for row in data.values.tolist()}
        assert np.mean([tuple(row) in recorded for row in drawn(data, name, 2000)[0].tolist()]) <= most


def test_the_same_generator_draws_the_same_and_another_something_else() -> None:
    data = known("wine")
    (first, labels), (again, _), (other, _) = (drawn(data, "wine", 300, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert len(labels) == 300
    assert not (first == other).all()


def test_a_regression_is_drawn_jointly_with_its_target() -> None:
    bunch = datasets.load_diabetes(scaled=False)
    contract = FeatureContract("regression", "progression", tuple(Feature(name=each) for each in bunch.feature_names))
    data = LabelledRows(contract, bunch.data, tuple(bunch.target.tolist()))
    values, labels = NewCases(data).take(0, CASES, np.random.default_rng(1))
    assert values.shape == (CASES, 10)
    assert set(labels) <= set(bunch.target)
    new, old = np.column_stack([values, labels]), np.column_stack([bunch.data, bunch.target])
    assert np.corrcoef(new.T) == pytest.approx(np.corrcoef(old.T), abs=0.08)


def test_a_column_that_is_constant_in_a_class_stays_constant() -> None:
    contract = FeatureContract("classification", "t", (Feature(name="a"), Feature(name="b")), ("x", "y"))
    values = np.column_stack([np.arange(40.0), np.repeat([0.0, 1.0], 20)])
    for near in (0.0, 0.75):
        cases = NewCases(LabelledRows(contract, values, ("x",) * 20 + ("y",) * 20), near)
        found, labels = cases.take(0, 200, np.random.default_rng(1))
        assert [{"x": 0.0, "y": 1.0}[str(label)] for label in labels] == found[:, 1].tolist()
