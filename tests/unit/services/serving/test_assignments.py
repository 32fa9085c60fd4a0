"""Assignments without predictions: the same version as a prediction gives the user, and nothing is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction import Outputs
from app.domain.prediction_id import Signer
from app.errors import NotReady, UnknownVersion
from app.services.serving.assignments import Assignments
from app.services.serving.predictor import Predictor
from tests.builders import configuration, live_models, loaded_models, models_of, request_for

VERSIONS = ("v1", "v2", "v3")
SIGNER = Signer(b"k" * 32, b"proc")
AT_US = 1_700_000_000_000_000
USERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
WEIGHTS = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]), min_size=3, max_size=3).filter(any)


class Constant:
    def predict(self, rows):
        return Outputs(class_ids=np.zeros(len(rows), int))


class RememberingSink:
    def __init__(self):
        self.records, self.failures = [], []

    def record(self, exposure):
        self.records.append(exposure)

    def failed(self, version, reason):
        self.failures.append((version, reason))


def serve(weights, **changes):
    """Assignments and a predictor over the same models and configuration; what they record; and the live models."""
    live = live_models(models_of(**dict.fromkeys(VERSIONS, Constant())), split(weights, **changes))
    sink = RememberingSink()
    predictor = Predictor(live, sink, SIGNER, b"salt", lambda: 0.3, lambda: AT_US)
    return Assignments(live, sink, SIGNER, b"salt", lambda: AT_US), predictor, sink, live


def split(weights, **changes):
    total = sum(weights)
    shares = {name: weight / total for name, weight in zip(VERSIONS, weights, strict=False)}
    return configuration(shares, **{"epoch": 3, **changes})


@given(
    users=st.lists(USERS, min_size=1, max_size=5),
    before=WEIGHTS,
    after=WEIGHTS,
    policy=st.sampled_from(["weighted", "sticky"]),
)
def test_a_user_gets_the_version_that_a_prediction_gives_before_and_after_a_change_of_weights(
    users, before, after, policy
):
    assignments, predictor, sink, live = serve(before, policy=policy)
    for weights in (before, after):
        live.configure(split(weights, policy=policy))
        asked = [assignments.of(user) for user in users]
        assert sink.records == []
        served = [predictor.predict(request_for(predictor, user_id=user)).exposure for user in users]
        assert [each.version for each in asked] == [each.version for each in served]
        assert [each.propensity for each in asked] == [each.propensity for each in served]
        sink.records.clear()


def test_under_a_bandit_the_version_stays_with_the_user_at_the_same_weights():
    assignments, *_ = serve((0.8, 0.2), policy="thompson")
    versions = [assignments.of(f"u-{number}").version for number in range(2000)]
    assert versions == [assignments.of(f"u-{number}").version for number in range(2000)]
    assert 0.75 < versions.count("v1") / 2000 < 0.85


def test_an_exposure_is_recorded_with_its_propensity_and_its_id_says_that_nothing_was_answered():
    assignments, _, sink, _ = serve((0.75, 0.25))
    assigned = assignments.of("u-1")
    exposure = assignments.expose("u-1", None, "request")
    fact = SIGNER.verify(exposure.prediction_id)
    assert sink.records == [exposure]
    assert (exposure.version, exposure.propensity, exposure.epoch) == (assigned.version, assigned.propensity, 3)
    assert (fact.counts, fact.randomised, fact.reported, fact.user_hash) == (True, True, True, exposure.user_hash)


def test_a_prediction_is_no_reported_exposure():
    _, predictor, _, _ = serve((0.5, 0.5))
    exposure = predictor.predict(request_for(predictor, user_id="u-1")).exposure
    assert not SIGNER.verify(exposure.prediction_ids[0]).reported


@pytest.mark.parametrize(
    "case",
    [pytest.param({"version": "other"}, id="a cached flag"), pytest.param({"synthetic": True}, id="test traffic")],
)
def test_what_chance_did_not_give_in_an_experiment_does_not_count(case):
    assignments, _, sink, _ = serve((0.5, 0.5))
    own = assignments.of("u-1").version
    version = {"v1": "v2", "v2": "v1"}[own] if "version" in case else own
    exposure = assignments.expose("u-1", version, "request", synthetic=case.get("synthetic", False))
    fact = SIGNER.verify(exposure.prediction_id)
    assert (exposure.version, exposure.counts, fact.counts, fact.randomised) == (version, False, False, False)
    assert (exposure.propensity is None) == ("version" in case)
    assert sink.records == [exposure]


def test_a_version_that_is_not_loaded_is_refused():
    assignments, _, sink, _ = serve((0.5, 0.5))
    with pytest.raises(UnknownVersion, match="no version 'v9' is loaded") as refusal:
        assignments.expose("u-1", "v9", "request")
    assert refusal.value.field == "version"
    assert sink.records == []


def test_without_a_model_there_is_no_assignment():
    live = live_models(loaded_models(), configuration({"v1": 1.0}))
    assignments = Assignments(live, RememberingSink(), SIGNER, b"salt", lambda: AT_US)
    with pytest.raises(NotReady):
        assignments.of("u-1")


def with_another_key(live):
    live.foreign = lambda: True


def without_configuration(live):
    live.configure(configuration({"v1": 0.5, "v2": 0.5}, epoch=0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_another_key, "key of this process is not that of the store"),
        (without_configuration, "has not read the configuration"),
    ],
)
def test_a_worker_that_does_not_know_the_deployments_split_assigns_nobody(change, said):
    assignments, _, sink, live = serve([1.0, 1.0, 0.0])
    change(live)
    for use in (lambda: assignments.of("u1"), lambda: assignments.expose("u1", "v1", "r")):
        with pytest.raises(NotReady, match=said):
            use()
    assert sink.records == []


def test_a_worker_that_lacks_a_version_with_traffic_assigns_nobody():
    assignments, _, sink, live = serve([1.0, 1.0, 0.0])
    live.configure(configuration({"v1": 0.5, "v9": 0.5}))
    with pytest.raises(NotReady, match="v9 has 50 % of the traffic"):
        assignments.of("u1")
    with pytest.raises(NotReady, match="v9 has 50 % of the traffic"):
        assignments.expose("u1", "v1", "r")
    assert sink.records == []
