"""The first screen of the experiment: the action, its size on the same rows, trust, the cost of waiting, one table."""

import base64
import time
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import findings
from app.ui.experiment_records import (
    ApiCheck,
    ApiComparison,
    ApiDrift,
    ApiExperiment,
    ApiLag,
    ApiPoint,
    ApiRecommendation,
    ApiVariant,
)
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

NOW = time.time()


def ago(seconds):
    return datetime.fromtimestamp(NOW - seconds, UTC).isoformat()


def compared(**changes):
    base = {
        "n": 1000,
        "difference": 0.02,
        "interval": (0.01, 0.03),
        "both_right": 900,
        "units": 1000,
        "unit": "request",
    }
    square = {"only_baseline": 20, "only_challenger": 40, "both_wrong": 40}
    return ApiComparison(challenger="v2", **{**base, **square, **changes})


def report(*comparisons, **changes):
    variants = (
        ApiVariant(version="v1", weight=0.5, requests=5000),
        ApiVariant(version="v2", weight=0.5, requests=5000),
    )
    base = {"id": "e", "baseline": "v1", "metric": "accuracy", "started": ago(86_400), "variants": variants}
    return ApiExperiment(**{**base, "comparisons": comparisons or (compared(),), **changes})


def test_the_size_is_said_on_the_rows_that_it_is_of():
    assert findings.same_rows(compared(), report()) == "Of the same 1,000 rows v1 right in 92.0 %, v2 right in 94.0 %."


@pytest.mark.parametrize(
    "changes",
    [{"units": 600, "unit": "user"}, {"both_wrong": None}, {"difference": 0.015}, {"unit": "row", "units": 9}],
)
def test_means_that_are_not_of_the_votes_are_not_shown_beside_the_difference(changes):
    assert "right in" not in findings.same_rows(compared(**changes), report())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # 10,000 requests a day, half of them by v1.
        ({}, ("about 100 wrong answers a day", "About 100 so far")),
        ({"difference": -0.02, "interval": (-0.03, -0.01)}, ("about 100 wrong answers a day", "that v2 serves")),
        ({"interval": (-0.01, 0.03)}, ("at most 150 wrong answers a day", "Which one is worse is not known")),
        ({"interval": None}, ("not known", "right or wrong")),
        ({"both_right": None}, ("not known", "right or wrong")),
    ],
)
def test_waiting_costs_the_answers_that_the_worse_version_gets_wrong(changes, said):
    value, note = findings.cost_of(compared(**changes), report(), NOW)
    assert value == said[0]
    assert said[1] in note


def test_in_the_first_hour_the_cost_is_that_of_1_000_requests():
    value, _ = findings.cost_of(compared(), report(started=ago(60)), NOW)
    assert value == "about 10 wrong answers in 1,000 requests"


def test_the_cost_of_waiting_says_that_a_comparison_under_suspicion_is_no_ground_for_it():
    doubted = report(recommendation=ApiRecommendation("investigate"))
    for shown, said in ((doubted, True), (report(), False)):
        *_, (_, _, note) = findings.facts_of(compared(), shown, None, (), NOW)
        assert ("only if the comparison can be trusted" in note) is said


def points(*pairs):
    return [ApiPoint(challenger="v2", n=n, at=ago(seconds)) for seconds, n in pairs]


def test_labels_left_are_given_as_time_at_the_present_rate():
    waiting = compared(verdict="undecided", remaining=(200.0, 2000.0))
    rate = points((86_400 * 9, 1), (86_400, 800), (0, 1000))
    assert findings.labels_to_come(waiting, rate, NOW, None) == (
        "200–2,000 more labels",
        "80 % range. 24 hours to 10 days at the present rate.",
    )


@pytest.mark.parametrize("known", [[], points((0, 5)), points((10, 5), (0, 5)), [ApiPoint(challenger="v2", n=3)]])
def test_a_rate_that_is_not_known_is_not_invented(known):
    assert findings.vote_rate(known, NOW) is None


