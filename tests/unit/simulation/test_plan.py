"""What is sent: reproducible, new cases or each row once, distorted where asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.errors import InvalidRequest
from app.simulation.new_cases import NewCases
from app.simulation.plan import Distortion, Once, PlannedRequest, TrafficOptions, parse, planned
from app.simulation.rows import LabelledRows
from tests.unit.simulation.small_service import IRIS

_RNG = np.random.default_rng(7)
_LENGTH = _RNG.normal(4, 2, 400)
VALUES = np.column_stack([_LENGTH + 1, _RNG.normal(3, 0.5, 400), _LENGTH, _LENGTH / 3])
DATA = LabelledRows(IRIS, VALUES, tuple(IRIS.classes[i % 3] for i in range(400)))
CASES = NewCases(DATA)


def sent(**options: object) -> list[PlannedRequest]:
    return list(planned(CASES, TrafficOptions(**{"requests": 2000, **options})))


def matrix(requests: list[PlannedRequest]) -> np.ndarray:
    return np.array([request.row for request in requests])


@pytest.mark.parametrize("seed", [None, 1])
def test_the_rows_of_a_file_are_sent_once_with_their_labels_in_their_order_or_shuffled(seed: int | None) -> None:
    requests = list(planned(Once(DATA, seed), TrafficOptions(requests=2000)))
    rows = [(tuple(request.row), request.label) for request in requests]
    known = [(tuple(row), label) for row, label in zip(VALUES.tolist(), DATA.labels, strict=True)]
    assert sorted(rows) == sorted(known)
    assert (rows == known) is (seed is None)
    assert [request.index for request in requests] == list(range(400))


@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(0, 5), st.floats(0, 1))
def test_the_same_seed_sends_the_same(seed: int, label_rate: float, users: int, noise: float) -> None:
    options = TrafficOptions(requests=600, seed=seed, label_rate=label_rate, users=users, noise=noise)
    assert list(planned(CASES, options)) == list(planned(CASES, options))


def test_another_seed_sends_something_else() -> None:
    assert sent(seed=1) != sent(seed=2)


def test_labels_users_and_drift_do_not_change_which_rows_are_drawn() -> None:
    plain, busy = sent(), sent(label_rate=0.5, users=10, distortions=(Distortion("sepal_width", "shift", 1),))
    assert [request.label for request in plain] == [request.label for request in busy]


@pytest.mark.parametrize("rate", [0.0, 0.8, 1.0])
def test_the_label_rate_is_the_share_that_is_told(rate: float) -> None:
    assert np.mean([request.sends_label for request in sent(label_rate=rate)]) == pytest.approx(rate, abs=0.03)


def test_users_are_so_many_and_nobody_without_the_option() -> None:
    assert {request.user_id for request in sent(users=7)} == {f"user-{number}" for number in range(7)}
    assert {request.user_id for request in sent()} == {None}


def test_noise_moves_each_number_by_its_share_of_the_spread() -> None:
    moved = matrix(sent(noise=0.5)) - matrix(sent())
    assert moved.std(axis=0) / VALUES.std(axis=0) == pytest.approx([0.5] * 4, rel=0.1)


SD = float(_LENGTH.std())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("petal_length:+1sd", lambda x: x + SD),
        ("petal_length:-0.5sd", lambda x: x - SD / 2),
        ("petal_length:+2", lambda x: x + 2),
        ("petal_length:x1.5", lambda x: x * 1.5),
        ("petal_length:x1.5sd", lambda x: _LENGTH.mean() + 1.5 * (x - _LENGTH.mean())),
    ],
)
def test_a_distortion_does_what_it_says_to_its_feature_alone(
    text: str, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    plain, changed = matrix(sent()), matrix(sent(distortions=(parse(text),)))
    assert changed[:, 2] == pytest.approx(expected(plain[:, 2]))
    assert (changed[:, [0, 1, 3]] == plain[:, [0, 1, 3]]).all()


def test_decoupling_keeps_the_values_and_breaks_the_correlation() -> None:
    changed = matrix(sent(distortions=(parse("decouple:petal_width"),)))
    assert set(changed[:, 3]) <= set(VALUES[:, 3])
    assert abs(np.corrcoef(changed[:, 2], changed[:, 3])[0, 1]) < 0.1
    assert np.corrcoef(matrix(sent())[:, 2], matrix(sent())[:, 3])[0, 1] > 0.99


@given(st.integers(0, 2000))
def test_distortions_begin_where_they_should(after: int) -> None:
    plain, changed = matrix(sent()), matrix(sent(distortions=(parse("sepal_width:+9"),), after=after))
    differs = (plain != changed).any(axis=1)
    assert not differs[:after].any()
    assert differs[after:].all()


def test_several_distortions_are_applied_in_turn() -> None:
    both = sent(distortions=(parse("sepal_width:+1"), parse("sepal_width:x2")))
    assert matrix(both)[:, 1] == pytest.approx((matrix(sent())[:, 1] + 1) * 2)


@pytest.mark.parametrize(
    "text", ["", "petal_length", "petal_length:", "petal_length:1sd", "petal_length:+sd", "petal_length:x-1", "x:xinf"]
)
def test_what_is_no_distortion_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is none of"):
        parse(text)


def test_a_distortion_of_an_unknown_feature_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidRequest, match="no feature 'petals'; it has: sepal_length"):
        planned(CASES, TrafficOptions(requests=1, distortions=(parse("petals:+1sd"),)))


def test_categories_and_missing_values_are_sent_as_they_are_and_can_be_decoupled() -> None:
    contract = FeatureContract(
        "classification", "t", (Feature("c", "categorical", categories=("a", "b")), Feature("x", nullable=True)), ("y",)
    )
    values = np.array([["a", 1.0], ["b", float("nan")]], dtype=object)
    data = Once(LabelledRows(contract, values, ("y", "y")))
    options = TrafficOptions(requests=50, noise=0.1, distortions=(parse("decouple:c"), parse("x:+1sd")))
    requests = list(planned(data, options))
    assert {request.row[0] for request in requests} == {"a", "b"}
    assert None in {request.row[1] for request in requests}
    with pytest.raises(InvalidRequest, match="categorical"):
        planned(data, TrafficOptions(requests=1, distortions=(parse("c:+1sd"),)))
