import pytest
from msgspec.structs import replace

from app.domain.contract import Feature
from app.domain.experiment import ExperimentTerms
from app.domain.report import Recommendation
from app.errors import InvalidRequest, NotReady, StoreUnavailable, UnknownExperiment
from app.services.queries.experiments import Experiments
from app.services.serving.live_models import LiveModels
from tests.unit.services.control.deciders import BASE, MemoryReports, record, report
from tests.unit.services.recording.recorders import LOADED


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def experiments(reports, configuration=BASE, clock=None):
    live = LiveModels(LOADED, configuration, lambda: None)
    return Experiments(live, reports, reports, clock or Clock()), live


def test_the_monitors_report_is_passed_on_with_the_weights_in_force():
    reading, live = experiments(MemoryReports(report()))
    live.configure(replace(BASE, weights={"v1": 0.9, "v2": 0.1, "v3": 0.0}))
    current = reading.current()
    assert [(each.version, each.weight, each.requests) for each in current.variants] == [
        ("v1", 0.9, 10),
        ("v2", 0.1, 9),
        ("v3", 0.0, 0),
    ]
    assert current.recommendation == report().recommendation


def test_without_a_monitor_nothing_is_known_and_the_report_says_what_to_do():
    reading, _ = experiments(MemoryReports(age=None, records=[record()]))
    current = reading.current()
    assert (current.id, current.computed_at, current.recommendation.action) == ("e1", None, "continue")
    assert "bakeoff monitor" in current.recommendation.reason
    assert [(each.challenger, each.verdict, each.difference) for each in current.comparisons] == [
        ("v2", "undecided", None)
    ]


@pytest.mark.parametrize(
    ("terms", "method"),
    [
        ({"metric": "accuracy"}, "paired"),
        ({"metric": "brier"}, "paired_numeric"),
        ({"metric": "reward"}, "two_sample"),
        ({"metric": "absolute_error"}, "asymptotic"),
    ],
)
def test_before_the_first_report_the_method_is_the_one_that_the_terms_ask_for(terms, method):
    reading, _ = experiments(MemoryReports(age=None, records=[record(terms=ExperimentTerms(baseline="v1", **terms))]))
    assert [each.method for each in reading.current().comparisons] == [method]


def test_a_new_experiment_of_which_nothing_is_known_yet_does_not_blame_the_monitor():
    reading, _ = experiments(MemoryReports(age=0.5, records=[record()]))
    assert "just begun" in reading.current().recommendation.reason


@pytest.mark.parametrize(("age", "words"), [(31.0, "for 31 s"), (None, "never")])
def test_a_stale_report_says_so_and_what_it_is_of(age, words):
    reading, _ = experiments(MemoryReports(report(), age=age))
    reason = reading.current().recommendation.reason
    assert words in reason
    assert reason.startswith("v2 is better than v1 (as of 2026-")


def test_a_fresh_report_is_passed_on_as_it_is():
    reading, _ = experiments(MemoryReports(report(), age=29.0))
    assert reading.current() == report()


def test_many_readers_are_one_read():
    reports, clock = MemoryReports(report()), Clock()
    reading, _ = experiments(reports, clock=clock)
    for _ in range(10):
        reading.current()
    assert reports.reads == 1
    clock.now += 0.6
    reading.current()
    assert reports.reads == 2


def test_a_decision_is_seen_at_once():
    reports = MemoryReports(report(), records=[record(), record(id="e2")])
    reading, live = experiments(reports)
    assert reading.current().id == "e1"
    live.configure(replace(BASE, epoch=4, experiment_id="e2"))
    assert reading.current().id == "e2"


def test_a_store_that_is_away_leaves_the_last_report():
    reports, clock = MemoryReports(report()), Clock()
    reading, live = experiments(reports, clock=clock)
    reading.current()
    reports.error, clock.now = StoreUnavailable("locked"), clock.now + 9
    assert reading.current() == report()
    live.configure(replace(BASE, epoch=4, experiment_id="e2"))
    with pytest.raises(StoreUnavailable):
        reading.current()


