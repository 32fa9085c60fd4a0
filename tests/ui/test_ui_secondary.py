"""Secondary metrics under the verdict, and versions that are retired."""

import pytest

from tests.ui import answers
from tests.ui.conftest import text_of

RECALL = {
    "metric": "recall",
    "described": "recall of yes",
    "higher_is_better": True,
    "note": "not decided on",
    "processed": 1.0,
    "error": None,
    "variants": [
        {"version": "v1", "n": 412, "mean": 0.79, "interval": [0.7, 0.87], "mean_all": 0.8, "interval_all": None},
        {"version": "v2", "n": 400, "mean": 0.1, "interval": None, "mean_all": None, "interval_all": None},
    ],
    "comparisons": [
        {"challenger": "v2", "n": 806, "units": 700, "improvement": -0.8, "interval": [-0.84, -0.75], "warnings": []}
    ],
}


def experiment(**changes):
    return {**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, "metrics": [{**RECALL, **changes}]}}


def table_of(at):
    return [each.value for each in at.dataframe if "metric" in each.value.columns]


def test_each_secondary_metric_is_a_row_that_says_it_decides_nothing(begin, page):
    begin(experiment())
    at = page("experiment")
    (table,) = table_of(at)
    assert table.iloc[0].to_dict() == {
        "metric": "recall of yes",
        "v1": "80.0 %",
        "v2": "10.0 %",
        "improvement": "−80.0 points",
        "interval": "−84.0 to −75.0 points",
        "outcomes": 806,
        "votes": 700,
    }
    assert "(not decided on)" in text_of(at)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"processed": 0.42}, "recall of yes is still being computed: 42.0 % of the log is counted."),
        ({"error": "POSITIVE_CLASS is not a class"}, "cannot be computed at present: POSITIVE_CLASS is not a class."),
        ({"comparisons": [{"challenger": "v2", "warnings": ["few rows"]}]}, "recall of yes: Few rows."),
    ],
)
def test_what_limits_a_metric_is_said_below_the_table(begin, page, changes, said):
    begin(experiment(**changes))
    assert said in text_of(page("experiment")).replace("**", "")


def test_a_loss_says_that_lower_is_better_and_the_unknown_is_a_dash(begin, page):
    begin(experiment(higher_is_better=False, described="", variants=[], comparisons=[]))
    (table,) = table_of(page("experiment"))
    assert table.iloc[0].to_list()[:5] == ["recall (lower is better)", "–", "–", "–", "–"]


def test_a_release_without_secondary_metrics_shows_no_table(api, page):
    assert table_of(page("experiment")) == []


def retired(name):
    models = [answers.model("v1"), answers.model("v2"), answers.model("v3")]
    for model in models:
        if model["version"] == name:
            model |= {"retired": True, "serving": False, "routed": False}
    return {**answers.NORMAL, "/models": {**answers.MODELS, "models": models}}


def test_a_retired_version_is_marked_in_the_registry(begin, page):
    begin(retired("v3"))
    at = page("health")
    (table,) = [each.value for each in at.dataframe if "state" in each.value.columns]
    assert table["state"].to_list() == ["✔ loaded", "✔ loaded", "retired"]
    assert "bakeoff retire VERSION --undo" in text_of(at)


def test_a_retired_version_is_marked_in_its_experiment(begin, page):
    begin(retired("v2"))
    assert "v2 is retired." in text_of(page("experiment")).replace("**", "")
