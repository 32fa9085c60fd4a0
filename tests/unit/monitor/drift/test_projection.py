"""Drift in the monitor: what it reads of the log, that it loses and repeats nothing, and whom it notifies."""

import hashlib
import itertools
import json
import logging
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from sqlalchemy import text

from app.domain.contract import Feature, FeatureContract
from app.domain.log_event import Cursor
from app.domain.log_order import in_order
from app.domain.manifest import FileSum
from app.domain.timestamps import iso_utc
from app.drift.detector_state import RULES
from app.drift.reference import build_reference
from app.drift.watch import start, update
from app.errors import ArtefactRefused
from app.inference.references import LaterReference, LaterReferences
from app.monitor.drift.projection import WatchedVersion
from app.monitor.drift.references import References
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import DerivedReads, step
from app.monitor.publisher import DriftCheck
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.engine import Database
from app.store.kinds import MONITORING
from tests.unit.inference.published import reference_manifest
from tests.unit.monitor.watched_log import WatchedLog, known, reference


@pytest.fixture
def log(store_url):
    database = Database(store_url)
    log = WatchedLog(database)
    log.begin()
    yield log
    database.close()


def test_the_state_is_that_of_the_pure_detector_over_the_logged_rows(log):
    log.requests(57, seed=3)
    log.watch(batch_rows=10)
    rows = np.random.default_rng(3).normal(size=(57, 3))
    alone = update(reference(), start(reference()), rows)
    watched = msgspec.json.decode(log.states()["drift/v1"], type=WatchedVersion).state.inputs
    assert (watched.requests, watched.wealth, watched.counts) == (57, alone.inputs.wealth, alone.inputs.counts)


def test_a_change_raises_an_alarm_and_unchanged_traffic_does_not(log):
    log.requests(200, seed=1)
    log.watch()
    before = log.report()
    log.requests(100, shift=2.0, seed=2)
    log.watch()
    after = log.report()
    assert (before.alarm, before.score, after.alarm, after.evidence) == (False, 0.0, True, 1.0)
    assert 150 <= after.since_requests <= 230


@pytest.mark.parametrize(
    "changes", [{"assignment": "forced"}, {"synthetic": True}, {"epoch": 0, "assignment": "weighted"}, {"epoch": 99}]
)
def test_what_does_not_count_is_left_out(log, changes):
    log.requests(5)
    log.requests(20, shift=9.0, wrong=1.0, **changes)
    log.watch()
    assert log.report().requests == 5
    assert log.report().outputs[-1].live is None


def test_every_versions_requests_are_the_traffic(log):
    log.requests(6, version="v1")
    log.requests(4, version="v2", assignment="fallback")
    log.watch()
    assert (log.report("v1").requests, log.report("v2").requests) == (10, 10)


def test_answers_and_errors_are_each_versions_own(log):
    for answers in itertools.repeat({"v1": {"c": 0, "p": [0.9, 0.1]}, "v2": {"c": 1, "p": [0.2, 0.8]}}, 20):
        row = log.served(answers, features="[0.1, 0.2, 0.3]")
        log.log(row)
        log.give(row, 0)
        log.give(row, 0.5, kind="reward")
    log.watch()
    first, second = log.report("v1").outputs, log.report("v2").outputs
    assert [column.name for column in first] == ["predicted_class", "top_probability", "errors"]
    assert (first[0].live[first[0].bins.index("a")], second[0].live[second[0].bins.index("b")]) == (1.0, 1.0)
    assert (first[2].live, second[2].live) == ((1.0, 0.0), (0.0, 1.0))


def test_more_errors_than_held_out_rows_had_raise_an_alarm(log):
    log.begin("two", labels_exogenous=True)
    log.requests(120, wrong=0.9)
    log.watch()
    errors = log.report().outputs[-1]
    assert (errors.name, errors.evidence, log.report().alarm) == ("errors", 1.0, True)


def test_rows_that_lack_an_answer_still_are_traffic(log):
    row = log.served({"v1": 0}, features="[0, 0, 0]")
    log.log(row)
    log.give(row, 1)
    log.watch()
    assert (log.report("v2").requests, log.report("v2").outputs[0].live) == (1, None)
    assert log.report("v1").outputs[-1].live == (0.0, 1.0)


