import msgspec
import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.domain.prediction_id import Signer
from app.errors import InvalidRequest, ModelFailed, NotReady, UnknownVersion
from app.inference.sklearn_runtime import SklearnRuntime
from app.services.serving.live_models import LiveModels
from app.services.serving.predictor import Predictor
from tests.builders import configuration, live_models, loaded_models, loaded_version, models_of, request_for

KEY = b"k" * 32
ROWS = np.array([[1.0], [2.0]])


class Constant:
    def __init__(self, class_id, probabilities=None):
        self.class_id, self.probabilities = class_id, probabilities

    def predict(self, rows):
        shares = None if self.probabilities is None else np.tile(self.probabilities, (len(rows), 1))
        return Outputs(class_ids=np.full(len(rows), self.class_id), probabilities=shares)


class Failing:
    def predict(self, rows):
        raise RuntimeError("no luck")


class RememberingSink:
    def __init__(self):
        self.exposures, self.failures = [], []

    def record(self, exposure):
        self.exposures.append(exposure)

    def failed(self, version, reason):
        self.failures.append((version, reason))


def make(runtimes, weights, draw=0.0, epoch=3):
    live = live_models(models_of(**runtimes), configuration(weights, epoch=epoch))
    sink = RememberingSink()
    return Predictor(live, sink, Signer(KEY, b"proc"), b"salt", lambda: draw, lambda: 1_700_000_000_000_000), sink


def test_the_weights_choose_and_the_id_says_what_was_served():
    predictor, sink = make({"v1": Constant(0), "v2": Constant(1)}, {"v1": 0.4, "v2": 0.6}, draw=0.7)
    served = predictor.predict(request_for(predictor, ROWS))
    fact = Signer(KEY, b"else").verify(served.exposure.prediction_ids[0])
    assert (fact.version_ordinal, fact.answer, fact.epoch) == (2, 1.0, 3)
    assert fact.counts
    assert fact.randomised
    assert sink.exposures == [served.exposure]
    assert (served.exposure.assignment, served.exposure.propensity) == ("weighted", 0.6)


