"""Secondary metrics: however and whenever they are added, they are what they would be as the metric that decides."""

import random

import msgspec
import pytest

from app.domain.experiment import SecondaryMetric
from app.errors import StoreUnavailable
from app.monitor.experiment.projection import NAME, ExperimentProjection
from app.monitor.projection import process_all
from app.monitor.secondary import Register, SecondaryMetrics
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.metric_states import MetricStates
from tests.unit.monitor.small_log import SmallLog

CLASSES = {"classes": ("no", "yes"), "class_shares": (0.8, 0.2)}
# The label of every row is the class "no".
RECALL = SecondaryMetric(metric="recall", positive_class="no", **CLASSES)
COST = SecondaryMetric(metric="cost", cost_matrix={"no": {"yes": 5.0}, "yes": {"no": 1.0}}, **CLASSES)
BALANCED = SecondaryMetric(metric="balanced_accuracy", **CLASSES)
REWARD = SecondaryMetric(metric="reward", **CLASSES)
EVERY = (RECALL, COST, BALANCED, REWARD)


class Monitored:
    """A log with what the monitor does for secondary metrics."""

    def __init__(self, log, **terms):
        self.log, self.store = log, MetricStates(log.database, log.clock)
        log.begin("one", unit="auto", reward_window_s=0.05, **terms)
        self.restart()

    def restart(self, batch_rows=7):
        """Another process of the monitor."""
        self.metrics = SecondaryMetrics(self.log.events, self.store, self.log.stored_states, batch_rows)

    def show(self, *metrics):
        ConfigurationLog(self.log.database).settle(lambda latest: msgspec.structs.replace(latest, secondary=metrics))

    def traffic(self, seed, n=30):
        self.log.random_traffic(n, seed=seed, kinds=("actual", "reward"), units=8)
        sticky = [self.log.served({"v1": 0, "v2": 1}, "v1", assignment="sticky", user=seed) for _ in range(2)]
        self.log.log(*sticky)
        self.log.give_all([(sticky[0], 0, "actual"), (sticky[1], 1.0, "reward")])

    def catch_up(self):
        while self.metrics.step():
            pass

    def register(self):
        return msgspec.json.decode(self.store.register(), type=Register)

    def space(self, name):
        return self.store.space(self.register().live[name].number)

    def state(self, name, experiment="one"):
        return self.space(name).states([f"{NAME}/{experiment}"])[f"{NAME}/{experiment}"]

    def report(self):
        report = self.log.report()
        self.metrics.publish()
        return msgspec.structs.replace(report, metrics=self.log.report().metrics)


@pytest.fixture
def monitored(small_log):
    return Monitored(small_log)


@pytest.fixture
def twin(tmp_path):
    """A function that plays the same on a log of its own, where this metric decides, and gives the monitor's state."""
    databases = []

    def play(metric, play):
        database = Database(f"sqlite:///{tmp_path / metric.metric}.sqlite")
        databases.append(database)
        terms = {name: value for name, value in msgspec.structs.asdict(metric).items() if value is not None}
        other = Monitored(SmallLog(database), **terms)
        play(other)
        process_all(ExperimentProjection(), other.log.events, other.log.stored_states)
        return other.log.stored_states.states([f"{NAME}/one"])[f"{NAME}/one"]

    yield play
    for database in databases:
        database.close()


def story(one):
    """Traffic, metrics that are added to it, more traffic while they are computed, and a late label."""
    one.traffic(1)
    one.show(*EVERY)
    one.traffic(2)
    one.metrics.step()
    one.metrics.step()
    one.traffic(3)
    one.log.pass_time(1)


@pytest.mark.parametrize("metric", EVERY, ids=lambda each: each.metric)
def test_a_metric_that_was_added_in_mid_run_has_the_state_of_one_that_decides_the_same_log(monitored, twin, metric):
    story(monitored)
    monitored.catch_up()
    assert monitored.state(metric.metric) == twin(metric, story)


def test_a_fresh_rebuild_gives_the_state_of_a_metric_that_was_added_in_mid_run(monitored):
    story(monitored)
    monitored.catch_up()
    before, numbers = {each.metric: monitored.state(each.metric) for each in EVERY}, monitored.register().live
    assert monitored.metrics.rebuild() == dict.fromkeys(before, True)
    assert {each.metric: monitored.state(each.metric) for each in EVERY} == before
    assert all(monitored.register().live[name].number != numbers[name].number for name in before)