ODD = [None, 1e308, -1e308, 5e-324, 0, 3, -0.0, 1e30]


def test_odd_values_have_a_place_and_break_nothing(log):
    for values in itertools.islice(itertools.product(ODD, repeat=3), 0, None, 5):
        log.log(log.served({"v1": 0}, features=json.dumps(values)))
    log.watch()
    body = log.states()["drift/v1/report"]
    assert "NaN" not in body
    assert log.report().features[0].missing == pytest.approx(1 / 8, abs=0.02)


def test_categories_and_missing_ones_have_a_place(log):
    features = (Feature(name="kind", kind="categorical", categories=("x", "y"), nullable=True), Feature(name="size"))
    contract = FeatureContract(task="classification", target="t", features=features, classes=("a", "b"))
    rows = np.array([["x" if n % 3 else "y", float(n)] for n in range(60)], dtype=object)
    mixed = known("v1", build_reference(contract, rows, seed=1))
    for values in (["x", 1.5], [None, None], ["new", 2], ["y", 1e300]):
        log.log(log.served({"v1": 0}, features=json.dumps(values)))
    log.watch(mixed)
    kind = log.report().features[0]
    assert (kind.missing, kind.unseen) == (0.25, 0.25)


def test_rows_of_other_features_are_left_out(log):
    log.requests(3)
    log.log(log.served({"v1": 0}, features="[1]"))
    log.watch()
    assert log.report().requests == 3


def test_reported_exposures_have_no_features_and_are_left_out(log):
    log.requests(20, seed=1)
    log.log(*[log.exposed("v1", user) for user in range(1, 30)])
    log.watch()
    watched = msgspec.json.decode(log.states()["drift/v1"], type=WatchedVersion).state
    assert watched.inputs.requests == 20
    assert watched.inputs.crowd.known.users == ()


def test_a_version_without_a_reference_leaves_the_others_alone(log):
    log.requests(7)
    log.watch(known("v2"))
    assert (log.report("v1"), log.report("v2").requests) == (None, 7)
    assert log.stored_states.cursor("drift") == Cursor(7, 0)


def test_a_version_outside_the_split_is_not_watched(log):
    log.begin(weights={"v1": 1.0})
    log.requests(4)
    log.watch()
    assert log.report("v2") is None


def test_another_version_of_the_same_name_begins_anew(log):
    log.requests(30)
    log.watch(known("v1"))
    remade = known("v1", reference(seed=2), sha256="2")
    log.begin(weights={"v1": 1.0}, ordinals={"v1": 7})
    log.requests(5)
    log.watch(msgspec.structs.replace(remade, ordinal=7))
    assert log.report().requests == 5
    log.forget()
    log.watch(msgspec.structs.replace(remade, ordinal=7))
    assert log.report().requests == 5


def test_a_state_that_is_not_readable_begins_anew(log):
    log.requests(12)
    log.watch()
    with log.database.begin(MONITORING) as connection:
        connection.execute(text("UPDATE monitor_state SET body = '{}' WHERE name LIKE 'drift/%'"))
    assert log.report() is None
    log.requests(5)
    log.watch()
    assert log.report().requests == 5


def busy(log):
    """Traffic with labels, early and late, an alarm, and two acknowledgements of it."""
    log.requests(60, wrong=0.1, seed=1)
    log.batch(23, seed=5)
    log.batch(12, seed=6, user=4)
    log.requests(9, seed=7, user_hash=4)
    log.requests(40, shift=3.0, seed=2)
    log.watch()
    assert log.report().alarm
    log.acknowledge()
    log.requests(33, shift=3.0, wrong=0.1, seed=3)
    log.watch(batch_rows=7)
    log.acknowledge("v2")
    log.requests(21, shift=0.0, wrong=0.8, seed=4)


def test_a_request_with_a_hundred_odd_rows_raises_no_alarm(log):
    log.requests(100, seed=1)
    log.batch(100, shift=3.0, seed=2)
    log.requests(300, seed=3)
    log.watch(batch_rows=50)
    assert (log.report().alarm, log.report().requests) == (False, 500)


def errors_of_v1(log):
    return log.report().outputs[-1]