@pytest.mark.parametrize(
    ("known", "said"),
    [
        # 300 labels in a burst, and nothing in the hour since.
        (points((3660, 0), (3600, 300)), "Up to 2 hours at the present rate."),
        (points((200_000, 0), (90_000, 300)), "No new vote has been counted in the last day."),
    ],
)
def test_the_rate_counts_the_time_in_which_no_label_came(known, said):
    waiting = compared(verdict="undecided", remaining=(0.0, 600.0))
    assert findings.labels_to_come(waiting, known, NOW, None)[1] == f"80 % range. {said}"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (29.0, "No new vote has been counted in the last day."),
        (86_400.0, "The rate is not known: the monitor is behind."),
    ],
)
def test_while_the_monitor_is_behind_the_labels_that_wait_for_it_are_not_said_to_be_missing(seconds, said):
    waiting = compared(verdict="undecided", remaining=(0.0, 600.0))
    shown = report(waiting, lag=ApiLag(rows=3, seconds=seconds))
    *_, (_, _, note), _ = findings.facts_of(waiting, shown, None, points((200_000, 0), (90_000, 300)), NOW)
    assert note == f"80 % range. {said}"


CHECK = ApiCheck(name="sample_ratio", ok=True, p_value=1.0)


@pytest.mark.parametrize(
    ("changes", "drift", "said"),
    [
        ({"checks": (CHECK,)}, None, "✔ no problem found"),
        ({"checks": (ApiCheck(name="label_rate", ok=None),)}, None, "… not known yet: label rate"),
        ({"guardrails": (ApiCheck(name="errors", ok=False),)}, None, "✖ errors failed"),
        ({}, ApiDrift(alarm=True), "✖ drift alarm"),
        ({"checks": (ApiCheck(name="drift", ok=False),)}, ApiDrift(alarm=True), "✖ drift alarm"),
        (
            {"comparisons": (compared(distinct_rows=2, verdict="better"),)},
            None,
            "✖ decided by only 2 different rows",
        ),
        ({"comparisons": (compared(distinct_rows=8),)}, None, "… not known yet: only 8 different rows so far"),
    ],
)
def test_what_speaks_against_the_figures_is_named(changes, drift, said):
    found = report(**changes)
    words, note = findings.trust_in(found.comparisons[0], found, drift)
    assert words == said
    assert "alarm" not in note


def test_what_is_not_decided_is_not_said_to_be_decided_by_its_rows():
    found = report(compared(distinct_rows=40))
    assert "wins and losses come from 40 different rows" in findings.trust_in(found.comparisons[0], found, None)[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distinct_rows": 257}, "come from about 257 different rows"),
        ({"asymptotic": True}, "the interval is an approximation"),
    ],
)
def test_what_is_an_estimate_is_said_to_be_one(changes, said):
    found = report(compared(**changes))
    assert said in findings.trust_in(found.comparisons[0], found, None)[1]


def test_a_check_without_data_has_not_passed():
    empty = report(variants=(ApiVariant(version="v1"),))
    assert findings.check_state(CHECK, empty) is None
    assert findings.check_state(CHECK, report()) is True
    assert findings.check_state(ApiCheck(name="label_rate", ok=True), report()) is None


def test_the_action_its_size_and_its_button_come_first(begin, page):
    advice = {"action": "promote", "version": "v2", "reason": "v2 is better."}
    comparison = {**answers.COMPARISON, "interval": [0.006, 0.036], "verdict": "better"}
    begin(
        {**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, "recommendation": advice, "comparisons": [comparison]}}
    )
    at = page("experiment")
    said = text_of(at)
    assert "**Promote v2.** v2 is better." in said
    assert "##### +2.1 points" in said
    assert "95 % interval +0.6 to +3.6 points" in said
    assert at.button[0].label == "Promote v2"


@pytest.mark.parametrize(("failed", "links"), [("drift", ["See what has drifted"]), ("sample_ratio", [])])
def test_where_a_drift_alarm_is_to_be_explained_the_page_leads_to_it(begin, page, failed, links):
    advice = {"action": "investigate", "version": None, "reason": "the inputs have changed"}
    changes = {"recommendation": advice, "checks": [{"name": failed, "ok": False}]}
    begin({**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, **changes}})
    assert [each.proto.label for each in page("experiment").get("page_link")] == links


def test_the_dashboard_opens_on_the_experiment(api):
    at = checked(AppTest.from_file("../../app/ui/main.py", default_timeout=60).run())
    assert [each.value for each in at.title] == ["Experiment"]


def test_without_a_decision_the_advice_is_to_keep_running(api, page):
    assert "**Keep running: no decision yet.** It is too early to tell." in text_of(page("experiment"))


def several():
    each = [
        {**answers.COMPARISON, "challenger": name, "interval": ends}
        for name, ends in (("v2", [-0.1, 0.2]), ("v3", [0.0, 0.4]))
    ]
    return {**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, "comparisons": each}}