def test_a_metric_that_is_removed_costs_nothing_and_goes_on_where_it_was_when_it_is_added_again(monitored):
    monitored.traffic(1)
    monitored.show(RECALL)
    monitored.catch_up()
    monitored.show()
    monitored.traffic(2)
    assert monitored.metrics.step() == 0
    assert monitored.report().metrics == ()
    number = monitored.register().live["recall"].number
    monitored.show(RECALL)
    monitored.catch_up()
    assert monitored.register().live["recall"].number == number
    (found,) = monitored.report().metrics
    assert found.processed == 1
    assert found.comparisons[0].n == monitored.log.report().comparisons[0].n


def test_a_metric_with_another_class_is_computed_anew_and_the_former_state_is_deleted(monitored):
    monitored.traffic(1)
    monitored.show(RECALL)
    monitored.catch_up()
    former = monitored.register().live["recall"].number
    monitored.show(msgspec.structs.replace(RECALL, positive_class="yes"))
    monitored.catch_up()
    monitored.metrics.step()
    (found,) = monitored.report().metrics
    assert (found.described, found.comparisons[0].n) == ("recall of yes", 0)
    assert monitored.register().discarded == ()
    assert monitored.store.space(former).all_states(NAME) == {}


def test_a_metric_of_a_new_experiment_begins_with_it_and_that_of_the_ended_one_stays(monitored):
    monitored.show(RECALL)
    monitored.traffic(1)
    monitored.catch_up()
    monitored.log.begin("two")
    monitored.show(RECALL)
    monitored.traffic(2)
    monitored.catch_up()
    assert monitored.register().next == 2
    assert '"v1"' in monitored.state("recall", "two")
    assert monitored.state("recall", "one")


def test_a_metric_that_an_experiment_gets_after_its_first_rows_were_passed_begins_anew(monitored):
    monitored.show(RECALL)
    monitored.traffic(1)
    monitored.catch_up()
    monitored.log.begin("two")
    monitored.show(COST)
    monitored.traffic(2)
    monitored.catch_up()
    monitored.show(COST, RECALL)
    monitored.catch_up()
    # Recall was not computed meanwhile, so it passes the rows of the second experiment now.
    assert monitored.register().live["recall"].number == 1
    assert '"v1"' in monitored.state("recall", "two")