def test_wrong_answers_raise_no_alarm_unless_labels_are_declared_exogenous(log):
    log.requests(120, wrong=0.9)
    log.watch()
    assert (log.report().alarm, log.report().evidence < 1, errors_of_v1(log).evidence) == (False, True, 1.0)
    assert errors_of_v1(log).assumption == "assumes that labels do not depend on the answer"
    log.begin("two", labels_exogenous=True)
    log.requests(3, wrong=0.0, seed=5)
    log.watch()
    assert (log.report().alarm, errors_of_v1(log).assumption) == (False, None)
    log.requests(120, wrong=0.9, seed=6)
    log.watch(batch_rows=11)
    assert log.report().alarm
    before = log.states()
    log.forget()
    log.watch()
    assert log.states() == before


def test_the_rows_of_one_user_raise_no_alarm(log):
    log.requests(100, seed=1)
    log.requests(50, shift=3.0, seed=2, user_hash=17)
    log.requests(300, seed=3)
    log.watch()
    assert not log.report().alarm


def test_users_who_are_services_are_shown_and_what_is_left_out_is_counted(log):
    for number in range(620):
        log.requests(1, seed=number, user_hash=1 + number % 3)
    log.watch()
    crowds = log.report().crowds
    assert (crowds.few_callers, 360 < crowds.unlearnt < 400, crowds.waiting < 10) == (False, True, True)
    assert crowds.heaviest_share == pytest.approx(1 / 3, abs=0.01)
    assert "of the rows are no evidence" in log.report().notes[-1]


def test_a_state_of_other_rules_begins_anew_and_says_so(log, caplog):
    log.requests(12)
    log.watch()
    with log.database.begin(MONITORING) as connection:
        statement = "UPDATE monitor_state SET body = replace(body, :new, :old)"
        connection.execute(text(statement), {"new": f'"rules":{RULES}', "old": '"rules":1'})
    log.requests(5)
    with caplog.at_level(logging.WARNING):
        log.watch(known("v1"))
    assert log.report().requests == 5
    assert [record.message for record in caplog.records] == ["drift_begun_anew"]


@pytest.mark.parametrize(
    ("store_url", "batch_rows"),
    [*(("sqlite", batch_rows) for batch_rows in (1, 3, 10, 64, 5000)), ("postgresql", 10)],
    indirect=["store_url"],
)
def test_the_same_log_gives_the_same_state_however_it_is_cut(log, batch_rows):
    busy(log)
    log.watch()
    before = log.states()
    log.forget()
    log.watch(batch_rows=batch_rows)
    assert log.states() == before
    assert set(before) == {
        "drift",
        *(f"drift/{name}{part}" for name in ("v1", "v2") for part in ("", "/course", "/report")),
    }


def test_events_may_be_cut_anywhere(log):
    busy(log)
    log.watch()
    expected = log.states()
    log.forget()
    states, projection = log.stored_states, log.projection()
    reads = DerivedReads(
        states.states,
        states.users,
        states.units,
        states.windows,
        log.events.configurations,
        log.events.first_configuration,
        log.events.layouts,
    )
    page = log.events.page(Cursor(), 10_000)
    events = in_order(page)
    for at in (*range(0, len(events), 37), len(events)):
        changes = projection.apply(events[at : at + 37], reads)
        states.commit("drift", states.cursor("drift"), page.cursor, changes)
    assert log.states() == expected


class DiesBeforeCommit:
    """A store whose process is killed just before each second write."""

    def __init__(self, store):
        self._store, self._calls = store, 0

    def commit(self, *changes):
        self._calls += 1
        if self._calls % 2:
            raise KeyboardInterrupt
        return self._store.commit(*changes)

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_a_monitor_that_is_killed_loses_no_evidence_and_counts_none_twice(log):
    busy(log)
    log.watch()
    expected = log.states()
    log.forget()
    states, left = DiesBeforeCommit(log.stored_states), 1
    while left:
        try:
            left = step(log.projection(), log.events, states, 13)
        except KeyboardInterrupt:
            left = 1
    assert log.states() == expected


def test_versions_of_the_same_data_have_the_same_inputs(log):
    busy(log)
    log.watch()
    together = log.states()["drift/v2"]
    log.forget()
    log.watch(known("v2"))
    assert log.states()["drift/v2"] == together


