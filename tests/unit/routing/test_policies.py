"""The battery that every routing policy passes; a new policy is tested by being in the table."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from app.domain.experiment import normalised
from app.routing.policies import POLICIES, policy_for

raw_weights = st.dictionaries(
    st.from_regex(r"v[0-9]", fullmatch=True), st.floats(0, 100).map(lambda w: round(w, 3)), min_size=1, max_size=5
).filter(lambda weights: max(weights.values()) > 0)
draws = st.floats(0, 1, exclude_max=True)
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


@every_policy
@given(weights=raw_weights, draw=draws)
def test_the_chosen_version_has_weight_and_its_probability_is_its_share(policy, weights, draw):
    shares = normalised(weights)
    choice = policy(shares, list(shares), draw, 0)
    assert weights[choice.version] > 0
    assert choice.propensity == pytest.approx(shares[choice.version])


@every_policy
@pytest.mark.parametrize("weights", [(50, 50), (1, 99), (20, 30, 50), (0.1, 0.1, 0.8), (5, 0, 95), (1, 2, 3, 4, 5)])
def test_the_realised_split_of_100000_draws_agrees_with_the_weights(policy, weights):
    shares = normalised({f"v{number}": weight for number, weight in enumerate(weights, start=1)})
    rng = random.Random(20261121)
    counts = Counter(policy(shares, list(shares), rng.random(), 0).version for _ in range(100_000))
    live = [version for version, share in shares.items() if share > 0]
    assert sum(counts[version] for version in live) == 100_000
    assert chisquare([counts[v] for v in live], [100_000 * shares[v] for v in live]).pvalue > 1e-3


@every_policy
@given(draw=draws)
def test_weights_0_and_1_never_choose_the_first(policy, draw):
    assert policy({"v1": 0.0, "v2": 1.0}, ["v1", "v2"], draw, 0).version == "v2"


@every_policy
@given(draw=draws)
def test_only_eligible_versions_are_chosen_and_share_by_their_weights(policy, draw):
    choice = policy({"v1": 0.5, "v2": 0.3, "v3": 0.2}, ["v2", "v3"], draw, 0)
    assert choice.version in ("v2", "v3")
    assert choice.propensity == pytest.approx({"v2": 0.6, "v3": 0.4}[choice.version])


@every_policy
@given(draw=draws)
def test_versions_without_weight_still_answer_when_nobody_else_can(policy, draw):
    choice = policy({"v1": 1.0, "v2": 0.0, "v3": 0.0}, ["v2", "v3"], draw, 0)
    assert choice.version in ("v2", "v3")
    assert choice.propensity == 0.5


@every_policy
@given(user=st.integers(1, 2**48 - 1), draw=draws)
def test_a_named_user_changes_neither_who_is_eligible_nor_the_probability(policy, user, draw):
    choice = policy({"v1": 0.5, "v2": 0.3, "v3": 0.2, "v4": 0.0}, ["v2", "v3", "v4"], draw, user)
    assert choice.propensity == pytest.approx({"v2": 0.6, "v3": 0.4}[choice.version])


@pytest.mark.parametrize(
    ("name", "user", "assignment"),
    [
        ("weighted", 0, "weighted"),
        ("weighted", 7, "sticky"),
        ("sticky", 0, "weighted"),
        ("sticky", 7, "sticky"),
        ("thompson", 0, "bandit"),
        ("thompson", 7, "bandit"),
    ],
)
def test_the_policy_and_the_user_decide_the_kind_of_assignment(name, user, assignment):
    assert policy_for(name, user)({"v1": 1.0}, ["v1"], 0.5, user).assignment == assignment
