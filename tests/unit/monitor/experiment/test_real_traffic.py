"""The scenarios of bench/realtraffic.py in small, through the projection: seeds are fixed, so each count is too."""

import numpy as np
import pytest

from app.monitor.experiment import comparisons
from tests.unit.monitor.experiment import scenarios


@pytest.fixture(autouse=True)
def few_points_of_the_timeline(monkeypatch):
    """The timeline's intervals would take most of the time."""
    monkeypatch.setattr(comparisons, "next_look", lambda n: 4 * n)


def happened(scenario, requests, replications):
    """In how many of the replications."""
    chances = (np.random.default_rng([4, each]) for each in range(replications))
    return sum(bool(scenario(chance, requests)) for chance in chances)


@pytest.mark.parametrize(
    ("scenario", "requests", "replications", "most"),
    [
        (scenarios.users_one_way, 800, 16, 2),
        (scenarios.users_mixed, 1200, 14, 1),
        (scenarios.users_pareto, 700, 16, 2),
        (scenarios.users_twice, 600, 20, 2),
        (scenarios.fifth_six_times_keyed, 800, 16, 2),
        (scenarios.fifth_six_times, 800, 16, 2),
        (scenarios.all_twice_keyed, 800, 16, 2),
        (scenarios.all_twice, 800, 16, 2),
        (scenarios.small_pool, 1000, 14, 2),
        (scenarios.rewards_of_users, 600, 16, 2),
        (scenarios.sooner_for_one_version, 400, 16, 2),
        (scenarios.sooner_with_zeros, 400, 20, 2),
        (scenarios.sooner_without_zeros, 400, 20, 2),
    ],
)
def test_equal_versions_seldom_have_a_winner(scenario, requests, replications, most):
    assert happened(scenario, requests, replications) <= most


@pytest.mark.parametrize(
    ("scenario", "requests", "replications", "most"),
    [
        (scenarios.wrong_first_balanced, 600, 10, 1),
        (scenarios.right_less_often_shadow, 600, 10, 1),
        (scenarios.users_only_wrong, 800, 14, 1),
        (scenarios.fails_on_the_hardest, 600, 15, 0),
        (scenarios.rewarded_sooner_for_users_who_stay, 1000, 8, 1),
        (scenarios.worse_on_hot_rows, 600, 6, 0),
    ],
)
def test_a_version_that_is_no_better_is_seldom_promoted(scenario, requests, replications, most):
    assert happened(scenario, requests, replications) <= most


def test_a_better_version_is_promoted_although_wrong_answers_are_labelled_first():
    assert happened(scenarios.better_and_labelled, 1000, 10) == 10


@pytest.mark.parametrize(
    ("scenario", "requests", "replications", "most"),
    [
        (scenarios.any_of_eight_misses, 120, 8, 1),
        (scenarios.only_disagreements, 2000, 5, 1),
        (scenarios.half_the_disagreements, 2000, 5, 1),
        (scenarios.only_disagreements_of_users, 2000, 5, 1),
        (scenarios.complaints_only, 2000, 5, 1),
    ],
)
def test_the_intervals_that_are_shown_hold(scenario, requests, replications, most):
    assert happened(scenario, requests, replications) <= most


@pytest.mark.parametrize(
    "scenario", [scenarios.one_slow_client, scenarios.both_fail_alike, scenarios.each_fails_some_users]
)
def test_what_is_no_fault_of_the_version_does_not_roll_it_back(scenario):
    assert happened(scenario, 800, 12) == 0


@pytest.mark.parametrize("scenario", [scenarios.two_backends_one_broken, scenarios.broken_in_shadow])
def test_a_broken_version_is_rolled_back_within_300_failures(scenario):
    assert happened(scenario, 2000, 10) == 10
