"""From the log to the pages of disagreements, through the store."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.disagreement import who_was_right
from app.errors import InvalidRequest, UnknownExperiment
from app.monitor import disagreements as module
from app.monitor.disagreements import DisagreementProjection
from app.services.ports import LoadedModels
from app.services.queries.disagreements import Disagreements, Wanted
from app.store import disagreements as stored
from app.store.disagreements import DisagreementTable
from app.store.kinds import READING
from app.store.reports import ExperimentTable
from tests.unit.monitor.test_corrections import correct

NOTHING_LOADED = LoadedModels({}, None, (), {})
CLASSES = ("a", "b", "c")


@pytest.fixture
def use_case(small_log):
    database = small_log.database
    return Disagreements(DisagreementTable(database), ExperimentTable(database), lambda: NOTHING_LOADED, None, None)


@pytest.fixture
def ask(small_log, use_case):
    """The page after everything was processed."""

    def asked(experiment="one", **wanted):
        small_log.process(DisagreementProjection())
        return use_case.page(experiment, Wanted(**wanted))

    return asked


def ids(page):
    return [each.prediction_id for each in page.disagreements]


def test_only_rows_that_differ_and_count_are_listed_newest_first(small_log, ask):
    small_log.begin()
    rows = [small_log.served({"v1": 0, "v2": each}) for each in (0, 1, 0, 2)]
    small_log.log(*rows, small_log.served({"v1": 0, "v2": 1}, assignment="forced"))
    page = ask()
    assert ids(page) == [rows[3].prediction_id, rows[1].prediction_id]
    assert [each.won for each in page.disagreements] == ["unlabelled"] * 2
    assert (page.baseline, page.challenger, page.margin, page.next) == ("v1", "v2", None, None)


def test_a_label_says_who_was_right(small_log, ask):
    small_log.begin(classes=CLASSES)
    rows = [small_log.served({"v1": 0, "v2": 1}) for _ in range(4)]
    small_log.log(*rows[:3])
    ask()  # processed before the labels come
    small_log.give_all([(row, label, "actual") for row, label in zip(rows[:2], (0, 1), strict=True)])
    small_log.give(rows[3], 2)  # before its row
    small_log.log(rows[3])
    assert [each.won for each in ask().disagreements] == ["neither", "unlabelled", "challenger", "baseline"]
    for won, place in (("baseline", 0), ("challenger", 1), ("unlabelled", 2), ("neither", 3)):
        assert ids(ask(won=won)) == [rows[place].prediction_id]
    assert ids(ask(true_class="b")) == [rows[1].prediction_id]
    assert ids(ask(true_class="b", won="baseline")) == []


def test_a_corrected_label_says_who_was_right_then(small_log, ask):
    small_log.begin(classes=CLASSES)
    small_log.log(row := small_log.served({"v1": 0, "v2": 1}))
    small_log.give(row, 0)
    assert [each.won for each in ask().disagreements] == ["baseline"]
    correct(small_log, row, 1)
    [one] = ask().disagreements
    assert (one.won, one.actual) == ("challenger", 1)
    assert ids(ask(true_class="b")) == [row.prediction_id]
    small_log.rebuild(DisagreementProjection())
    assert [(each.won, each.actual) for each in ask().disagreements] == [("challenger", 1)]


def test_an_answer_that_was_not_given_is_a_kind_of_its_own(small_log, ask):
    small_log.begin()
    row = small_log.served({"v1": 0}, failed='["v2"]')
    both = small_log.served({"v1": 0}, failed='["v1", "v2"]')
    small_log.log(row, small_log.served({"v1": 0}, lacking='["v2"]'))
    small_log.give(row, 0)
    [one] = ask(won="failed").disagreements
    assert (one.prediction_id, one.actual, list(one.answers)) == (row.prediction_id, 0, ["v1"])
    assert both.prediction_id not in ids(ask())


def test_numbers_differ_where_they_are_unusually_far_apart(small_log, ask):
    small_log.begin(metric="absolute_error")
    rows = [small_log.served({"v1": {"v": 1.0}, "v2": {"v": 1.0 + gap}}) for gap in (1, 1, 1, 5, 1, 2)]
    small_log.log(*rows)
    small_log.give_all([(row, 9.0, "actual") for row in rows])
    page = ask()
    assert ids(page) == [rows[3].prediction_id, rows[0].prediction_id]  # the first one has none before it
    assert page.disagreements[0].won == "challenger"
    assert page.margin == pytest.approx(2 * 11 / 6)
    with pytest.raises(InvalidRequest, match="labels are numbers"):
        ask(true_class="a")


def test_each_challenger_has_its_own_and_must_be_named(small_log, ask):
    small_log.begin(weights={"v1": 1, "v2": 1, "v3": 1})
    small_log.log(row := small_log.served({"v1": 0, "v2": 0, "v3": 1}))
    assert ids(ask(challenger="v2")) == []
    page = ask(challenger="v3")
    assert ids(page) == [row.prediction_id]
    assert list(page.disagreements[0].answers) == ["v1", "v3"]
    for wrong in (None, "v1", "v9"):
        with pytest.raises(InvalidRequest, match="v2, v3") as refused:
            ask(challenger=wrong)
        assert refused.value.field == "challenger"


def test_an_ended_experiment_keeps_its_own(small_log, ask):
    small_log.begin("one")
    small_log.log(old := small_log.served({"v1": 0, "v2": 1}))
    small_log.begin("two", baseline="v2")
    small_log.log(new := small_log.served({"v1": 0, "v2": 1}))
    assert (ids(ask("one")), ids(ask("two"))) == ([old.prediction_id], [new.prediction_id])
    assert ask("two").challenger == "v1"
    with pytest.raises(UnknownExperiment):
        ask("three")


def test_how_often_a_row_came_is_counted_to_a_limit(small_log, ask, monkeypatch):
    monkeypatch.setattr(stored, "MOST_COUNTED", 3)
    small_log.begin()
    differing = {"v1": 0, "v2": 1}
    small_log.log(*(small_log.served(differing, features=text) for text in ["[1.0]"] * 5 + ["[2.0]"] * 2))
    assert [each.came for each in ask().disagreements] == [2, 2, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"won": "v1"}, "won"),
        ({"true_class": "z"}, "class"),
        ({"true_class": "a", "won": "unlabelled"}, "class"),
        ({"before": "x"}, "before"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
    ],
)
def test_what_cannot_be_asked_names_the_parameter(small_log, ask, wanted, field):
    small_log.begin(classes=CLASSES)
    with pytest.raises(InvalidRequest) as refused:
        ask(**wanted)
    assert refused.value.field == field


def test_pages_lose_and_double_nothing_while_rows_come(small_log, ask):
    small_log.begin()
    rows = [small_log.served({"v1": 0, "v2": 1}) for _ in range(7)]
    small_log.log(*rows)
    found, before = [], None
    while True:
        page = ask(limit=3, before=before)
        found += ids(page)
        small_log.log(small_log.served({"v1": 0, "v2": 1}))
        if page.next is None:
            break
        before = page.next
    assert found == [row.prediction_id for row in reversed(rows)]


def test_the_oldest_are_removed(small_log, ask, monkeypatch):
    monkeypatch.setattr(module, "TRIM_AFTER", 3)
    monkeypatch.setattr(stored, "KEPT", 4)
    small_log.begin()
    rows = [small_log.served({"v1": 0, "v2": 1}) for _ in range(9)]
    small_log.log(*rows)
    small_log.process(DisagreementProjection(), batch_rows=3)
    assert ids(ask()) == [row.prediction_id for row in rows[:4:-1]]


def test_what_is_remembered_does_not_depend_on_the_batches(small_log, monkeypatch):
    monkeypatch.setattr(module, "TRIM_AFTER", 5)
    small_log.begin()
    small_log.log(*[small_log.served({"v1": 0, "v2": 1}) for _ in range(17)])
    small_log.process(DisagreementProjection(), batch_rows=3)
    for batch_rows in (4, 7, 100):
        before = small_log.stored_states.all_states("disagreements")
        small_log.forget()
        small_log.process(DisagreementProjection(), batch_rows=batch_rows)
        assert small_log.stored_states.all_states("disagreements") == before


def everything(small_log):
    with small_log.database.begin(READING) as connection:
        query = "SELECT challenger, prediction_id, won, label, row_hash FROM disagreements ORDER BY 1, 2"
        rows = [tuple(row) for row in connection.execute(text(query))]
    return rows, small_log.stored_states.all_states("disagreements")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), batch_rows=st.integers(1, 40))
def test_a_rebuild_gives_the_same_whatever_the_batches(small_log, seed, batch_rows):
    small_log.forget()
    small_log.begin(f"e{seed}-{batch_rows}", weights={"v1": 1, "v2": 1, "v3": 1})
    small_log.random_traffic(60, seed=seed, versions=("v1", "v2", "v3"), units=5)
    small_log.process(DisagreementProjection(), batch_rows=batch_rows)
    before = everything(small_log)
    assert small_log.rebuild(DisagreementProjection()).states_equal == {"disagreements": True}
    assert everything(small_log) == before
    assert len(before[0]) > 10


@given(label=st.integers(0, 3), one=st.integers(0, 3), other=st.integers(0, 3))
def test_of_two_different_classes_at_most_one_is_right(label, one, other):
    if one != other:
        swapped = {"baseline": "challenger", "challenger": "baseline", "neither": "neither"}
        assert who_was_right(other, one, label) == swapped[who_was_right(one, other, label)]


def test_rows_are_as_the_history_has_them(small_log, ask):
    small_log.begin()
    answers = {"v1": {"c": 0, "p": [0.75, 0.25]}, "v2": {"c": 1, "p": [0.25, 0.75]}}
    small_log.log(small_log.served(answers, "v2", own_key="order-1"))
    [one] = ask().disagreements
    assert (one.id, one.model_version, json.loads(json.dumps(one.features))) == ("order-1", "v2", {"feature_1": 1.0})
    assert one.answers["v1"].probabilities == {"0": 0.75, "1": 0.25}