def test_a_rebuild_that_is_interrupted_leaves_the_live_state_and_the_next_one_succeeds(monitored):
    story(monitored)
    monitored.catch_up()
    before = monitored.state("recall")

    def killed(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        monitored.metrics.rebuild(killed)
    assert monitored.state("recall") == before
    (left,) = monitored.register().building
    monitored.restart()
    assert monitored.metrics.rebuild()["recall"] is True
    for _ in range(9):
        monitored.metrics.step()
    register = monitored.register()
    assert (register.discarded, register.building) == ((), ())
    assert monitored.store.space(left).all_states(NAME) == {}


def test_a_monitor_that_restarts_after_each_batch_gives_the_same_state(monitored):
    story(monitored)
    monitored.catch_up()
    expected = monitored.state("cost")
    monitored.show(msgspec.structs.replace(COST, positive_class="yes"), *EVERY[:1])
    monitored.restart(3)
    while monitored.metrics.step():
        monitored.restart(3)
    assert monitored.state("cost") == expected


def test_metrics_at_one_cursor_share_the_reading_of_a_page_and_one_that_is_behind_joins_them(monitored, monkeypatch):
    monitored.show(RECALL, COST)
    monitored.traffic(1)
    monitored.catch_up()
    monitored.show(RECALL, COST, BALANCED)
    read = []

    def page(log, cursor, limit, until, before=EventLog.page):
        read.append(cursor)
        monitored.log.random_traffic(1, seed=len(read))  # the log goes on between two reads
        return before(log, cursor, limit, until)

    monkeypatch.setattr(EventLog, "page", page)
    reads = []
    for _ in range(15):
        read.clear()
        monitored.metrics.step()
        reads.append(len(read))
    assert (reads[0], reads[-1]) == (2, 1)
    assert len({monitored.space(name).cursor(NAME) for name in ("recall", "cost", "balanced_accuracy")}) == 1


def test_a_failure_in_one_metric_stops_neither_the_others_nor_what_decides(monitored, monkeypatch):
    monitored.show(RECALL, COST)
    monitored.traffic(1)
    space = monitored.store.space

    def broken(number):
        if number == 1:
            raise ZeroDivisionError
        return space(number)

    monkeypatch.setattr(monitored.store, "space", broken)
    monitored.catch_up()
    monkeypatch.undo()
    report = monitored.report()
    recall, cost = report.metrics
    assert "monitor_part_failed" in recall.error
    assert cost.error is None
    assert cost.comparisons[0].n == report.comparisons[0].n > 0
    monitored.catch_up()
    assert monitored.report().metrics[0].error is None


def test_an_outage_of_the_store_is_told_to_the_loop(monitored, monkeypatch):
    monitored.show(RECALL)

    def away():
        raise StoreUnavailable("away")

    monkeypatch.setattr(monitored.store, "register", away)
    with pytest.raises(StoreUnavailable):
        monitored.metrics.step()


def test_the_report_has_the_figures_of_a_metric_that_decides_and_no_verdict(monitored, twin):
    story(monitored)
    monitored.catch_up()
    report = monitored.report()
    assert [each.metric for each in report.metrics] == [each.metric for each in EVERY]
    found = report.metrics[0]
    assert (found.described, found.note, found.processed, found.error) == ("recall of no", "not decided on", 1, None)
    # All labels are of the class, so its recall is the accuracy.
    assert [each.mean_all for each in found.variants] == [each.mean_all for each in report.variants]
    assert found.comparisons[0].improvement == report.comparisons[0].improvement
    assert found.comparisons[0].units == report.comparisons[0].units
    assert not hasattr(found.comparisons[0], "verdict")


def test_what_decides_does_not_depend_on_the_secondary_metrics(monitored):
    story(monitored)
    monitored.catch_up()
    report = monitored.report()
    monitored.show()
    fields = ("recommendation", "comparisons", "checks", "guardrails")
    assert [getattr(monitored.log.report(), name) for name in fields] == [getattr(report, name) for name in fields]


def test_a_rebuild_of_the_experiments_leaves_the_metrics_alone(monitored):
    story(monitored)
    monitored.catch_up()
    monitored.log.process()
    before = monitored.state("cost")
    monitored.log.rebuild()
    monitored.traffic(4)
    monitored.catch_up()
    assert monitored.state("cost") != before
    assert monitored.metrics.rebuild()["cost"] is True


def test_a_release_before_may_rebuild_the_experiments_and_drop_the_metrics_from_the_configuration(monitored):
    monitored.show(COST)
    monitored.traffic(1)
    monitored.catch_up()
    monitored.show()  # it writes configurations without them
    monitored.traffic(2)
    for _ in range(2):  # each deletes the other of the two sides, users and the timeline
        monitored.log.process()
        monitored.log.rebuild()
    monitored.show(COST)
    monitored.traffic(3)
    monitored.catch_up()
    assert monitored.register().next == 2
    assert monitored.metrics.rebuild() == {"cost": True}


def test_at_9_percent_positive_recall_and_cost_speak_against_the_version_that_accuracy_prefers(monitored):
    log, chance = monitored.log, random.Random(9)
    terms = {"positive_class": "yes", "cost_matrix": {"yes": {"no": 10.0}, "no": {"yes": 1.0}}, **CLASSES}
    monitored.show(*(SecondaryMetric(metric=name, **terms) for name in ("recall", "cost", "balanced_accuracy")))
    rows = []
    for _ in range(800):
        label = int(chance.random() < 0.09)
        # v1 finds 80 % of the positives, and says yes to 20 % of the others; v2 always says no.
        rows.append((log.served({"v1": int(chance.random() < (0.8 if label else 0.2)), "v2": 0}), label, "actual"))
        rows[-1] = (msgspec.structs.replace(rows[-1][0], features=f"[{len(rows)}]"), *rows[-1][1:])
    log.log(*(row for row, _, _ in rows))
    log.give_all(rows)
    monitored.restart(1000)
    monitored.catch_up()
    report = monitored.report()
    (decided,) = report.comparisons
    assert (decided.verdict, decided.improvement > 0) == ("better", True)
    for shown in report.metrics:
        assert shown.comparisons[0].interval[1] < 0, shown.metric
    # Recall has an outcome for labels of its class alone, whichever version served them.
    recall, cost = report.metrics[0], report.metrics[1]
    positive = sum(label for _, label, _ in rows)
    assert sum(variant.n for variant in recall.variants) == recall.comparisons[0].n == positive
    assert sum(variant.n for variant in cost.variants) == len(rows)