def test_a_rebuild_gives_the_same_drift(log):
    busy(log)
    projections = [ExperimentProjection(), log.projection()]
    log.process(*projections)
    done = log.rebuild(*projections)
    assert done.states_equal == {"experiment": True, "drift": True}


def test_an_acknowledged_alarm_is_silent_at_once_and_stays_so(log):
    log.requests(100, shift=3.0)
    log.watch()
    assert log.report().alarm_streams
    assert log.acknowledge().alarm is False
    shown = log.report()
    assert shown.alarm_streams == ()
    assert (shown.alarm, shown.acknowledged is None) == (False, False)
    log.requests(30, shift=3.0, seed=5)
    log.watch()
    assert (log.report().alarm, log.report().acknowledged) == (False, shown.acknowledged)
    assert log.report("v2").alarm


def test_an_acknowledgement_holds_for_what_the_monitor_had_not_yet_processed(log):
    log.requests(100, shift=3.0)
    log.watch()
    log.requests(50, shift=3.0, seed=5)
    log.acknowledge()
    log.watch()
    assert log.report().acknowledged is not None
    before = log.states()
    log.forget()
    log.watch()
    assert (log.report().alarm, log.states() == before) == (False, True)


def test_an_acknowledgement_is_an_entry_in_the_audit_log(log):
    log.requests(100, shift=3.0)
    log.watch()
    log.acknowledge()
    [entry] = DecisionTable(log.database).page(10)
    assert (entry.actor, entry.action, entry.version) == ("ann", "acknowledge_drift", "v1")


def published(log, publisher):
    log.process(ExperimentProjection(), log.projection())
    return [report.recommendation.action for report in publisher.publish()]


def checking(log):
    check = DriftCheck(ConfigurationLog(log.database).latest, log.table.standing)
    return log.publisher(check)


def test_an_alarm_changes_the_recommendation_until_it_is_acknowledged(log):
    publisher = checking(log)
    log.begin("two", weights={"v1": 1.0})
    log.requests(50)
    assert published(log, publisher) == ["continue"]
    log.requests(100, shift=3.0)
    assert published(log, publisher) == ["investigate"]
    assert published(log, publisher) == []
    log.acknowledge()
    assert published(log, publisher) == ["continue"]


def test_an_alarm_below_the_threshold_is_not_notified(log):
    log.requests(100, shift=3.0)
    log.watch()
    latest = msgspec.structs.replace(ConfigurationLog(log.database).latest(), drift_threshold=0.99)
    assert [check.ok for check in DriftCheck(lambda: latest, log.table.standing)("one")] == [True]
    low = msgspec.structs.replace(latest, drift_threshold=0.1)
    [check] = DriftCheck(lambda: low, log.table.standing)("one")
    assert (check.ok, check.p_value) == (False, pytest.approx(10_100 / 2e6))
    assert "provably differs from the reference data of v1 in the inputs (length" in check.fault


def test_an_experiment_that_is_over_is_not_stopped_by_drift(log):
    log.requests(100, shift=3.0)
    log.watch()
    assert DriftCheck(ConfigurationLog(log.database).latest, log.table.standing)("another") == ()
    assert DriftCheck(lambda: None, log.table.standing)("one") == ()


def refreshed(log, requests, seed=1, number=1):
    """A later reference of v1, which counts from the next of the requests on; they are logged."""
    later = known("v1", reference(seed), sha256=f"later {seed}", number=number, from_us=log.now_us + 1)
    log.requests(requests, seed=10 + number)
    return later


def test_a_later_reference_begins_the_drift_of_its_version_anew(log, caplog):
    log.requests(200, shift=3.0)
    log.watch()
    alarmed = log.report()
    later = refreshed(log, 30)
    with caplog.at_level(logging.WARNING):
        log.watch(known("v1"), later, known("v2"))
    after, other = log.report(), log.report("v2")
    assert (alarmed.alarm, alarmed.requests, alarmed.reference_number) == (True, 200, 0)
    assert (after.alarm, after.alarms, after.requests, after.reference_number) == (False, 0, 30, 1)
    assert after.reference_since == iso_utc(later.from_us)
    assert (
        f"Requests since {after.reference_since} that have all columns of v1 are compared with its reference 1"
        in after.notes[0]
    )
    assert (other.alarm, other.requests, other.reference_number) == (True, 230, 0)
    [record] = caplog.records
    assert (record.message, record.event_fields["version"]) == ("drift_begun_anew", "v1")
    assert record.event_fields["reason"] == f"reference 1 counts for requests served from {after.reference_since} on"


