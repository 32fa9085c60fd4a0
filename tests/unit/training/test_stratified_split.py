import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.training.split import stratified

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
