"""The rows that two versions answered differently: the table, its filters and pages, and an API without them."""

import pytest

from app.ui.client import ApiClient
from app.ui.transport import ApiConnection, NotThere
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

PATH = "/experiment/e-1/disagreements"
ROW = {
    "prediction_id": "id-9",
    "id": "order-9",
    "timestamp": "2026-11-20T12:00:00.123456Z",
    "won": "challenger",
    "actual": "virginica",
    "features": {"sepal_length": 6.3, "label": None},
    "answers": {
        "v1": {"prediction": "versicolor", "confidence": 0.55, "probabilities": {"versicolor": 0.55}},
        "v2": {"prediction": "virginica", "confidence": 0.78},
    },
    "model_version": "v2",
    "came": 3,
}
PAGE = {"experiment": "e-1", "baseline": "v1", "challenger": "v2", "margin": None, "disagreements": [ROW], "next": None}


@pytest.fixture
def opened(begin, page):
    """The experiment page with the disagreements opened."""

    def open_(answer=PAGE, **changes):
        routes = {**answers.NORMAL, **({} if answer is None else {PATH: answer}), **changes}
        api = begin(routes)
        return show(page("experiment")), api

    return open_


def show(at):
    at.button_group(key="tab").set_value("Disagreements")
    return checked(at.run())


def rows_of(at):
    return [each.value for each in at.dataframe if "prediction id" in each.value.columns]


def test_rows_have_both_answers_the_label_and_how_often_they_came(opened):
    (table,) = rows_of(opened()[0])
    assert table.iloc[0].to_dict() == {
        "when (UTC)": "2026-11-20 12:00:00",
        "right": "✔ v2",
        "label": "virginica",
        "v1": "versicolor (55 %)",
        "v2": "virginica (78 %)",
        "times it came": "3",
        "sepal_length": "6.3",
        "feature label": "–",
        "v1 probabilities": "versicolor 55 %",
        "v2 probabilities": "–",
        "answered by": "v2",
        "own key": "order-9",
        "prediction id": "id-9",
    }


def test_what_is_unknown_of_a_row_is_said_in_words(opened):
    lacking = {"prediction_id": "x", "won": "failed", "answers": {"v1": {"prediction": 2.5}}, "came": 100}
    (table,) = rows_of(opened({**PAGE, "disagreements": [lacking], "margin": 0.25})[0])
    assert table.iloc[0].to_list()[1:6] == ["– one gave no answer", "–", "2.5", "no answer", "100 or more"]


def test_what_was_answered_by_one_and_by_the_other_is_counted(opened):
    other = {
        **ROW,
        "answers": {"v1": {"prediction": "virginica"}, "v2": {"prediction": "versicolor"}},
        "won": "unlabelled",
    }
    at, _ = opened({**PAGE, "disagreements": [other, ROW, {**ROW, "won": "baseline"}, {**ROW, "answers": {}}]})
    (table,) = [each.value for each in at.dataframe if "v1 → v2" in each.value.columns]
    assert table.values.tolist() == [
        ["versicolor → virginica", 2, 1, 1, 0, 0],
        ["virginica → versicolor", 1, 0, 0, 0, 1],
    ]


def test_the_rows_of_one_segment_are_asked_for(opened):
    parts = {"by": "feature:petal_width", "rows": [{"level": "0.1 to 1", "labelled": 3}, {"level": "from 1"}]}
    at, api = opened(**{"/experiment/e-1/breakdown": parts})
    at = checked(at.selectbox(key="segment").set_value("petal_width").run())
    assert at.selectbox(key="level").options == ["0.1 to 1"]
    queries = api.queries(PATH)
    checked(at.selectbox(key="level").set_value("0.1 to 1").run())
    assert api.queries(PATH)[len(queries) :] == [
        {"challenger": "v2", "limit": "100", "by": "feature:petal_width", "level": "0.1 to 1"}
    ]


def test_a_row_is_replayed_in_the_playground(opened):
    at, _ = opened()
    at = checked(at.selectbox(key="disagreements-replay").set_value(0).run())
    (link,) = at.get("link_button")
    assert link.proto.url == "playground?sepal_length=6.3&label=null"


def test_a_link_opens_the_rows_with_their_filters(begin, page):
    api = begin({**answers.NORMAL, PATH: PAGE})
    at = page("experiment", tab="Disagreements", won="v2 was right", **{"class": "setosa"})
    assert len(rows_of(at)) == 1
    assert api.queries(PATH) == [{"challenger": "v2", "limit": "100", "won": "challenger", "class": "setosa"}]


@pytest.mark.parametrize("wrong", [{"tab": "Nothing"}, {"tab": "Disagreements", "won": "v9 was right", "class": "x"}])
def test_a_link_that_names_what_is_not_there_opens_the_page_without_it(begin, page, wrong):
    begin({**answers.NORMAL, PATH: PAGE})
    assert "v2 against v1" in text_of(page("experiment", **wrong))


def test_nothing_is_asked_until_the_part_is_opened_and_then_once(opened, begin, page):
    api = begin({**answers.NORMAL, PATH: PAGE})
    at = page("experiment")
    assert PATH not in api.paths()
    checked(show(at).run())
    assert api.paths().count(PATH) == 1
    checked(button(at, "Refresh").click().run())
    assert api.paths().count(PATH) == 2


def test_older_rows_come_below_by_the_next_of_the_page_before(opened):
    at, api = opened({**PAGE, "next": "id-9"})
    api.routes[PATH] = {**PAGE, "disagreements": [{**ROW, "prediction_id": "id-8"}]}
    at = checked(button(at, "Show older rows").click().run())
    (table,) = rows_of(at)
    assert table["prediction id"].to_list() == ["id-9", "id-8"]
    assert not [each for each in at.button if each.label == "Show older rows"]


def test_an_empty_list_says_what_to_do(opened):
    at, _ = opened({**PAGE, "disagreements": []})
    assert "No disagreement yet" in text_of(at)
    at.selectbox(key="won").set_value("baseline")
    assert "Choose all rows, all classes and no segment" in text_of(checked(at.run()))


def test_rows_on_which_both_gave_the_same_wrong_answer_are_said_to_be_no_disagreements(opened):
    at, _ = opened({**PAGE, "disagreements": []})
    at.selectbox(key="won").set_value("neither")
    assert "they gave the same wrong answer" in text_of(checked(at.run()))


def test_an_unlabelled_row_has_no_true_class_to_filter_by(opened):
    at, _ = opened()
    at.selectbox(key="won").set_value("unlabelled")
    assert checked(at.run()).selectbox(key="class").disabled


def test_an_api_of_an_older_release_leaves_the_page_whole(opened):
    at, _ = opened(None)
    assert "Disagreements: not available on this server" in text_of(at)
    assert "v2 against v1" in text_of(at)


def test_a_refusal_is_shown_with_its_reason(opened):
    at, _ = opened((400, {"error": {"code": "invalid_request", "message": "won must be one of baseline"}}))
    assert "Won must be one of baseline" in text_of(at)


def test_the_file_is_the_one_of_the_api(begin):
    api = begin({PATH: "prediction_id,won\r\nid-9,challenger\r\n"})
    client = ApiClient(ApiConnection(api.url))
    assert client.disagreements_csv("e-1", {"challenger": "v2"}).startswith(b"prediction_id,won")
    assert api.calls[-1][3]["Accept"] == "text/csv"
    with pytest.raises(NotThere):
        client.disagreements_csv("../e", {})