def test_requests_before_a_later_reference_counts_are_compared_with_the_one_before(log):
    log.requests(40)
    later = known("v1", reference(2), sha256="later", number=1, from_us=log.now_us + 10_000_000)
    log.watch(known("v1"), later)
    assert (log.report().requests, log.report().reference_number) == (40, 0)


def test_the_timeline_begins_anew_with_a_later_reference(log):
    log.requests(100)
    log.watch()
    later = refreshed(log, 5)
    log.watch(known("v1"), later)
    assert log.table.timeline("v1", 200) == []
    log.requests(20)
    log.watch(known("v1"), later)
    assert [point.requests for point in log.table.timeline("v1", 200)] == [20]


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 5000])
def test_a_replay_with_later_references_gives_the_states_of_the_first_run(log, batch_rows):
    busy(log)
    log.watch()
    first = refreshed(log, 45)
    log.watch(known("v1"), first, known("v2"))
    second = refreshed(log, 60, seed=2, number=2)
    log.watch(known("v1"), first, second, known("v2"))
    expected = log.states()
    log.forget()
    log.watch(known("v1"), first, second, known("v2"), batch_rows=batch_rows)
    assert log.states() == expected


def test_the_same_rows_as_a_later_reference_begin_anew_too(log):
    log.requests(50)
    first, again = refreshed(log, 30, seed=2), None
    log.watch(known("v1"), first)
    again = known("v1", sha256="1", number=2, from_us=log.now_us + 1)
    log.requests(10)
    log.watch(known("v1"), first, again)
    assert (log.report().requests, log.report().reference_number) == (10, 2)


def test_without_its_newest_reference_a_version_goes_back_to_the_one_before_and_says_so(log, caplog):
    log.requests(50)
    first = refreshed(log, 30)
    second = refreshed(log, 30, seed=2, number=2)
    log.watch(known("v1"), first, second)
    log.requests(12)
    with caplog.at_level(logging.WARNING):
        log.watch(known("v1"), first)
    assert (log.report().requests, log.report().reference_number) == (12, 1)
    assert "no longer counts; reference 1 does" in caplog.records[-1].event_fields["reason"]


@pytest.mark.parametrize("batch_rows", [3, 5000])
def test_a_version_without_a_reference_of_its_publication_is_watched_from_its_later_one_on(log, batch_rows):
    log.requests(50, shift=3.0)
    later = refreshed(log, 30)
    log.watch(later, batch_rows=batch_rows)
    assert (log.report().requests, log.report().alarms) == (30, 0)


def test_an_alarm_against_a_later_reference_can_be_acknowledged(log):
    log.requests(60, shift=3.0)
    log.watch()
    log.acknowledge()
    later = refreshed(log, 10)
    log.requests(60, shift=3.0)
    log.watch(known("v1"), later)
    assert log.report().alarm
    log.acknowledge()
    log.requests(30, shift=3.0, seed=4)
    log.watch(known("v1"), later)
    assert (log.report().alarm, log.report().acknowledged is None) == (False, False)


def test_a_state_of_the_release_before_later_references_is_continued(log):
    log.requests(50)
    log.watch()
    stored = json.loads(log.states()["drift/v1"])
    assert stored.pop("reference_number") == 0
    with log.database.begin(MONITORING) as connection:
        statement = "UPDATE monitor_state SET body = :body WHERE name = 'drift/v1'"
        connection.execute(text(statement), {"body": json.dumps(stored)})
    log.requests(20)
    log.watch()
    assert log.report().requests == 70


class OneVersionRegistry:
    """A model registry with v1, whose reference is `document`; `broken` makes every read fail.

    `valid` are later references, `refused` the reasons why others are not, by folder.
    """

    def __init__(self, document):
        self.document, self.broken, self.reads = document, False, 0
        self.valid, self.refused = (), {}
        self.numbered = reference().classes

    def classes(self, manifest):
        return self.numbered

    def references(self, version):
        return LaterReferences(tuple(self.valid), self.refused)

    def manifest(self, version):
        if self.broken:
            raise ArtefactRefused(version, "is not what was signed")
        sha256 = hashlib.sha256(self.document or b"").hexdigest()
        files = {} if self.document is None else {"reference.json": FileSum(sha256, 1)}
        return SimpleNamespace(ordinal=1, files=files)

    def verified(self, version):
        self.reads += 1
        return SimpleNamespace(manifest=self.manifest(version), read=lambda _name: self.document)


