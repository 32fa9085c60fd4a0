"""Corrections in the store: what is recorded, audited, shown in the history, and left to earlier releases."""

import msgspec
import pytest
from sqlalchemy import text

from app.domain.outcome import Outcome
from app.errors import Contradiction
from app.services.queries.history import Name
from app.services.recording.feedback import Receipt
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.history import PredictionHistory
from app.store.kinds import READING
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.builders import configuration
from tests.unit.store.stored_rows import id_of, logged
from tests.unit.store.test_outcomes import FACT

ID = id_of(1)


def outcome(value, by=None, prediction_id=ID, kind="actual", item=0):
    return Outcome(prediction_id, kind, value, FACT, item, by, ("no", "yes", "so") if kind == "actual" else ())


@pytest.fixture
def log(database):
    return FeedbackLog(database, lambda: 7)


def test_it_replaces_and_the_same_again_is_a_duplicate(log, rows):
    log.commit([[outcome(0)]])
    assert log.commit([[outcome(1, "ann")], [outcome(1, "ann")], [outcome(1)]]) == [
        Receipt(1, 0, corrected=1),
        Receipt(0, 1),
        Receipt(0, 1),
    ]
    assert rows("SELECT outcome FROM feedback") == [("0",)]
    assert rows("SELECT replaced, outcome, actor, predictions_seen, outcomes_seen FROM corrections") == [
        ("0", "1", "ann", 0, 1)
    ]


def test_the_first_value_contradicts_what_replaced_it(log):
    log.commit([[outcome(0)], [outcome(1, "ann")]])
    [refused] = log.commit([[outcome(0)]])
    assert isinstance(refused, Contradiction)
    assert "is recorded as 'yes'; " in refused.message
    assert '"correct": true' in refused.message


def test_of_several_corrections_the_last_counts_also_in_one_call(log, rows):
    assert log.commit([[outcome(0, "ann"), outcome(1, "ann"), outcome(2, "ann")]]) == [Receipt(3, 0, corrected=2)]
    assert rows("SELECT replaced, outcome FROM corrections ORDER BY seq") == [("0", "1"), ("1", "2")]
    assert log.commit([[outcome(2)]]) == [Receipt(0, 1)]


def test_a_refused_list_corrects_nothing(log, rows):
    log.commit([[outcome(0), outcome(0, prediction_id=id_of(2))]])
    [refused] = log.commit([[outcome(1, "ann"), outcome(1, prediction_id=id_of(2), item=1)]])
    assert (type(refused), refused.index) == (Contradiction, 1)
    assert rows("SELECT count(*) FROM corrections") == [(0,)]


def test_the_audit_log_has_who_when_old_and_new(database, log):
    log.commit([[outcome(0), outcome(0.5, kind="reward")]])
    log.commit([[outcome(2, "ann"), outcome(1.0, "ann", kind="reward")]])
    [entry] = DecisionTable(database).page(10)
    assert (entry.actor, entry.action, entry.at[:4], entry.note) == ("ann", "correct", "1970", "2 outcomes replaced")
    changed = {name: (change.before, change.after) for name, change in entry.changes.items()}
    assert changed == {f"actual of {ID}": ("no", "so"), f"reward of {ID}": (0.5, 1.0)}


def test_a_large_call_is_one_entry_that_lists_some(database, log):
    ids = [id_of(number) for number in range(30)]
    log.commit([[outcome(0, prediction_id=each) for each in ids]])
    log.commit([[outcome(1, "ann", prediction_id=each) for each in ids]])
    [entry] = DecisionTable(database).page(10)
    assert (len(entry.changes), entry.note.partition(";")[0]) == (20, "30 outcomes replaced")


def test_an_entry_counts_outcomes_and_leaves_out_what_was_put_back(database, log):
    log.commit([[outcome(0), outcome(0, prediction_id=id_of(2))]])
    twice = [outcome(value, "ann", item=place) for place, value in enumerate((1, 2))]
    back = [outcome(value, "ann", prediction_id=id_of(2), item=2 + place) for place, value in enumerate((1, 0))]
    log.commit([[*twice, *back]])
    [entry] = DecisionTable(database).page(10)
    assert entry.note == "1 outcome replaced, 1 replaced and put back"
    changed = {name: (each.before, each.after) for name, each in entry.changes.items()}
    assert changed == {f"actual of {ID}": ("no", "so")}


def test_an_entry_names_the_experiment_that_the_outcomes_belong_to(database, log):
    """A call that corrects outcomes of two experiments, and of none that is known, has an entry for each."""
    configurations = ConfigurationLog(database)
    begun = [configuration(experiment_id=name) for name in ("one", "two")]
    epochs = [configurations.settle(lambda _, each=each: each).epoch for each in begun]
    ids = [id_of(number) for number in range(3)]
    facts = [msgspec.structs.replace(FACT, epoch=epoch) for epoch in (*epochs, 0)]
    pairs = zip(ids, facts, strict=True)
    given = [msgspec.structs.replace(outcome(0, prediction_id=each), fact=fact) for each, fact in pairs]
    log.commit([given, [msgspec.structs.replace(each, value=1, corrected_by="ann") for each in given]])
    entries = [each for each in DecisionTable(database).page(10) if each.action == "correct"]
    assert {each.experiment_id: len(each.changes) for each in entries} == {"one": 1, "two": 1, None: 1}


def test_the_history_has_the_last_value_and_how_it_came_about(database, log):
    PredictionLog(database).append([logged(1), logged(2)])
    log.commit([[outcome(0)], [outcome(1, "ann")], [outcome(2, "bob")]])
    history = PredictionHistory(database)
    row = history.first(Name("prediction_id", ID))
    assert (row.actual, row.reward) == ("2", None)
    assert [(each.replaced, each.outcome, each.actor, each.corrected_at_us) for each in row.corrections] == [
        ("0", "1", "ann", 7),
        ("1", "2", "bob", 7),
    ]
    assert next(each.corrections for each in history.page(10)) == ()


def test_another_worker_and_a_restart_know_the_last_value(database, log):
    log.commit([[outcome(0)]])
    log.commit([[outcome(1, "ann")]])
    other = FeedbackLog(database, lambda: 8)
    assert other.commit([[outcome(2, "bob")]]) == [Receipt(1, 0, corrected=1)]
    assert log.commit([[outcome(2)]]) == [Receipt(0, 1)]


def test_the_release_before_reads_the_outcomes_as_they_were_received(database, log):
    from tests.unit.store.test_downgrade import before, in_dialect

    log.commit([[outcome(0)]])
    log.commit([[outcome(1, "ann")]])
    with database.begin(READING) as connection:
        query = in_dialect(before("feedback", "0008")["known"], connection.dialect.name)
        found = connection.execute(text(query), {"ids": msgspec.json.encode([ID]).decode()}).all()
    assert [tuple(row) for row in found] == [(ID, "actual", "0")]
