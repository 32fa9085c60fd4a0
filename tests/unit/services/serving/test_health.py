import threading
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.errors import NotReady, StoreUnavailable
from app.services.ports import RefusedVersion
from app.services.serving.breaker import Breaker
from app.services.serving.health import Health
from app.services.serving.live_models import LiveModels
from tests.builders import CONTRACT, configuration, live_models, loaded_models, loaded_version

YES = Outputs(class_ids=np.array([1]), probabilities=np.array([[0.2, 0.8]]))


class Asked:
    """Answers with what it is given, or raises it, and counts."""

    def __init__(self, outcome=YES):
        self.outcome, self.times = outcome, 0

    def predict(self, rows):
        self.times += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Place(NamedTuple):
    """What a health check reads, for a test to change."""

    live: LiveModels
    time: dict
    store: dict
    foreign: dict


def version(name, runtime, contract=CONTRACT, examples=((1.0,),)):
    return loaded_version(name, runtime, contract, manifest={"examples": examples})


def check(served, monitor_age_s=lambda: None):
    time, store, foreign = {"s": 100.0}, {"wrong": None}, {"key": False}
    live = live_models(served, breaker=lambda: Breaker(1, 60.0, lambda: time["s"]), foreign=lambda: foreign["key"])
    health = Health(
        live,
        lambda: store["wrong"],
        "1.0",
        monitor_age_s=monitor_age_s,
        clock=lambda: time["s"],
        ttl_s=1.0,
    )
    return health, Place(live, time, store, foreign)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (RuntimeError("out of order"), "RuntimeError: out of order"),
        (Outputs(), "1 rows were asked and 0 answered"),
        (Outputs(class_ids=np.array([1, 1])), "1 rows were asked and 2 answered"),
        (Outputs(values=np.array([np.nan])), "an answer is not a finite number"),
        (Outputs(class_ids=np.array([1]), probabilities=np.array([[np.inf, 0]])), "an answer is not a finite number"),
    ],
)
def test_a_version_that_does_not_answer_is_named_with_the_reason(outcome, error):
    health, _ = check(loaded_models(version("v1", Asked()), version("v2", Asked(outcome))))
    report = health.report()
    assert (report.status, report.models["v2"].error) == ("degraded", error)
    assert report.models["v1"].error is None


def test_examples_that_do_not_fit_the_contract_are_a_finding():
    health, _ = check(loaded_models(version("v1", Asked(), examples=((1.0, 2.0),))))
    assert "expected 1 features" in health.report().models["v1"].error


@pytest.mark.parametrize(
    "features",
    [
        (Feature(name="a", median=2.0),),
        (Feature(name="a", median=2.0, choices=(1.0, 3.0)),),
        (Feature(name="a", minimum=0, maximum=4), Feature(name="b")),
        (Feature(name="a", kind="categorical", categories=("x", "y")),),
        (
            Feature(name="a", kind="categorical", open_categories=True),
            Feature(name="b", kind="categorical", nullable=True),
        ),
    ],
)
def test_without_examples_a_typical_row_is_asked(features):
    contract = FeatureContract(task="classification", target="y", features=features, classes=("no", "yes"))
    health, _ = check(loaded_models(version("v1", Asked(), contract, examples=())))
    assert health.report().status == "healthy"


def test_probes_are_good_for_a_while_and_no_longer():
    runtime = Asked()
    health, place = check(loaded_models(version("v1", runtime)))
    for seconds, times in ((0, 1), (0.9, 1), (0.2, 2)):
        place.time["s"] += seconds
        health.report()
        health.require_ready()
        assert runtime.times == times


def test_newly_loaded_models_are_probed_at_once():
    health, place = check(loaded_models(version("v1", Asked())))
    assert health.report().status == "healthy"
    place.live.install(loaded_models(version("v1", Asked(RuntimeError()))))
    assert health.report().status == "unhealthy"


def test_an_open_breaker_is_degraded_and_where_all_are_open_unhealthy():
    health, place = check(loaded_models(version("v1", Asked()), version("v2", Asked())))
    place.live.breakers["v2"].failed()
    report = health.report()
    assert (report.status, report.models["v2"].circuit_breaker) == ("degraded", "open")
    place.live.breakers["v1"].failed()
    assert health.report().status == "unhealthy"
    place.time["s"] += 60
    assert health.report().status == "degraded"
    health.require_ready()


def test_predictions_go_on_without_the_store_and_not_with_that_of_another_deployment():
    health, place = check(loaded_models(version("v1", Asked())))
    place.store["wrong"] = "the disk is full"
    health.require_answers()
    with pytest.raises(NotReady, match="the disk is full"):
        health.require_ready()
    place.foreign["key"] = True
    with pytest.raises(NotReady, match="key of this process is not that of the store"):
        health.require_answers()


@pytest.mark.parametrize("names", [("v1",), ()])
def test_with_another_key_no_version_is_called_lacking_and_nobody_is_told_to_change_the_split(names):
    health, place = check(loaded_models(*(version(name, Asked()) for name in names)))
    place.live.configure(configuration({"v1": 0.5, "v2": 0.5}))
    place.foreign["key"] = True
    for require in (health.require_answers, health.require_ready):
        with pytest.raises(NotReady, match="key of this process is not that of the store"):
            require()
    assert "v2" not in health.report().models


