import csv
import io

import pytest

from app.services.queries.disagreements import ListedRow
from app.services.queries.logged_answers import LoggedAnswer

ID = "e" * 64
ANSWERS = '{"v1":{"c":0,"p":[0.5,0.25,0.25]},"v2":{"c":1,"p":[0.25,0.5,0.25]}}'


def listed(own_key=None, answers=ANSWERS, won="unlabelled"):
    row = LoggedAnswer(ID, 0, "v1", "weighted", "[1.5,2.5,3.5,-4.5]", answers, own_key=own_key)
    return ListedRow(row, won, 2)


class Kept:
    """Has these rows, and notes what was asked for."""

    def __init__(self, *rows):
        self.rows = rows
        self.asked = []

    def page(self, *wanted):
        self.asked.append(wanted)
        return list(self.rows)

    def margin(self, *_):
        return None


@pytest.fixture
def ask(serve):
    def asked(rows, query="", accept="application/json"):
        client, services = serve(disagreements=Kept(*rows))
        experiment = services.live.configuration.experiment_id
        return client.get(f"/experiment/{experiment}/disagreements{query}", headers={"Accept": accept})

    return asked


def table(answer):
    assert answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_both_answers_are_there_with_their_probabilities(ask):
    [one] = ask([listed()]).get_json()["disagreements"]
    assert {version: each["prediction"] for version, each in one["answers"].items()} == {
        "v1": "setosa",
        "v2": "versicolor",
    }
    assert one["answers"]["v2"]["probabilities"]["versicolor"] == 0.5
    assert "actual" not in one


def test_a_table_has_the_id_whole_and_numbers_as_they_are(ask):
    [row] = table(ask([listed()], accept="text/csv"))
    assert row["prediction_id"] == ID
    assert (row["v1.prediction"], row["v2.probability.versicolor"]) == ("setosa", "0.5")
    assert [value for name, value in row.items() if name.startswith("feature.")][-1] == "-4.5"


@pytest.mark.parametrize("begins", ["=", "+", "-", "@"])
def test_a_text_that_a_spreadsheet_would_carry_out_is_marked(ask, begins):
    [row] = table(ask([listed(own_key=f"{begins}cmd()")], accept="text/csv"))
    assert row["id"] == f"'{begins}cmd()"


def test_a_version_without_an_answer_has_an_empty_cell(ask):
    [row] = table(ask([listed(answers='{"v1":{"c":0}}', won="failed")], accept="text/csv"))
    assert (row["won"], row["v2.prediction"]) == ("failed", "")


def test_a_table_without_rows_has_its_header(ask):
    assert ask([], accept="text/csv").text.startswith("prediction_id,id,timestamp")


def test_a_table_says_where_it_goes_on(ask):
    answer = ask([listed(), listed()], "?limit=1&won=unlabelled", accept="text/csv")
    assert len(table(answer)) == 1
    assert answer.headers["Link"].endswith(f'/disagreements?limit=1&won=unlabelled&before={ID}>; rel="next"')


def test_an_unknown_experiment_is_not_found(serve):
    assert serve(disagreements=Kept())[0].get("/experiment/nothing/disagreements").status_code == 404
