"""What the experiment page says of a comparison: means of all labelled rows, votes, counts, warnings and terms."""

import pytest

from app.ui.experiment_records import ApiComparison, ApiExperiment, ApiPoint
from app.ui.findings import at_one_moment, labels_left, progress
from app.ui.records import ApiConfiguration
from app.ui.tables import terms_of
from app.ui.wording import chance, odds, p_value
from tests.ui import answers
from tests.ui.conftest import checked, text_of

NEW_OF_A_COMPARISON = (
    "improvement",
    "unit",
    "units",
    "distinct_rows",
    "both_right",
    "only_baseline",
    "only_challenger",
    "both_wrong",
    "missing",
    "unlabelled_disagreements",
    "warnings",
    "adjusted_log_e",
    "gate_log_e",
)


def experiment(comparison=None, **changes):
    compared = {**answers.COMPARISON, **(comparison or {})}
    return {**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, "comparisons": [compared], **changes}}


def counts_of(at):
    """The table of counts, by name."""
    tables = [each.value for each in at.dataframe if "count" in each.value.columns]
    return {name: count for table in tables for name, count in table.itertuples(index=False)}


def test_the_mean_of_all_labelled_rows_stands_beside_the_one_as_served(api, page):
    tables = [each.value for each in page("experiment").dataframe]
    (means,) = [table for table in tables if "as served" in table.columns]
    assert means.iloc[0].to_list() == ["v1", "91.4 %", "88.0 to 94.0 %", "93.0 %", "90.0 to 95.0 %"]


def test_who_was_right_and_what_is_missing_is_counted(api, page):
    assert counts_of(page("experiment")) == {
        "different rows among the wins and losses": "4",
        "rows that v2 failed to answer": "2",
        "disagreements without a label": "5",
    }


def test_the_square_of_right_and_wrong_opens_its_rows(begin, page):
    path = "/experiment/e-1/disagreements"
    api = begin({**answers.NORMAL, path: {"disagreements": []}})
    at = page("experiment")
    assert "Both right: 7" in text_of(at)
    assert [each.label for each in at.button if (each.key or "").startswith("square-")] == [
        "Only v1 right: 1",
        "Only v2 right: 3",
        "Both wrong: 1",
    ]
    assert path not in api.paths()
    at = checked(at.button(key="square-challenger").click().run())
    assert path in api.paths()
    assert at.selectbox(key="won").value == "challenger"


def test_warnings_are_sentences_beside_the_comparison_and_no_errors(api, page):
    at = page("experiment")
    assert any("- All 13 losses come from 2 rows." in each.value for each in at.markdown)
    assert not at.error


def test_a_release_without_units_is_shown_as_before(begin, page):
    variants = [
        {key: value for key, value in each.items() if not key.endswith("_all")}
        for each in answers.EXPERIMENT["variants"]
    ]
    old = {key: value for key, value in answers.COMPARISON.items() if key not in NEW_OF_A_COMPARISON}
    config = {key: answers.CONFIG[key] for key in ("epoch", "weights", "champion", "auto_decide", "policy")}
    begin({**experiment(comparisons=[old], variants=variants), "/config": config})
    shown = text_of(page("experiment"))
    assert "12 labelled outcomes." in shown
    assert "all labelled rows" not in shown
    assert "Terms" not in shown


def test_terms_and_timeline_of_the_experiment_before_are_not_shown(begin, page):
    former = {
        "/config": {**answers.CONFIG, "experiment_id": "e-0"},
        "/experiment/timeline": {**answers.TIMELINE, "experiment_id": "e-0"},
    }
    begin({**answers.NORMAL, **former})
    shown = text_of(page("experiment"))
    assert "Terms" not in shown
    # The report's own figures alone.
    (points,) = [each.value for each in page("experiment").dataframe if "votes" in each.value.columns][:1]
    assert points["votes"].to_list() == [12]


def test_a_loss_has_no_probability_of_winning_rows_beside_its_mean(begin, page):
    begin(experiment({"method": "paired_numeric", "wins": None, "losses": None, "units": 9}, metric="brier"))
    shown = text_of(page("experiment"))
    assert "Probability" not in shown
    assert "Votes 9 of 12 outcomes" in shown
    assert "Improvement in brier +0.02 −0.10 to +0.20" in shown
    assert "Mean brier (lower is better) over all labelled rows" in shown


def test_the_evidence_shown_is_the_one_that_decides(begin, page):
    begin(experiment({"log_e": 6.0, "adjusted_log_e": 1.5}))
    shown = text_of(page("experiment"))
    assert "Evidence now 4.48 to 1 decision at 20 to 1" in shown