def test_a_process_that_started_without_the_store_is_ready_once_it_has_read_the_configuration():
    health, place = check(loaded_models(version("v1", Asked())))
    place.live.configure(configuration({"v1": 1.0}, epoch=0))
    place.store["wrong"] = "password authentication failed"
    for require in (health.require_answers, health.require_ready):
        with pytest.raises(NotReady, match="not read the configuration"):
            require()
    assert health.report().store == "password authentication failed"
    place.live.configure(configuration({"v1": 1.0}, epoch=7))
    health.require_answers()


def test_probes_do_not_touch_the_breakers():
    health, place = check(loaded_models(version("v1", Asked(RuntimeError()))))
    health.report()
    assert place.live.breakers["v1"].state == "closed"


def test_a_version_outside_routing_cannot_make_the_service_ready():
    health, _ = check(loaded_models(version("v1", Asked(RuntimeError())), version("v2", Asked()), compatible=("v1",)))
    assert health.report().status == "unhealthy"
    with pytest.raises(NotReady):
        health.require_ready()


def test_what_was_refused_at_loading_is_listed_with_its_reason():
    health, _ = check(
        loaded_models(version("v1", Asked()), refused=(RefusedVersion("v2", "model.onnx: wrong checksum"),))
    )
    report = health.report()
    assert (report.models["v2"].loaded, report.models["v2"].error) == (False, "model.onnx: wrong checksum")
    assert report.status == "degraded"


def test_the_store_degrades_and_is_not_ready_and_comes_back():
    health, place = check(loaded_models(version("v1", Asked())))
    place.store["wrong"] = "the disk is full"
    assert (health.report().store, health.report().status) == ("the disk is full", "degraded")
    with pytest.raises(NotReady, match="the disk is full"):
        health.require_ready()
    place.store["wrong"] = None
    place.time["s"] += 1
    assert (health.report().store, health.report().status) == ("ok", "healthy")


@pytest.mark.parametrize(
    ("refused", "reason"),
    [((), "registry is empty: .*bakeoff train"), ((RefusedVersion("v1", "unsigned"),), r"refused: v1 \(unsigned\)")],
)
def test_without_a_loaded_version_it_says_why_and_what_to_do(refused, reason):
    health, _ = check(loaded_models(refused=refused))
    with pytest.raises(NotReady, match=f"(?s){reason}.*POST /models/reload"):
        health.require_ready()


@pytest.mark.parametrize(("age_s", "state"), [(None, "absent"), (3.0, "ok"), (31.0, "stale")])
def test_the_monitor_is_a_field_of_its_own(age_s, state):
    health, _ = check(loaded_models(version("v1", Asked())), monitor_age_s=lambda: age_s)
    report = health.report()
    assert (report.monitor.state, report.status) == (state, "healthy")


def test_while_the_store_is_away_nobody_says_that_the_monitor_is():
    def away():
        raise StoreUnavailable("the server is away")

    health, _ = check(loaded_models(version("v1", Asked())), monitor_age_s=away)
    assert (health.report().monitor.state, health.report().monitor.age_s) == ("unknown", None)


def test_an_outage_is_told_once_in_readiness():
    health, place = check(loaded_models(version("v1", Asked())))
    place.store["wrong"] = 'the store cannot be used: connection to server at "db" failed'
    with pytest.raises(NotReady, match=r"^the store cannot be written: connection to server"):
        health.require_ready()


def test_a_slow_probe_blocks_nobody_who_has_an_older_one():
    started, finish = threading.Event(), threading.Event()

    class Slow(Asked):
        def predict(self, rows):
            if self.times:
                started.set()
                finish.wait(5)
            return super().predict(rows)

    health, place = check(loaded_models(version("v1", Slow())))
    health.report()
    place.time["s"] += 2
    prover = threading.Thread(target=health.report)
    prover.start()
    started.wait(5)
    assert health.report().status == "healthy"
    finish.set()
    prover.join()


def test_uptime_runs_on_the_given_clock():
    health, place = check(loaded_models(version("v1", Asked())))
    place.time["s"] += 12.5
    assert health.report().uptime_s == 12.5


def test_a_worker_without_a_version_that_has_traffic_is_not_ready_and_says_what_to_do():
    health, place = check(loaded_models(version("v1", Asked()), version("v2", Asked())))
    place.live.configure(configuration({"v1": 0.25, "v2": 0.5, "v3": 0.25}))
    with pytest.raises(NotReady, match="v3 has 25 % of the traffic and is not loaded here") as refused:
        health.require_ready()
    assert 'PATCH /config {"weights": {"v1": 0.25, "v2": 0.5}}' in refused.value.message
    report = health.report()
    assert (report.status, report.models["v3"].loaded) == ("degraded", False)


def test_a_version_in_shadow_that_is_not_loaded_keeps_no_worker_from_being_ready():
    health, place = check(loaded_models(version("v1", Asked())))
    place.live.configure(configuration({"v1": 1.0, "v3": 0.0}))
    health.require_ready()


def test_a_new_version_that_waits_for_one_that_is_lacking_here_is_excluded_with_what_to_do():
    shared = replace(loaded_models(version("v1", Asked()), version("v8", Asked())), shared=True)
    health, place = check(shared)
    place.live.configure(configuration({"v1": 1.0, "v6": 0.0}))
    report = health.report()
    assert (report.status, [*report.excluded]) == ("healthy", ["v8"])
    assert report.excluded["v8"].startswith("waits for v6, which is in the split and cannot be loaded on this host")
    assert "`bakeoff retire v6`; then POST /models/reload" in report.excluded["v8"]
    place.live.configure(configuration({"v1": 1.0, "v8": 0.0}))
    assert health.report().excluded == {}