def test_each_challenger_is_a_row_with_its_interval_drawn_on_one_axis(begin, page):
    begin(several())
    (table,) = [each.value for each in page("experiment").dataframe if "challenger" in each.value.columns]
    assert table["challenger"].to_list() == ["v2", "v3"]
    assert table["95 % interval"].to_list() == ["−10 to +20 points", "0 to +40 points"]
    drawn = [base64.b64decode(uri.split(",")[1]).decode() for uri in table["drawn"]]
    zeros = {svg.split('x1="')[1].split('"')[0] for svg in drawn}
    assert len(zeros) == 1


@pytest.mark.parametrize("name", ["v2", "v3"])
def test_a_link_opens_a_challenger(begin, page, name):
    begin(several())
    titles = [each.value for each in page("experiment", challenger=name).subheader]
    assert f"{name} against v1" in titles
    assert f"Why: where {name} and v1 differ" in titles


ENDED = {**answers.EXPERIMENT, "id": "e-0", "state": "ended", "ended": "2026-11-20T11:00:00Z"}
LISTING = {
    "experiments": [
        {"id": "e-1", "started": "2026-11-20T12:00:00Z", "baseline": "v1", "versions": ["v1", "v2"]},
        {
            "id": "e-0",
            "started": "2026-11-13T12:00:00Z",
            "ended": "2026-11-20T11:00:00Z",
            "ended_by": "promote",
            "baseline": "v1",
            "versions": ["v1", "v2"],
        },
        {"id": "e-a", "started": "2026-11-12T12:00:00Z", "ended": "2026-11-13T12:00:00Z", "ended_by": "configure"},
    ]
}
PAST = {**answers.NORMAL, "/experiments": LISTING, "/experiments/e-0": ENDED}


def test_an_experiment_that_has_ended_is_chosen_from_the_list_with_its_final_report(begin, page):
    begin(PAST)
    at = page("experiment")
    _, promoted, replaced = at.selectbox(key="experiment-picked-e-1").options
    assert "ended 2026-11-20 11:00:00 UTC by promote" in promoted
    assert "ended 2026-11-13 12:00:00 UTC by a new experiment" in replaced
    at = checked(at.selectbox(key="experiment-picked-e-1").set_value("e-0").run())
    assert "ran from 2026-11-20 12:00:00 UTC to 2026-11-20 11:00:00 UTC" in text_of(at)
    assert at.query_params["id"] in ("e-0", ["e-0"])


def test_an_experiment_that_has_ended_says_what_ended_it_below_the_advice(begin, page):
    change = {"experiment_id": {"before": "e-0", "after": "e-1"}}
    entry = {**answers.AUDIT["entries"][0], "action": "promote", "version": "v2", "note": "*it* is", "changes": change}
    begin({**PAST, "/audit": {"entries": [{**entry, "experiment_id": "e-0"}]}})
    said = text_of(page("experiment", id="e-0"))
    assert "**Ended 2026-11-20 11:00:00 UTC:** promote v2, by ann\\: \\*it\\* is" in said


@pytest.mark.parametrize(
    ("action", "version", "said"),
    [("continue", None, "Ended without a verdict"), ("promote", "v2", "Advice at the end: promote v2")],
)
def test_an_experiment_that_has_ended_advises_nothing_for_now(action, version, said):
    over = report(ended=ago(3600), recommendation=ApiRecommendation(action=action, version=version))
    assert findings.advised(over) == said
    *_, labels, waiting = findings.facts_of(compared(remaining=(80, 900)), over, None, (), NOW)
    assert labels[1] == waiting[1] == "nothing: it has ended"


def test_nothing_can_be_decided_on_an_experiment_that_has_ended(begin, page):
    begin(PAST)
    at = page("experiment", id="e-0")
    assert "Change the split" not in text_of(at)
    assert not [each for each in at.selectbox if each.key == "decision.other"]
    at = checked(button(at, "Show the running experiment").click().run())
    assert "Experiment e-1" in text_of(at)


def test_an_experiment_that_is_not_there_is_said_to_be_missing(begin, page):
    unknown = (404, {"error": {"code": "unknown_experiment", "message": "there is no experiment 'e-9'"}})
    begin({**PAST, "/experiments/e-9": unknown})
    assert "There is no experiment 'e-9'" in text_of(page("experiment", id="e-9"))