def test_a_forced_version_answers_and_never_counts():
    predictor, _ = make({"v1": Constant(0), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    exposure = predictor.predict(request_for(predictor, ROWS, forced="v2")).exposure
    assert (exposure.version, exposure.assignment, exposure.counts, exposure.propensity) == (
        "v2",
        "forced",
        False,
        None,
    )


def test_another_version_answers_for_one_that_fails():
    predictor, sink = make({"v1": Failing(), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    exposure = predictor.predict(request_for(predictor, ROWS)).exposure
    assert (exposure.version, exposure.chosen, exposure.assignment) == ("v2", "v1", "fallback")
    assert [failure.version for failure in exposure.failures] == ["v1"]
    assert sink.failures == [("v1", "RuntimeError: no luck")]


def with_and_without_probabilities(v1, weights, draw=0.0):
    """A predictor of v1, which gives probabilities, and v2, which gives none."""
    metrics = {"hold_out": {"log_loss": None}}
    versions = (loaded_version("v1", v1), loaded_version("v2", Constant(1), manifest={"metrics": metrics}))
    live, sink = live_models(loaded_models(*versions), configuration(weights)), RememberingSink()
    return Predictor(live, sink, Signer(KEY, b"proc"), b"salt", lambda: draw, lambda: 1_700_000_000_000_000), sink


@pytest.mark.parametrize("draw", [0.0, 0.99])
def test_who_needs_probabilities_gets_a_version_that_gives_them_and_chance_refuses_nobody(draw):
    predictor, _ = with_and_without_probabilities(Constant(0, (0.9, 0.1)), {"v1": 0.2, "v2": 0.8}, draw)
    exposure = predictor.predict(request_for(predictor, ROWS, needs_probabilities=True)).exposure
    assert (exposure.version, exposure.propensity, exposure.assignment) == ("v1", 1.0, "weighted")
    assert predictor.predict(request_for(predictor, ROWS)).exposure.propensity == (0.2 if draw == 0.0 else 0.8)


def test_no_version_without_probabilities_stands_in_for_one_that_must_give_them():
    predictor, sink = with_and_without_probabilities(Failing(), {"v1": 1.0, "v2": 0.0})
    with pytest.raises(NotReady, match="no loaded version can answer: v1 raised RuntimeError;"):
        predictor.predict(request_for(predictor, ROWS, needs_probabilities=True))
    assert not sink.exposures


def test_a_forced_version_without_probabilities_refuses_to_give_them():
    predictor, sink = with_and_without_probabilities(Constant(0), {"v1": 1.0, "v2": 0.0})
    with pytest.raises(InvalidRequest, match="v2 gives no probabilities"):
        predictor.predict(request_for(predictor, ROWS, forced="v2", needs_probabilities=True))
    assert not sink.exposures


def test_a_fallback_counts_for_labels_and_not_for_rewards():
    predictor, _ = make({"v1": Failing(), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    served = predictor.predict(request_for(predictor, ROWS)).exposure
    fact = Signer(KEY, b"else").verify(served.prediction_ids[0])
    assert (fact.counts, fact.randomised) == (True, False)


@pytest.mark.parametrize("user", [None, "u7"])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_worker_that_lacks_a_version_with_traffic_or_the_key_answers_and_counts_nothing(user, foreign):
    weights = {"v1": 1.0, "v2": 0.0} if foreign else {"v1": 0.0, "v2": 0.0, "v3": 1.0}
    predictor, sink = make({"v1": Constant(0), "v2": Constant(1)}, weights)
    predictor._live.foreign = lambda: foreign
    served = predictor.predict(request_for(predictor, ROWS, user_id=user)).exposure
    fact = Signer(KEY, b"else").verify(served.prediction_ids[0])
    assert (served.assignment, served.propensity, served.counts) == ("fallback", None, False)
    assert not any((fact.counts, fact.randomised))
    assert sink.exposures == [served]


def test_after_three_failures_in_a_row_a_version_is_not_asked():
    predictor, sink = make({"v1": Failing(), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    reasons = [predictor.predict(request_for(predictor, ROWS)).exposure.failures[0].reason for _ in range(5)]
    assert reasons == ["RuntimeError"] * 3 + ["circuit_open"] * 2
    assert len(sink.failures) == 3


class NaNs:
    """A fitted regressor that has no number for some rows."""

    def predict(self, rows):
        return np.where(rows[:, 0] == 2.0, np.nan, rows[:, 0])


def test_another_version_answers_for_one_whose_answer_is_not_finite():
    houses = FeatureContract(task="regression", target="y", features=(Feature(name="a"),))
    broken = loaded_version("v1", SklearnRuntime("v1", NaNs(), houses), houses)
    works = loaded_version("v2", SklearnRuntime("v2", DummyRegressor().fit([[0.0]], [7.0]), houses), houses)
    live = live_models(loaded_models(broken, works), configuration({"v1": 1.0, "v2": 0.0}))
    sink = RememberingSink()
    predictor = Predictor(live, sink, Signer(KEY, b"proc"), b"salt", lambda: 0.0, lambda: 0)
    given = [predictor.predict(request_for(predictor, ROWS)).exposure for _ in range(4)]
    assert {each.version for each in given} == {"v2"}
    assert [each.outputs.values.tolist() for each in given] == [[7.0, 7.0]] * 4
    assert [each.failures[0].reason for each in given] == ["ModelFailed"] * 3 + ["circuit_open"]
    assert [version for version, _ in sink.failures] == ["v1"] * 3


def test_own_keys_go_into_the_record():
    predictor, sink = make({"v1": Constant(0)}, {"v1": 1.0})
    predictor.predict(request_for(predictor, ROWS, keys=("a", "b")))
    predictor.predict(request_for(predictor, ROWS))
    assert [exposure.keys for exposure in sink.exposures] == [("a", "b"), ()]


def test_a_forced_version_has_no_substitute():
    predictor, _ = make({"v1": Failing(), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    with pytest.raises(ModelFailed):
        predictor.predict(request_for(predictor, ROWS, forced="v1"))


def test_when_all_versions_fail_the_error_says_when_to_retry():
    predictor, _ = make({"v1": Failing(), "v2": Failing()}, {"v1": 1.0, "v2": 0.0})
    with pytest.raises(NotReady, match="v1 raised RuntimeError, v2 raised RuntimeError") as refused:
        predictor.predict(request_for(predictor, ROWS))
    assert refused.value.retry_after_s >= 1


def test_without_a_loaded_model_the_registry_is_read_for_what_to_do():
    live = LiveModels(models_of(), configuration(), lambda: None, published=lambda: ("v1",))
    predictor = Predictor(live, RememberingSink(), Signer(KEY, b"proc"), b"salt", lambda: 0.0, lambda: 0)
    with pytest.raises(NotReady, match="v1 is published but not loaded yet"):
        predictor.live_state().columns()


def test_an_unknown_version_is_named_with_the_loaded_ones():
    predictor, _ = make({"v1": Constant(0)}, {"v1": 1.0})
    with pytest.raises(UnknownVersion, match="'v9' is loaded; loaded: v1"):
        predictor.predict(request_for(predictor, ROWS, forced="v9"))


@pytest.mark.parametrize("user", [None, "u6"])
def test_before_the_configuration_was_read_answers_are_a_fallback_that_does_not_count(user):
    predictor, _ = make({"v1": Constant(0), "v2": Constant(1)}, {"v1": 1.0, "v2": 1.0}, epoch=0)
    exposure = predictor.predict(request_for(predictor, ROWS, user_id=user)).exposure
    assert (exposure.assignment, exposure.propensity, exposure.counts) == ("fallback", None, False)


def test_a_request_is_answered_by_the_models_that_parsed_it_also_after_a_reload():
    predictor, _ = make({"v1": Constant(0), "v2": Constant(1)}, {"v1": 0.0, "v2": 1.0})
    before = predictor.live_state()
    other, _ = make({"v3": Constant(0)}, {"v3": 1.0})
    predictor._live.install(other.live_state().loaded_models)
    served = predictor.predict(request_for(predictor, ROWS, state=before))
    assert served.version is before.loaded_models.versions["v2"]
    assert predictor.predict(request_for(predictor, ROWS)).version.name == "v3"


def test_a_version_that_stays_keeps_its_breaker_and_a_new_one_of_its_name_does_not():
    predictor, _ = make({"v1": Failing(), "v2": Constant(1)}, {"v1": 1.0, "v2": 0.0})
    live = predictor._live
    live.breakers["v1"].failed(), live.breakers["v2"].failed()
    replaced = make({"v1": Constant(0)}, {"v1": 1.0})[0].live_state().loaded_models.versions["v1"]
    kept = live.breakers["v2"]
    live.install(msgspec.structs.replace(live.loaded_models, versions={**live.loaded_models.versions, "v1": replaced}))
    assert live.breakers["v2"] is kept
    assert live.breakers["v1"]._in_a_row == 0


@pytest.mark.parametrize(("user_id", "assignment"), [(None, "weighted"), ("u-17", "sticky")])
def test_a_named_user_is_assigned_by_name(user_id, assignment):
    predictor, _ = make({"v1": Constant(0), "v2": Constant(1)}, {"v1": 0.5, "v2": 0.5})
    exposures = [predictor.predict(request_for(predictor, ROWS, user_id=user_id)).exposure for _ in range(5)]
    assert {(each.assignment, each.propensity) for each in exposures} == {(assignment, 0.5)}
    assert len({each.version for each in exposures}) == 1


def test_a_forced_version_behind_an_open_breaker_says_so():
    predictor, _ = make({"v1": Failing()}, {"v1": 1.0})
    forced = request_for(predictor, ROWS, forced="v1")
    for reason in ["RuntimeError"] * 3 + ["its circuit breaker is open after repeated failures"]:
        with pytest.raises(ModelFailed, match=reason):
            predictor.predict(forced)


class FailsOn:
    """Fails on one value and answers any other."""

    def __init__(self, bad, class_id):
        self.bad, self.class_id = bad, class_id

    def predict(self, rows):
        if (rows == self.bad).any():
            raise RuntimeError("no luck")
        return Outputs(class_ids=np.full(len(rows), self.class_id))


def test_rows_that_shut_off_every_version_stop_no_other_row():
    predictor, _ = make({"v1": FailsOn(1.0, 0), "v2": FailsOn(2.0, 1)}, {"v1": 0.5, "v2": 0.5})
    for row in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0):
        exposure = predictor.predict(request_for(predictor, [[row]])).exposure
        assert exposure.version == ("v2" if row == 1.0 else "v1")
        assert exposure.outputs.class_ids.tolist() == [1 if row == 1.0 else 0]
    with pytest.raises(NotReady, match="v1 raised RuntimeError, v2 raised RuntimeError"):
        predictor.predict(request_for(predictor, [[1.0], [2.0]]))
