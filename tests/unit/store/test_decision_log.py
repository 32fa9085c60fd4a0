import threading

import pytest
from msgspec.structs import replace

from app.domain.decision import ProbeResult
from app.errors import Contradiction, NotReady, StoreUnavailable
from app.services.control.aliases import AliasKeeper
from app.services.control.config_watcher import Configurations, ConfigWatcher
from app.services.control.decisions import Decision, Decisions, WeightChange
from app.services.control.patch import ConfigurationPatch, RampPatch
from app.services.control.transitions import held
from app.services.serving.live_models import LiveModels
from app.settings import Settings
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.engine import Database
from app.store.reports import ExperimentTable
from tests.unit.services.control.deciders import AVAILABLE, dependencies, report
from tests.unit.services.recording.recorders import LOADED
from tests.unit.store.stored_rows import SQLITE_ONLY, full_disk


@pytest.fixture
def begun(database):
    """A store in which a server has started."""
    Configurations(ConfigurationLog(database), Settings(), lambda: 5, lambda: "e1").load(LOADED)
    return database


def deciding(database, **changes):
    return Decisions(DecisionTable(database), dependencies(**changes))


def promote(database, **changes):
    return deciding(database, **changes).decide(Decision("promote", "v2", "ann", "why"), AVAILABLE)


def test_the_configuration_the_experiments_and_the_entry_change_together(begun, rows):
    decided = promote(begun)
    assert ConfigurationLog(begun).latest() == decided.configuration
    assert rows("SELECT id, ended_by FROM experiments ORDER BY ordinal") == [("e1", "promote"), ("e2", None)]
    assert rows("SELECT actor, action, version, epoch FROM decisions") == [("ann", "promote", "v2", 2)]


def test_an_entry_comes_back_as_it_went_in(begun):
    entry = promote(begun, report=lambda _id: report()).entry
    table = DecisionTable(begun)
    (read,) = table.page(10)
    assert read == entry
    table.add_check(entry.seq, ProbeResult(True, "2026-11-21T00:00:00Z"))
    assert table.page(10)[0].checked.answers
    assert table.page(10, before=entry.seq) == []
    assert [each.seq for each in table.of_experiment("e1")] == [entry.seq]


def test_evidence_that_cannot_be_read_any_more_does_not_hide_the_entry(begun, change):
    promote(begun, report=lambda _id: report())
    change('UPDATE decisions SET evidence = \'{"of": "long ago"}\'')
    assert DecisionTable(begun).page(1)[0].evidence is None


def test_a_note_of_the_monitor_is_news_and_no_revision(begun, rows):
    log, decisions = ConfigurationLog(begun), deciding(begun)
    ramp = RampPatch(version="v2", steps=(0.1, 0.5), every_seconds=60)
    ramped = decisions.configure(ConfigurationPatch(ramp=ramp), "ann", AVAILABLE).configuration
    for reason in ("no evidence", "proven worse"):
        decisions.hold(log.latest(), held(ramped, ramped.ramp, reason), WeightChange("ramp", "v2", reason))
    noted = log.latest()
    assert (noted.epoch, noted.ramp.held, noted.created_at_us) == (ramped.epoch, "proven worse", ramped.created_at_us)
    assert (log.newer_than(ramped), log.newer_than(noted)) == (noted, None)
    assert rows("SELECT max(epoch) FROM config") == [(ramped.epoch,)]
    changed = decisions.configure(ConfigurationPatch(ramp=None, epoch=ramped.epoch), "ann", AVAILABLE)
    assert (changed.configuration.ramp, changed.configuration.epoch) == (None, ramped.epoch + 1)


def test_the_splits_and_the_entries_of_one_experiment(begun):
    decisions = deciding(begun)
    for patch in (ConfigurationPatch(weights={"v1": 0.9, "v2": 0.1}), ConfigurationPatch(auto_decide="off")):
        decisions.configure(patch, "ann", AVAILABLE)
    promote(begun)
    splits = ExperimentTable(begun).splits("e1")
    assert [(split.epoch, split.weights["v2"]) for split in splits] == [(1, 0.5), (2, pytest.approx(0.1))]
    assert [entry.epoch for entry in DecisionTable(begun).page(10, experiment_id="e1")] == [4, 3, 2]
    assert [entry.epoch for entry in DecisionTable(begun).page(10, 3, "e1")] == [3, 2]
    assert DecisionTable(begun).page(10, experiment_id="e2") == []


TRIGGERS = {
    "sqlite": ("CREATE TRIGGER no BEFORE INSERT ON {} BEGIN SELECT RAISE(ABORT, 'no'); END",),
    "postgresql": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$",
        "CREATE TRIGGER no BEFORE INSERT ON {} EXECUTE FUNCTION no()",
    ),
}


