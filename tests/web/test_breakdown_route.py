import pytest

from app.services.queries.breakdown import PROJECTION
from tests.unit.monitor.broken_down import BrokenDown
from tests.unit.services.control.deciders import MemoryReports, record


@pytest.fixture(scope="module")
def counted():
    """The monitor's counters, as they are stored, and the experiment."""
    made = BrokenDown()
    made.random_traffic(80, seed=2)
    return {f"{PROJECTION}/e1": made.process()}, record(terms=made.log.last.terms)


@pytest.fixture
def ask(serve, counted):
    states, kept = counted

    def asked(query="", states=states, experiment="e1", kept=kept):
        client, _ = serve(states=states, reports=MemoryReports(records=[kept]))
        return client.get(f"/experiment/{experiment}/breakdown{query}")

    return asked


def test_by_class_there_are_rows_and_confusion_matrices(ask):
    answer = ask().get_json()
    assert answer["exploratory"] is True
    assert [row["level"] for row in answer["rows"]] == answer["classes"] == ["a", "b", "c"]
    assert [each["version"] for each in answer["versions"]] == ["v1", "v2"]
    assert sum(row["labelled"] for row in answer["rows"]) == answer["all"]["labelled"] > 0
    assert all(row["requests"] is None for row in answer["rows"])
    assert answer["all"]["interval"] is None


def test_by_feature_there_are_rows_with_intervals(ask):
    answer = ask("?challenger=v2&by=feature:colour").get_json()
    assert [row["level"] for row in answer["rows"]] == ["red", "green", "blue", "(other)"]
    assert all(len(row["interval"]) == 2 for row in answer["rows"])
    assert answer["classes"] is answer["versions"] is None
    assert answer["features"] == ["x", "colour", "member", "wind"]
    assert "is text or a date" in answer["refused"]["comment"]


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("?by=feature:rain", "by", "no feature rain; features: x, colour, member, wind"),
        ("?challenger=v9", "challenger", "no challenger 'v9' in this experiment: one of v2"),
        ("?by=class&by=class", "by", "by is given 2 times"),
    ],
)
def test_a_wrong_question_is_answered_with_what_there_is(ask, query, field, told):
    answer = ask(query)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["field"] == field
    assert told in answer.get_json()["error"]["message"]


def test_an_unknown_experiment_is_404(ask):
    assert ask(experiment="nothing").status_code == 404


def test_before_the_first_request_there_is_nothing(ask):
    answer = ask(states={}).get_json()
    assert answer["rows"] == []
    assert answer["note"] == "the monitor has counted nothing of this experiment yet"


def test_of_several_challengers_one_must_be_named(ask, counted):
    several = record(terms=counted[1].terms, versions=("v1", "v2", "v3"))
    assert "say which challenger: one of v2, v3" in ask(kept=several).get_json()["error"]["message"]


def test_the_note_says_how_many_units_there_are(ask, counted):
    from app.domain.report import ComparisonReport
    from tests.unit.services.control.deciders import report

    compared = (ComparisonReport(challenger="v2", method="paired", n=40, units=10),)
    known = record(terms=counted[1].terms, report=report(comparisons=compared))
    assert "40 labelled requests are of 10 units" in ask(kept=known).get_json()["note"]
