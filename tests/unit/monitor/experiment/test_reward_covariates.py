"""Rewards that are predicted from logged features, through the comparison of the monitor."""

import json

import msgspec
import numpy as np
import pytest

from app.domain.experiment import CovariateColumn, ExperimentTerms
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.methods.table import MethodState, new_comparison
from app.stats import two_sample
from app.stats.covariates import design
from app.stats.two_sample import Outcomes

COLUMNS = (CovariateColumn(0, 5.0, 2.0), CovariateColumn(1, level="b"))
TERMS = ExperimentTerms(metric="reward", reward_range=(0.0, 10.0))


def _observations(n: int) -> list[Observation]:
    chance = np.random.default_rng(1)
    made = []
    for place in range(n):
        number, level = round(5 + 2 * chance.normal(), 3), "ab"[place % 2]
        value = min(10.0, max(0.0, number + 2 * (level == "b") + chance.normal()))
        made.append(Observation(place, place, value, chance.random() < 0.5, features=json.dumps([number, level])))
    return made


def test_a_comparison_with_columns_predicts_rewards_from_the_logged_rows():
    seen = _observations(300)
    found = new_comparison(TERMS, COLUMNS).advance(seen)
    outcomes = Outcomes(
        np.array([each.challenger for each in seen]),
        np.array([each.value for each in seen]) / 10,
        np.full(300, 0.5),
        columns=design(COLUMNS, [each.features for each in seen]),
    )
    assert found.state == two_sample.update(two_sample.initial(2), outcomes)
    assert found.state.covariates.in_use


def test_it_survives_json_with_its_columns():
    found = new_comparison(TERMS, COLUMNS).advance(_observations(120))
    assert msgspec.json.decode(msgspec.json.encode(found), type=MethodState) == found


@pytest.mark.parametrize("terms", [TERMS, ExperimentTerms(metric="reward", reward_range=None)])
def test_without_columns_features_change_nothing(terms):
    seen = _observations(60)
    bare = [msgspec.structs.replace(each, features="") for each in seen]
    assert new_comparison(terms).advance(seen) == new_comparison(terms).advance(bare)