def test_the_chart_ends_with_the_figures_beside_it():
    """The timeline may be older than the report, or newer."""
    report = ApiExperiment(id="e-1", computed_at=answers.NOW)
    each = ApiComparison(challenger="v2", n=12, units=9, difference=0.5, interval=(0.4, 0.6), log_e=3.0)
    points = [ApiPoint(challenger="v2", n=n, difference=0.1) for n in (3, 9, 11)]
    shown = at_one_moment(points, each, report)
    assert [(point.n, point.difference) for point in shown] == [(3, 0.1), (9, 0.5)]


@pytest.mark.parametrize(
    ("log_e", "said"), [(None, "–"), (9.5, "13,360 to 1"), (11.6, "10^5 to 1"), (5000.0, "10^2171 to 1")]
)
def test_the_evidence_fits_its_place(log_e, said):
    assert odds(log_e) == said


@pytest.mark.parametrize(
    ("changes", "metric", "said"),
    [
        (
            {"n": 12_000, "unit": "user", "units": 600},
            "accuracy",
            "12,000 labelled outcomes, of which 600 vote (each user once).",
        ),
        ({"n": 12, "unit": "key", "units": 3}, "accuracy", "of which 3 vote (each own key once)."),
        ({"n": 12, "unit": "request", "units": 12}, "reward", "12 outcomes, each with a vote."),
        ({"n": 12, "verdict": "better"}, "accuracy", "A verdict is on record; 12 labelled outcomes."),
        ({"n": 0}, "reward", "Send them with `POST /feedback`"),
    ],
)
def test_outcomes_are_told_from_votes(changes, metric, said):
    assert said in progress(ApiComparison(challenger="v2", **changes), ApiExperiment(id="e-1", metric=metric))


def test_a_forecast_counts_units():
    left = labels_left(ApiComparison(challenger="v2", unit="user", remaining=(37.5, 100.0)))
    assert left == "38–100 more labelled users (80 % range)"


@pytest.mark.parametrize(
    ("p", "said"), [(None, "p = –"), (0.012, "p = 0.012"), (1e-4, "p = 0.0001"), (9.9e-5, "p < 0.0001"), (1.0, "p = 1")]
)
def test_a_small_p_value_is_said_without_its_digits(p, said):
    assert p_value(p) == said


@pytest.mark.parametrize(
    ("value", "said"), [(None, "–"), (0.5, "50.0 %"), (0.99999, "> 99.9 %"), (1e-9, "< 0.1 %"), (0.999, "99.9 %")]
)
def test_a_probability_is_never_rounded_to_certainty(value, said):
    assert chance(value) == said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"unit": "user", "guardrail_slow": "2x"}, "slow answers: above 2x (x: the baseline's 95th percentile)"),
        ({"guardrail_slow": "off"}, "unit: none (each request votes; begin a new experiment to change it)"),
        ({"guardrail_slow": "off"}, "slow answers: not watched"),
        ({"guardrail_slow": "off", "min_duration_s": 604800.0}, "automatic promotion: not before 7 days"),
        ({"guardrail_slow": "off"}, "automatic promotion: without a minimum duration"),
        ({"guardrail_slow": "off", "min_duration_s": 604800.0, "auto_decide": "rollback"}, "automatic promotion: off"),
        ({"metric": "reward", "guardrail_slow": "off", "reward_window_s": 172800.0}, "reward window: 2 days"),
        ({"metric": "reward", "guardrail_slow": "off"}, "reward window: none"),
        ({"guardrail_slow": "off"}, "labels declared independent of the answer: no"),
    ],
)
def test_the_terms_are_said_in_words(config, said):
    assert said in terms_of(ApiConfiguration(**config))


def test_a_version_that_takes_no_part_is_named_with_the_reason(begin, page):
    begin(experiment(excluded={"v3": "reads the column wind_speed, which no request has"}))
    shown = text_of(page("experiment"))
    assert "v3 takes no part. Reads the column wind_speed, which no request has." in shown.replace("**", "")


@pytest.mark.parametrize(
    ("share", "shown"), [(0.42, "42.0 %"), (0.0, "0 %"), (0.0001, "< 0.1 %"), (0.99996, "99.9 %"), (None, "–")]
)
def test_the_share_of_the_requests_in_which_a_version_could_take_part_is_shown(begin, page, share, shown):
    variants = [answers.variant("v1", answerable_share=1.0), answers.variant("v2", answerable_share=share)]
    variants.append(answers.variant("v3", answerable_share=0.5))
    begin(experiment(variants=variants))
    (table,) = [each.value for each in page("experiment").dataframe if "could take part" in each.value.columns]
    assert table["could take part"].to_list() == ["100 %", shown, "50.0 %"]


@pytest.mark.parametrize("share", [1.0, None])
def test_nothing_is_said_of_taking_part_where_every_request_has_every_column(begin, page, share):
    variants = [answers.variant(name, answerable_share=share) for name in ("v1", "v2")]
    begin(experiment(variants=variants))
    assert all("could take part" not in each.value.columns for each in page("experiment").dataframe)