@pytest.mark.parametrize("changes", [{"experiment_id": ""}, {"epoch": 0}])
def test_without_a_model_or_a_store_there_is_no_experiment(changes):
    reading, _ = experiments(MemoryReports(), replace(BASE, **changes))
    with pytest.raises(NotReady):
        reading.current()


def test_a_finished_experiment_stays_readable():
    final = report(id="e0", recommendation=Recommendation("keep", "v1", "v1 is better"))
    ended = record(id="e0", ended_at_us=1_796_000_000_000_000, ended_by="keep", report=final)
    reading, _ = experiments(MemoryReports(final, records=[record(), ended]))
    assert reading.report("e0") == final
    entry = reading.listing().experiments[1]
    assert (entry.id, entry.state, entry.ended_by, entry.recommendation.action) == ("e0", "ended", "keep", "keep")


def test_a_finished_experiment_of_which_nothing_is_known_says_so():
    reading, _ = experiments(MemoryReports(records=[record(id="e0", ended_at_us=1_796_000_000_000_000)]))
    found = reading.report("e0")
    assert (found.state, found.ended is not None, found.computed_at) == ("ended", True, None)


def test_an_unknown_experiment_is_unknown():
    reading, _ = experiments(MemoryReports())
    with pytest.raises(UnknownExperiment):
        reading.report("e9")
    with pytest.raises(UnknownExperiment):
        reading.timeline(5, "e9")


@pytest.mark.parametrize("points", [0, 2001])
def test_a_timeline_has_a_size(points):
    reading, _ = experiments(MemoryReports())
    with pytest.raises(InvalidRequest):
        reading.timeline(points)


def test_the_timeline_is_the_running_experiments_unless_another_is_asked_for():
    reading, _ = experiments(MemoryReports(records=[record(id="e0")]))
    assert reading.timeline().experiment_id == "e1"
    assert reading.timeline(1, "e0").experiment_id == "e0"
    assert [point.n for point in reading.timeline(2).points] == [1, 9]


def shares(v2):
    """The report, with the share of the requests that v2 could answer."""
    first, second = report().variants
    return report(variants=(replace(first, answerable_share=1.0), replace(second, answerable_share=v2)))


def wider(*features):
    """The loaded models, with these features of v2 beside those of v1."""
    v2 = LOADED.versions["v2"]
    contract = replace(v2.contract, features=(*features, *v2.contract.features))
    return replace(LOADED, versions={**LOADED.versions, "v2": replace(v2, contract=contract)})


WIND = Feature("wind_speed", "numeric", source_name="Wind speed (m/s)")
GUST = Feature("gust", "numeric")


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ([WIND], "reads the column wind_speed, which no request has"),
        ([WIND, GUST], "no request has every column that it reads; it reads wind_speed, gust beside those of v1"),
        ([], "no request has every column that it reads"),
    ],
)
def test_a_version_that_could_answer_no_request_is_excluded_with_its_column(features, reason):
    reading, live = experiments(MemoryReports(shares(0.0)))
    live.install(wider(*features))
    assert reading.current().excluded == {"v2": reason}


@pytest.mark.parametrize("share", [None, 0.001, 1.0])
def test_a_version_that_could_answer_some_request_is_not_excluded(share):
    reading, live = experiments(MemoryReports(shares(share)))
    live.install(wider(WIND))
    assert reading.current().excluded == {}


def test_a_version_that_cannot_be_compared_is_excluded_with_the_reason_of_the_loader():
    reading, live = experiments(MemoryReports(shares(0.0)))
    models = {name: version for name, version in LOADED.versions.items() if name == "v1"}
    live.install(replace(LOADED, versions=models, compatible=("v1",), excluded={"v3": "is a regression"}))
    assert reading.current().excluded == {"v2": "reads a column that no request has", "v3": "is a regression"}
