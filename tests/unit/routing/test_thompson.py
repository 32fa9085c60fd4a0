import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.thompson import Beliefs, probabilities_to_be_best

outcomes = st.builds(Beliefs, st.integers(0, 10**6), st.integers(0, 10**6))


@pytest.mark.parametrize(
    "counts",
    [
        ((0, 0), (0, 0)),
        ((3, 1), (1, 3)),
        ((90, 10), (80, 20)),
        ((9000, 1000), (8990, 1010)),
        ((5, 5), (0, 0), (60, 40)),
    ],
)
def test_the_shares_are_those_of_sampling_from_the_posteriors(counts):
    rng = np.random.default_rng(20261121)
    drawn = np.array([rng.beta(a + 1, b + 1, 400_000) for a, b in counts])
    sampled = np.bincount(drawn.argmax(axis=0), minlength=len(counts)) / drawn.shape[1]
    shares = probabilities_to_be_best({f"v{i}": Beliefs(*each) for i, each in enumerate(counts)}, least=0.0)
    assert list(shares.values()) == pytest.approx(sampled, abs=0.004)


@given(st.dictionaries(st.from_regex(r"v[0-9]", fullmatch=True), outcomes, min_size=1, max_size=5))
def test_the_shares_sum_to_one_and_none_is_below_the_floor(beliefs):
    shares = probabilities_to_be_best(beliefs, least=0.05)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0.05 - 1e-12


def test_more_versions_than_the_floor_has_room_for_share_equally():
    beliefs = {f"v{number}": Beliefs(10 * number, 5) for number in range(4)}
    assert list(probabilities_to_be_best(beliefs, least=0.4).values()) == pytest.approx([0.25] * 4)


def test_the_same_beliefs_give_the_same_shares_to_the_last_digit():
    beliefs = {"v1": Beliefs(812, 88), "v2": Beliefs(841, 71)}
    assert probabilities_to_be_best(beliefs) == probabilities_to_be_best(dict(beliefs))
