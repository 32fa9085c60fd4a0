from __future__ import annotations

import numpy as np
import pytest

from app.drift.joint import MAX_FEATURES, JointTransform, fit_joint, shrunk_correlation
from app.drift.keys import INFINITE_KEY, MISSING_KEY, UNSEEN_KEY

ROWS = np.random.default_rng(0).multivariate_normal([1, 2, 3], [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 4]], 400)


def transform(rows: np.ndarray = ROWS) -> JointTransform:
    joint = fit_joint(rows, list(range(rows.shape[1])))
    assert joint is not None
    return JointTransform(joint)


def test_the_streams_are_those_of_the_inverse_matrix():
    z = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    inverse = np.linalg.inv(shrunk_correlation(z))
    distance = np.sqrt(np.einsum("ij,jk,ik->i", z, inverse, z))
    expected = np.column_stack([distance, z @ inverse / np.sqrt(np.diag(inverse))])
    np.testing.assert_allclose(transform().values(ROWS), expected, atol=2e-4)


def test_rows_are_transformed_alike_alone_and_together():
    together = transform().values(ROWS)
    alone = np.concatenate([transform().values(ROWS[i : i + 1]) for i in range(len(ROWS))])
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("key", [1e300, -1e300, INFINITE_KEY, -INFINITE_KEY, MISSING_KEY, UNSEEN_KEY])
def test_every_key_gives_finite_numbers(key):
    rows = ROWS.copy()
    rows[:, 1] = key
    assert np.isfinite(transform().values(rows)).all()


def test_a_missing_value_is_no_deviation():
    rows = np.array([[1.0, MISSING_KEY, 3.0]])
    middle = np.array([[1.0, ROWS[:, 1].mean(), 3.0]])
    np.testing.assert_allclose(transform().values(rows), transform().values(middle), atol=1e-3)


def test_shrinking_keeps_a_matrix_of_copies_invertible():
    z = np.repeat(np.random.default_rng(0).normal(size=(30, 1)), 8, axis=1)
    assert np.linalg.cond(shrunk_correlation(z)) < 1e6


def test_more_features_than_rows_and_more_than_can_be_joined_work():
    rows = np.random.default_rng(0).normal(size=(20, MAX_FEATURES + 30))
    assert transform(rows).values(rows).shape == (20, 1 + MAX_FEATURES)


@pytest.mark.parametrize("rows", [ROWS[:9], ROWS * [1, 0, 0]])
def test_too_few_rows_or_features_that_vary_have_no_joint_streams(rows):
    assert fit_joint(rows, [0, 1, 2]) is None