def registry_of(document):
    """A model registry, and references that are read from it each time."""
    registry = OneVersionRegistry(document)
    return registry, References(registry, clock=itertools.count(0, 100).__next__)


def test_a_reference_is_read_once_and_kept_when_the_disk_fails():
    files, references = registry_of(reference().to_json())
    assert [each.reference for each in references.of("v1")] == [reference()]
    files.broken = True
    assert [each.reference for each in references.of("v1")] == [reference()]
    assert files.reads == 1


@pytest.mark.parametrize("document", [None, b"{", b"{}", b"\xff", b'{"format": 9}'])
def test_a_missing_or_unreadable_reference_is_none_and_logged_once(document, caplog):
    _, references = registry_of(document)
    with caplog.at_level(logging.WARNING):
        assert [references.of("v1") for _ in range(3)] == [(), (), ()]
    assert [record.message for record in caplog.records] == ["drift_not_watched"]


def test_a_reference_that_was_replaced_is_read_again():
    files, references = registry_of(reference().to_json())
    [first] = references.of("v1")
    files.document = reference(seed=2).to_json()
    [second] = references.of("v1")
    assert second.sha256 != first.sha256


def later(number=1, seed=2):
    return LaterReference(reference_manifest(number), reference(seed))


def test_later_references_follow_the_one_of_the_publication():
    files, references = registry_of(reference().to_json())
    files.valid = (later(1), later(2, seed=3))
    found = references.of("v1")
    assert [each.number for each in found] == [0, 1, 2]
    assert [each.from_us for each in found] == [0, 1_700_000_001_000_000, 1_700_000_002_000_000]
    assert found[2].reference == reference(3)
    assert references.of("v1")[1] is found[1]


def test_references_have_the_classes_as_the_log_numbers_them():
    files, references = registry_of(reference().to_json())
    files.numbered = reference().classes[::-1]
    files.valid = (later(),)
    found = references.of("v1")
    assert [each.reference for each in found] == [each.renamed(files.numbered) for each in (reference(), reference(2))]
    assert [each.reference.classes for each in found] == [files.numbered] * 2
    assert [one is other for one, other in zip(references.of("v1"), found, strict=True)] == [True, True]


def test_a_later_reference_that_is_refused_does_not_count_and_is_logged_once_by_name(caplog):
    files, references = registry_of(reference().to_json())
    files.refused = {"v1.1": ".references/v1.1/manifest.json: is missing"}
    with caplog.at_level(logging.WARNING):
        assert [[each.number for each in references.of("v1")] for _ in range(2)] == [[0], [0]]
    [record] = caplog.records
    assert (record.message, record.event_fields["reason"]) == ("drift_reference_refused", files.refused["v1.1"])


@pytest.mark.parametrize("folder", ["v1.1", ".references"])
def test_a_later_reference_that_was_verified_stays_in_use_when_its_files_are_damaged(folder):
    files, references = registry_of(reference().to_json())
    files.valid = (later(),)
    references.of("v1")
    files.valid, files.refused = (), {folder: "cannot be read"}
    assert [each.number for each in references.of("v1")] == [0, 1]


def test_a_later_reference_whose_folder_was_removed_counts_no_more():
    files, references = registry_of(reference().to_json())
    files.valid = (later(),)
    references.of("v1")
    files.valid = ()
    assert [each.number for each in references.of("v1")] == [0]


@pytest.mark.parametrize("document", [None, b"{}"])
def test_a_later_reference_counts_where_there_is_no_usable_one_of_the_publication(document, caplog):
    files, references = registry_of(document)
    files.valid = (later(),)
    with caplog.at_level(logging.WARNING):
        assert [each.number for each in references.of("v1")] == [1]
    assert [record.message for record in caplog.records] == ["drift_reference_refused"] * (document is not None)