@pytest.mark.parametrize("table", ["decisions", "experiments", "config"])
def test_where_any_part_cannot_be_written_nothing_is(begun, rows, change, table, store_url):
    change(*(statement.format(table) for statement in TRIGGERS[store_url.partition(":")[0]]))
    before = ConfigurationLog(begun).latest()
    with pytest.raises(Exception, match="no"):
        promote(begun)
    assert ConfigurationLog(begun).latest() == before
    assert rows("SELECT id, ended_by FROM experiments") == [("e1", None)]
    assert DecisionTable(begun).page(1) == []


@SQLITE_ONLY
def test_a_full_disk_is_no_decision(begun):
    long = report(started="x" * 100_000)
    with full_disk(begun), pytest.raises(StoreUnavailable):
        promote(begun, report=lambda _id: long)
    assert DecisionTable(begun).page(1) == []


def test_of_two_promotions_at_once_one_finds_it_done(begun):
    results = []

    def attempt():
        try:
            results.append(promote(begun).entry.seq)
        except Contradiction:
            results.append("conflict")

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["1", "conflict", "conflict", "conflict"]


def test_without_a_configuration_nothing_can_be_decided(database):
    with pytest.raises(NotReady):
        promote(database)


def worker(database):
    """A process that serves: its live state, and what keeps it up to date."""
    configurations = Configurations(ConfigurationLog(database), Settings())
    configurations.load(LOADED)
    live = LiveModels(LOADED, configurations.current(), lambda: None)
    return live, ConfigWatcher(configurations, live)


def test_every_worker_follows_at_its_next_poll(begun):
    live, following = worker(begun)
    decided = promote(begun)
    following.now()
    assert live.configuration == decided.configuration


def test_the_one_who_decides_follows_at_once(begun):
    live, following = worker(begun)
    decided = promote(begun, follow=following.now)
    assert live.configuration == decided.configuration


class AliasShelf:
    """A model registry with nothing but aliases."""

    def __init__(self):
        self.table = {"champion": "v1", "challenger": "v2"}

    def aliases(self):
        return dict(self.table)

    def point(self, alias, version):
        self.table[alias] = version


def test_a_crash_between_the_decision_and_the_aliases_heals_at_the_next_start(begun):
    registry = AliasShelf()
    promote(begun)  # and the process dies here: no alias was moved
    live, _ = worker(begun)
    assert live.configuration.champion == "v2"
    AliasKeeper(registry).keep(live.configuration)
    assert registry.table == {"champion": "v2", "challenger": "v1"}


def start(url, **settings):
    """What a server that starts on this store takes to be in force."""
    database = Database(url)
    try:
        return Configurations(ConfigurationLog(database), Settings(**settings)).load(LOADED)
    finally:
        database.close()


def test_the_most_recent_word_wins_between_a_patch_and_the_environment(begun, store_url):
    patch = ConfigurationPatch(weights={"v1": 1, "v2": 9}, auto_decide="off", drift_threshold=0.5)
    deciding(begun).configure(patch, "ann", AVAILABLE)
    again = start(store_url)
    assert (again.epoch, again.weights["v2"], again.auto_decide, again.drift_threshold) == (2, 0.9, "off", 0.5)
    other = start(store_url, weights={"v1": 75.0, "v2": 25.0})
    assert (other.weights["v2"], other.auto_decide) == (0.25, "off")
    assert start(store_url, weights={"v1": 75.0, "v2": 25.0}) == other


def test_terms_that_were_patched_hold_after_a_restart_until_the_environment_says_otherwise(begun, store_url):
    patch = ConfigurationPatch(metric="reward", alpha=0.01, reward_range=(0.0, 9.0), new_experiment=True)
    after = deciding(begun).configure(patch, "ann", AVAILABLE).configuration
    assert start(store_url) == after
    assert start(store_url, experiment_alpha=0.1).terms == replace(after.terms, alpha=0.1)


def test_a_promotion_holds_after_a_restart(begun, store_url):
    decided = promote(begun)
    assert start(store_url) == decided.configuration


def test_the_experiments_are_listed_newest_first_with_how_they_ended(begun):
    promote(begun)
    table = ExperimentTable(begun)
    found = [(each.id, each.ended_by, each.champion, each.terms.baseline) for each in table.newest(10)]
    assert found == [("e2", None, "v2", "v2"), ("e1", "promote", None, "v1")]
    assert table.find("e1").versions == ("v1", "v2")
    assert table.find("e9") is None
    assert (table.find("e1").last.epoch, table.find("e1").last.terms.baseline) == (1, "v1")
    assert table.find("e2").last.experiment_id == "e2"
    assert len(table.newest(1)) == 1
