import random
from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from app.domain.experiment import normalised
from app.domain.prediction_id import user_hash
from app.routing.sticky import choose

USERS = 1_000_000
NAMES = ("v1", "v2", "v3", "v4")
positive = st.lists(st.floats(0.01, 1), min_size=2, max_size=4)


@pytest.fixture(scope="module")
def clocks():
    """A row a user, a column a version: the times before they are divided by the weights."""
    keys = [user_hash(b"salt", f"user-{number}").to_bytes(8, "big") for number in range(USERS)]
    return np.column_stack([times(keys, name.encode()) for name in NAMES[:3]])


def times(keys, name):
    """`exponential` of all keys at once; that it is the same is tested below."""
    digests = b"".join([blake2b(name, key=key, digest_size=8).digest() for key in keys])
    return -np.log(((np.frombuffer(digests, ">u8") >> 11) + 0.5) * 2.0**-53)


def cut(clocks, weights):
    """Everybody's version under `weights`, as column numbers."""
    weights = np.array(weights, float)
    with np.errstate(divide="ignore"):
        return np.argmin(clocks[:, : len(weights)] / weights, axis=1)


def chosen(weights, user):
    shares = normalised(dict(zip(NAMES, weights, strict=False)))
    return choose(shares, list(shares), 0.0, user).version


@pytest.mark.parametrize("weights", [(50, 50), (1, 99), (0.1, 99.9), (20, 30, 50), (5, 0, 95), (1, 1, 1)])
def test_a_million_users_share_exactly_by_the_weights(clocks, weights):
    counts = np.bincount(cut(clocks, weights), minlength=len(weights))
    expected = np.array(weights) / sum(weights)
    live = expected > 0
    assert counts[~live].sum() == 0
    assert chisquare(counts[live], USERS * expected[live]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((50, 50), (80, 20)),
        ((99, 1), (1, 99)),
        ((1, 1, 1), (1, 1, 2)),
        ((40, 40, 20), (50, 50, 0)),
        ((9, 1), (81, 9, 10)),
    ],
)
def test_two_versions_or_one_that_grows_or_shrinks_move_the_total_variation_distance(clocks, before, after):
    before, after = [*before, *[0] * (3 - len(before))], [*after, *[0] * (3 - len(after))]
    shares = np.array(before) / sum(before), np.array(after) / sum(after)
    distance = np.maximum(shares[1] - shares[0], 0).sum()
    moved = np.mean(cut(clocks, before) != cut(clocks, after))
    assert moved == pytest.approx(distance, abs=5 * np.sqrt(distance * (1 - distance) / USERS))


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_any_change_moves_no_more_than_the_bound(clocks, before, after):
    some = clocks[:50_000]
    shares = np.array(before) / sum(before), np.array(after) / sum(after)
    distance = np.maximum(shares[1] - shares[0], 0).sum()
    moved = np.mean(cut(some, before) != cut(some, after))
    assert moved <= 2 * distance / (1 + distance) + 0.012


def test_the_choice_is_the_version_whose_time_comes_first(clocks):
    everybody = cut(clocks, (20, 30, 50))
    for number in range(300):
        version = chosen((20, 30, 50), user_hash(b"salt", f"user-{number}"))
        assert version == NAMES[everybody[number]]


@given(user=st.integers(1, 2**48 - 1), weights=positive, grown=st.integers(0, 3), factor=st.floats(1, 100))
def test_a_version_that_grows_only_gains_users(user, weights, grown, factor):
    grown %= len(weights)
    larger = [weight * factor if index == grown else weight for index, weight in enumerate(weights)]
    before, after = chosen(weights, user), chosen(larger, user)
    assert after in (before, NAMES[grown])


@given(user=st.integers(1, 2**48 - 1), weights=positive, draw=st.floats(0, 1, exclude_max=True), data=st.data())
def test_neither_the_draw_nor_the_order_of_the_versions_matters(user, weights, draw, data):
    shares = normalised(dict(zip(NAMES, weights, strict=False)))
    shuffled = data.draw(st.permutations(list(shares)))
    assert choose(shares, shuffled, draw, user).version == chosen(weights, user)


@given(user=st.integers(1, 2**48 - 1), weights=st.lists(st.floats(0.01, 1), min_size=3, max_size=4))
def test_a_version_that_may_not_answer_moves_its_own_users_only(user, weights):
    shares = normalised(dict(zip(NAMES, weights, strict=False)))
    before = choose(shares, list(shares), 0.0, user).version
    without = [name for name in shares if name != "v1"]
    assert choose(shares, without, 0.0, user).version == before or before == "v1"


def test_where_nobody_eligible_has_weight_the_users_share_equally():
    rng = random.Random(20261121)
    weights = {"v1": 1.0, "v2": 0.0, "v3": 0.0}
    counts = Counter(choose(weights, ["v2", "v3"], 0.0, rng.getrandbits(48) or 1).version for _ in range(20_000))
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_the_assignment_of_a_user_never_changes_between_releases():
    users = [user_hash(b"salt", f"user-{number}") for number in range(12)]
    assert "".join(chosen((1, 1, 1), user)[1] for user in users) == "232322232333"
