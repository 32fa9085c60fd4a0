"""A comparison by class or feature: the choice, the figures, and an API that has none yet or does not know of it."""

import pytest

from app.tables.model_columns import ModelColumn
from app.ui.charts import parts
from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiContract
from app.ui.row_records import ApiPart
from app.ui.views.breakdown import first_by
from app.ui.wording import Scale
from tests.ui import answers
from tests.ui.answers import BREAKDOWN, part
from tests.ui.conftest import checked, text_of

PATH = "/experiment/e-1/breakdown"
BY_FEATURE = {
    **BREAKDOWN,
    "by": "feature:petal_width",
    "classes": None,
    "versions": None,
    "rows": [part("up to 1", kind="range", requests=300), part("above 1", kind="range", requests=200)],
    "all": part("all", requests=500),
}


@pytest.fixture
def opened(begin, page):
    """The experiment page with the breakdown opened."""

    def open_(answer=BREAKDOWN):
        api = begin({**answers.NORMAL, **({} if answer is None else {PATH: answer})})
        at = page("experiment")
        at.button_group(key="tab").set_value("Breakdown")
        return checked(at.run()), api

    return open_


def table_with(at, column):
    (found,) = [each.value for each in at.dataframe if column in each.value.columns]
    return found


def test_each_class_has_its_improvement_and_counts_and_empty_parts_are_left_out(opened):
    at, _ = opened()
    (improvements,) = [each.value for each in at.dataframe if {"part", "improvement"} <= {*each.value.columns}]
    assert improvements["part"].to_list() == ["setosa", "versicolor"]
    counts = table_with(at, "only v2 right")
    assert counts["part"].to_list() == ["all", "setosa", "versicolor"]
    assert "requests" not in counts.columns
    said = text_of(at)
    assert "Exploratory: nothing is decided on it. Above 0, v2 is better." in said
    assert "Each labelled request counts." in said
    assert "**comment** is text" in said


def test_the_answers_of_both_versions_stand_side_by_side_with_figures_by_class(opened):
    at, _ = opened()
    v1, v2 = table_with(at, "v1: true ↓ answered →"), table_with(at, "v2: true ↓ answered →")
    assert v1.to_numpy().tolist() == [["setosa", 130, 4], ["versicolor", 0, 128]]
    assert v2["no answer"].to_list() == [0, 2]
    figures = table_with(at, "precision v1")
    assert figures.iloc[1].to_list() == ["versicolor", "–", "–", "96.0 %", "96.0 %", "–", "–"]


def test_a_feature_is_chosen_and_asked_for_once(opened):
    at, api = opened()
    api.routes[PATH] = BY_FEATURE
    box = at.button_group(key="by")
    assert box.options == ["true class", "petal_width", "colour"]
    box.set_value("feature:petal_width")
    at = checked(checked(at.run()).run())
    assert table_with(at, "only v2 right")["requests"].to_list() == [500, 300, 200]
    assert api.paths().count(PATH) == 2
    assert not [each for each in at.dataframe if "v1: true ↓ answered →" in each.value.columns]


def test_many_features_are_a_list(opened):
    at, _ = opened({**BREAKDOWN, "features": [f"reading_{number}" for number in range(20)]})
    assert len(at.selectbox(key="by").options) == 21


def test_a_link_opens_the_breakdown_by_a_feature(begin, page):
    api = begin({**answers.NORMAL, PATH: BREAKDOWN})
    page("experiment", tab="Breakdown", by="petal_width")
    assert api.queries(PATH)[-1] == {"challenger": "v2", "by": "feature:petal_width"}


def test_without_labels_the_page_says_what_to_do(opened):
    at, _ = opened({**BREAKDOWN, "rows": [], "all": part("all", labelled=0), "features": [], "versions": None})
    assert "No labels yet: send true labels with `POST /feedback`" in text_of(at).replace("**", "")


def test_counts_are_left_out_where_nothing_is_right_or_wrong_and_no_level_is_promised_without_intervals(opened):
    none = dict.fromkeys(("both_right", "only_baseline", "only_challenger", "both_wrong", "interval"))
    at, _ = opened({**BY_FEATURE, "metric": "brier", "rows": [part("a", **none)], "all": part("all", **none)})
    assert not [each for each in at.dataframe if "part" in each.value and "both wrong" in each.value.columns]
    assert "All intervals together" not in text_of(at)


@pytest.mark.parametrize(
    ("task", "metric", "by"),
    [
        ("regression", "absolute_error", "feature:n"),
        ("classification", "reward", "feature:n"),
        ("classification", "accuracy", None),
    ],
)
def test_a_feature_is_asked_for_first_where_no_class_counts(task, metric, by):
    text, number = ModelColumn(name="t", kind="categorical", open_categories=True), ModelColumn(name="n")
    contract = ApiContract(task=task, features=(text, number))
    assert first_by(ApiExperiment(id="e", metric=metric), contract) == by


def test_an_api_of_an_older_release_leaves_the_page_whole(opened):
    at, _ = opened(None)
    assert "The breakdown: not available on this server" in text_of(at)
    assert "v2 against v1" in text_of(at)


def test_a_segment_opens_its_disagreements(opened):
    at, api = opened(BY_FEATURE)
    at = checked(at.selectbox(key="breakdown-level").set_value("above 1").run())
    assert at.selectbox(key="segment").value == "petal_width"
    assert at.selectbox(key="level").value == "above 1"
    assert api.queries("/experiment/e-1/disagreements")[-1]["level"] == "above 1"


def test_a_part_without_an_interval_is_drawn_and_described():
    rows = [ApiPart(level="a", improvement=0.5, n=3), ApiPart(level="b", interval=(-1.0, 1.0))]
    frame = parts.part_table(rows, Scale())
    assert parts.part_drawing(frame, "v1").spec["layer"]
    said = parts.part_description(rows, "v2", "v1", Scale())
    assert said == ("Improvement of v2 over v1 by part: a +0.5 (–, 3 compared); b – (−1.0 to +1.0, 0 compared).")
