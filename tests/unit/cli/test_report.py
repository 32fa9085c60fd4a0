import html
import io
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.cli import main
from app.cli.comparison import ShownAs
from app.cli.plot import Scale, axis, marks_for, plotted, scale_of
from app.cli.report import caught_up, lines_of
from app.domain.report import (
    CheckReport,
    ComparisonReport,
    MetricComparison,
    MetricReport,
    MetricVariant,
    Recommendation,
    VariantReport,
)
from tests.unit.cli.small_api import small_api
from tests.unit.services.control.deciders import report

EMPTY = report(
    "continue",
    comparisons=(ComparisonReport(challenger="v2", method="paired"),),
    recommendation=Recommendation("continue", None, "the monitor has not run yet"),
    computed_at=None,
)
WORSE = ComparisonReport(
    challenger="v3",
    method="two_sample",
    n=12_345,
    unit="user",
    units=600,
    distinct_rows=40,
    both_right=10_000,
    only_baseline=1_300,
    only_challenger=1,
    both_wrong=1_044,
    missing=1,
    unlabelled_disagreements=17,
    warnings=("all 1,300 losses come from 40 rows",),
    unjoined=7,
    difference=-0.2,
    interval=(-0.3, -0.1),
    p_value=0.000099,
    verdict="worse",
    assumptions=("nobody vouches for it",),
)
FULL = report(
    comparisons=(*report().comparisons, WORSE),
    checks=(CheckReport(name="sample_ratio", ok=False, detail="90 of 100"), CheckReport(name="label_rate", ok=None)),
    guardrails=(CheckReport(name="slow_answers", ok=True, version="v2"),),
    recommendation=Recommendation("promote", "v3", "one sentence that is long enough to need more than a single line"),
)


@pytest.fixture(scope="module")
def api():
    with small_api() as api:
        yield api


@pytest.fixture
def environment(monkeypatch, api):
    monkeypatch.setenv("API_URL", api.url)
    monkeypatch.delenv("API_TOKEN", raising=False)
    monkeypatch.setenv("ADMIN_TOKEN", "admin")


def text(shown, width=100, **options):
    return "\n".join(lines_of(msgspec.to_builtins(shown), width, **options))


def test_a_report_shows_versions_comparisons_checks_and_what_to_do():
    shown = text(FULL)
    assert "v2 against v1: BETTER, paired, 800 outcomes; improvement +3.0 points (+1.0 … +5.0), p = 0.0012" in shown
    assert "v3 against v1: WORSE, two sample, 12,345 outcomes, of which 600 vote (each user once)" in shown
    assert "p < 0.0001" in shown
    assert "7 labels without both answers" in shown
    assert "sample ratio: FAILED (90 of 100)" in shown
    assert "label rate: not known yet" in shown
    assert "slow answers of v2: ok" in shown
    assert "Promote v3: one sentence" in shown
    assert "not promoted automatically: nobody vouches for it" in shown


@pytest.mark.parametrize(
    ("name", "counted", "said"),
    [
        ("errors", {}, "errors of v2: not known yet"),
        ("errors", {"requests": 1}, "errors of v2: ok"),
        ("label_rate", {"requests": 1}, "label rate of v2: not known yet"),
        ("label_rate", {"requests": 1, "rewards": 1}, "label rate of v2: ok"),
    ],
)
def test_a_check_without_data_has_not_passed_as_on_the_dashboard(name, counted, said):
    variants = (VariantReport(version="v2", weight=0.5, **{"requests": 0, **counted}),)
    guardrails = (CheckReport(name=name, ok=True, version="v2", p_value=1.0),)
    assert said in text(report("continue", variants=variants, guardrails=guardrails))


def test_the_report_has_the_order_of_the_dashboard():
    shown = text(FULL)
    places = [shown.index(part) for part in ("Promote v3", "v2 against v1", "VERSION", "sample ratio")]
    assert places == sorted(places)


def test_versions_without_outcomes_take_one_line():
    comparisons = tuple(ComparisonReport(challenger=name, method="paired") for name in ("v2", "v3", "v4"))
    shown = text(report("continue", comparisons=comparisons))
    assert "No outcome yet against v1: v2, v3, v4" in shown
    assert "UNDECIDED" not in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"remaining": (253.1, 25_752.2)}, "; 254–25,753 more labels (80 % range)"),
        ({"remaining": (5.0, None), "unit": "key"}, "; 5 to more than a million more labelled own keys (80 % range)"),
        ({"remaining": (5.0, 9.0), "verdict": "better"}, ""),
        ({"remaining": None}, ""),
    ],
)
def test_labels_left_are_said_as_on_the_dashboard(changes, said):
    comparison = ComparisonReport(challenger="v2", method="paired", n=10, **changes)
    shown = text(report("continue", comparisons=(comparison,)), width=200)
    assert said in shown
    assert ("80 % range" in shown) is bool(said)


def test_who_was_right_what_is_missing_and_what_limits_a_comparison_follow_it():
    shown = " ".join(text(FULL).split())
    assert "both right 10,000; only v1 1,300; only v3 1; both wrong 1,044" in shown
    assert "wins and losses from 40 rows; no answer of v3 to 1 row; disagreements without a label 17" in shown
    assert "note: all 1,300 losses come from 40 rows" in shown


def columns(shown):
    """The cells of the first version, by heading."""
    heading, row = (line for line in text(shown).splitlines() if line.startswith(("VERSION", "v1 ")))
    return dict(zip(re.split(r"  +", heading), re.split(r"  +", row), strict=False))


def test_the_mean_of_all_labelled_rows_comes_before_the_one_as_served():
    means = {"mean": 0.93, "interval": (0.9, 0.95), "mean_all": 0.914, "interval_all": (0.88, 0.94)}
    shown = report(variants=(replace(report().variants[0], **means),))
    cells = columns(shown)
    assert (cells["MEAN"], cells["INTERVAL"], cells["AS SERVED"]) == ("0.914", "0.88 … 0.94", "0.93")
    assert "over all labelled rows, also those that another version served" in text(shown)


def test_an_api_without_units_is_shown_as_it_was():
    old = msgspec.to_builtins(FULL)
    for each in old["variants"]:
        del each["mean_all"], each["interval_all"]
    for each in old["comparisons"]:
        for name in ("unit", "units", "distinct_rows", "both_right", "only_baseline", "only_challenger"):
            del each[name]
        del each["both_wrong"], each["missing"], each["unlabelled_disagreements"], each["warnings"]
    shown = "\n".join(lines_of(old, 100, {"ramp": None}))
    assert "v3 against v1: WORSE, two sample, 12,345 outcomes; improvement −20 points" in shown
    assert "AS SERVED" not in shown


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"unit": "user"}, "Unit: user; slow answers: above 1.5x+1ms"),
        ({"unit": None, "guardrail_slow": "off"}, "Unit: none, each request votes"),
        ({"unit": None, "guardrail_slow": "off"}, "slow answers: not watched"),
        ({"unit": "auto", "metric": "reward", "reward_window_s": 604800.0}, "Unit: auto; reward window 7d;"),
        ({"unit": "auto", "metric": "reward", "reward_window_s": 90.5}, "reward window 90.5s;"),
        ({"unit": "auto", "metric": "reward", "reward_window_s": None}, "Unit: auto; no reward window;"),
    ],
)
def test_the_terms_are_one_line_at_the_top(terms, words):
    config = {"ramp": None, "metric": "accuracy", "guardrail_slow": "1.5x+1ms", **terms}
    assert words in text(FULL, config=config)


RAMP = {"version": "v2", "steps": [0.1, 0.25], "step": 1, "next_step_at": "2026-11-21T12:00:00.5Z", "held": None}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"ramp": RAMP}, "Ramp of v2: step 1 of 2; 25 % follows 2026-11-21T12:00:00Z at the earliest"),
        ({"ramp": {**RAMP, "step": 2}}, "step 2 of 2; the last one; it ends 2026-11-21T12:00:00Z at the earliest"),
        ({"ramp": {**RAMP, "held": "v2 is slow"}}, "step 1 of 2; it waits: v2 is slow"),
        ({"ramp": None, "source": "ramp", "changed": "2026-11-21T12:00:00Z"}, "A ramp has ended 2026-11-21T12:00:00Z"),
    ],
)
def test_a_ramp_is_one_line_below_the_versions(config, words):
    assert words in text(FULL, config=config)


@pytest.mark.parametrize("config", [None, {"ramp": None, "source": "configure", "changed": None}])
def test_without_a_ramp_there_is_no_line_about_one(config):
    assert "amp" not in text(FULL, config=config).replace("sample", "")


def test_without_figures_there_is_no_plot_and_no_number():
    shown = text(EMPTY)
    assert "No outcome yet against v1: v2\n" in shown
    assert "Keep running: no decision yet. The monitor has not run yet" in shown
    assert "├" not in shown
    assert "None" not in shown


@pytest.mark.parametrize(
    ("action", "version", "said"),
    [
        ("continue", None, "Ended without a verdict. After 9 rows nothing is known."),
        ("promote", "v2", "Advice at the end: promote v2: after 9 rows nothing is known"),
    ],
)
def test_an_ended_experiment_advises_nothing_for_now(action, version, said):
    advised = {"action": action, "version": version, "reason": "after 9 rows nothing is known"}
    assert said in text({**msgspec.to_builtins(FULL), "ended": "2026-11-20T12:00:00Z", "recommendation": advised})


@pytest.mark.parametrize("shown", [FULL, EMPTY], ids=["full", "empty"])
@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(shown, width):
    assert max(map(len, lines_of(msgspec.to_builtins(shown), width))) <= width


@pytest.mark.parametrize("shown", [FULL, EMPTY], ids=["full", "empty"])
def test_plain_text_is_ascii(shown):
    assert text(shown, plain=True).isascii()


def test_all_intervals_share_one_scale_with_zero_marked():
    scale = scale_of([(-0.3, -0.1), (0.01, 0.05)], 60)
    worse, better = (plotted(interval, None, scale, marks_for(plain=True)) for interval in [(-0.3, -0.1), (0.01, 0.05)])
    assert worse.index("]") < worse.index("|") == better.index("|") < better.index("[")


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)).map(sorted), min_size=1, max_size=5),
    st.integers(20, 120),
)
def test_any_intervals_can_be_drawn(intervals, width):
    scale = scale_of(intervals, width)
    lines = [plotted(each, sum(each) / 2, scale, marks_for(plain=False)) for each in intervals]
    assert all(0 < len(line) <= width and "●" in line for line in lines)


def test_the_command_prints_the_report_and_the_ramp(environment, api, capsys):
    api.answer("/experiment", msgspec.to_builtins(FULL))
    api.answer("/config", {"ramp": RAMP})
    assert main(["report"]) == 0
    shown = capsys.readouterr().out
    assert "Promote v3" in shown
    assert "Ramp of v2" in shown
    assert api.asked[-1][2]["Authorization"] == "Bearer admin"


def growing(*reports):
    """A clock that only sleeping moves, and an API with these reports, one a call; the last one stays."""
    state = {"now": 0.0, "left": [msgspec.to_builtins(each) for each in reports]}

    def fetch():
        return state["left"].pop(0) if len(state["left"]) > 1 else state["left"][0]

    def sleep(seconds):
        state["now"] += seconds

    return fetch, lambda: state["now"], sleep


def with_requests(count, computed_at="2026-11-26T10:00:00Z"):
    (variant, *others) = FULL.variants
    return replace(FULL, computed_at=computed_at, variants=(replace(variant, requests=count), *others))


@pytest.mark.parametrize(
    ("reports", "seen"),
    [
        ([with_requests(5)], 5),
        ([with_requests(0, computed_at=None), with_requests(0, computed_at=None), with_requests(7)], 7),
        ([with_requests(1), with_requests(3), with_requests(9), with_requests(9), with_requests(10)], 9),
    ],
    ids=["complete already", "no report at first", "growing"],
)
def test_waiting_ends_once_the_monitor_has_caught_up(reports, seen):
    fetch, clock, sleep = growing(*reports)
    assert caught_up(fetch, 60, clock, sleep)["variants"][0]["requests"] == seen


def test_waiting_ends_after_its_time():
    fetch, clock, sleep = growing(with_requests(0, computed_at=None))
    assert caught_up(fetch, 30, clock, sleep)["computed_at"] is None
    assert 30 <= clock() < 32


def test_what_is_rounded_to_zero_has_no_minus_sign():
    assert ShownAs().change(-0.04, 60.0) == "+0"
    low, *_ = axis(Scale(-0.04, 60.0, 40), ShownAs()).split()
    assert low == "+0"


def test_without_waiting_the_report_is_shown_as_it_is():
    fetch, clock, sleep = growing(with_requests(1), with_requests(2))
    assert caught_up(fetch, 0, clock, sleep)["variants"][0]["requests"] == 1
    assert clock() == 0


def test_json_is_the_apis_answer(environment, api, capsys):
    api.answer("/experiments/e0", msgspec.to_builtins(EMPTY))
    assert main(["report", "--json", "--id", "e0"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(msgspec.json.encode(EMPTY))


def with_report(api, shown):
    name = shown.id
    api.asked.clear()
    api.answer("/experiment", msgspec.to_builtins(shown))
    api.answer(f"/experiments/{name}", msgspec.to_builtins(replace(shown, ended="2026-11-26T11:00:00Z", state="ended")))
    api.answer(f"/experiment/timeline?points=200&id={name}", {"experiment_id": name, "points": []})
    api.answer(f"/audit?limit=200&experiment={name}", {"entries": [], "next": None})
    api.answer("/config", {"epoch": 1, "experiment_id": name})
    terms = {"epoch": 1, "experiment_id": name, "metric": "accuracy", "unit": "user", "guardrail_slow": "off"}
    api.answer(f"/config?experiment={name}", terms)
    api.answer("/drift", {"version": "v1"})


@pytest.mark.parametrize("options", [(), ("--id", "e1")])
def test_a_report_to_send_is_one_file_with_the_apis_figures(environment, api, capsys, tmp_path, options):
    with_report(api, report())
    target = tmp_path / "report.html"
    assert main(["report", "--html", str(target), *options]) == 0
    assert str(target) in capsys.readouterr().out
    document = target.read_text()
    assert ("Advice at the end: promote v2." if options else "Promote v2.") in document
    assert report().recommendation.reason in html.unescape(document)
    assert "Terms · unit: user" in html.unescape(document)
    assert ("/drift" in [path for _, path, _, _ in api.asked]) == (not options)


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [("no/such/report.html", (), "cannot write"), ("a.html", ("--json",), "without --by and --json")],
)
def test_a_report_that_cannot_be_written_says_why(environment, api, capsys, tmp_path, target, options, said):
    with_report(api, report())
    assert main(["report", "--html", str(tmp_path / target), *options]) == 1
    assert said in capsys.readouterr().err


def test_an_api_that_does_not_run_is_an_error_that_says_how_to_start_it(environment, capsys):
    assert main(["report", "--url", "http://127.0.0.1:9"]) == 1
    assert "bakeoff serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": "this call needs a token"}}, "API_TOKEN"),
        (503, {"error": {"message": "the store is away"}}, "the store is away"),
        (502, b"<html>", "this is the API's address"),
        (500, {"oops": 1}, "answered 500"),
    ],
)
def test_an_error_of_the_api_is_printed_with_what_to_do(environment, api, capsys, status, body, words):
    api.answer("/experiment", body, status)
    assert main(["report"]) == 1
    assert words in capsys.readouterr().err


DECIDED = {
    "decision": {"seq": 4, "action": "rollback", "version": "v1", "checked": {"answers": True, "detail": None}},
    "config": {"weights": {"v1": 1.0, "v2": 0.0}, "experiment_id": "e2"},
}


def test_a_decision_goes_to_the_api_with_the_token_the_actor_and_the_note(environment, api, capsys):
    api.answer("/experiment/decision", DECIDED)
    assert main(["decide", "promote", "v2", "--note", "cheaper", "--actor", "Zoë", "--yes"]) == 0
    method, _, headers, body = api.asked[-1]
    assert (method, headers["Authorization"]) == ("POST", "Bearer admin")
    assert headers["X-Actor"].encode("latin-1").decode() == "Zoë"
    assert json.loads(body) == {"action": "promote", "version": "v2", "note": "cheaper"}


def test_a_decision_prints_the_configuration_in_force_and_whether_the_version_answers(environment, api, capsys):
    api.answer("/experiment/decision", DECIDED)
    assert main(["decide", "rollback", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "v1 100 %, v2 0 %" in shown
    assert "v1 answers" in shown


def test_without_a_terminal_a_decision_needs_yes(environment, api, capsys):
    asked = len(api.asked)
    assert main(["decide", "keep"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert len(api.asked) == asked


def test_promoting_needs_a_version(environment, capsys):
    assert main(["decide", "promote", "--yes"]) == 1
    assert "decide promote v2" in capsys.readouterr().err


def test_a_refused_decision_is_exit_1_with_the_reason(environment, api, capsys):
    api.answer("/experiment/decision", {"error": {"message": "v1 is already champion"}}, 409)
    assert main(["decide", "promote", "v1", "--yes"]) == 1
    assert capsys.readouterr().err == "error: v1 is already champion\n"


def test_a_report_of_rewards_counts_rewards():
    rewarded = report(metric="reward", variants=(replace(report().variants[0], rewards=77, labelled=5),))
    heading, row = (line for line in text(rewarded).splitlines() if line.startswith(("VERSION", "v1 ")))
    assert dict(zip(heading.split(), row.replace(" %", "%").split(), strict=False))["REWARDS"] == "77"


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard input a terminal where the user types a line."""

    def type_line(line):
        typed = io.StringIO(line)
        typed.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", typed)

    return type_line


def test_a_user_confirms_after_seeing_the_recommendation(environment, api, capsys, terminal):
    api.answer("/experiment", msgspec.to_builtins(EMPTY))
    api.answer("/experiment/decision", DECIDED)
    terminal("y\n")
    assert main(["decide", "keep", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == DECIDED
    assert captured.err == "The report recommends: continue: the monitor has not run yet\nDecide keep? [y/N] "


@pytest.mark.parametrize("line", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_decided(environment, api, capsys, terminal, line):
    api.answer("/experiment", msgspec.to_builtins(FULL))
    terminal(line)
    assert main(["decide", "promote", "v2"]) == 1
    assert capsys.readouterr().err.endswith("Decide promote v2? [y/N] Not confirmed: nothing was changed.\n")
    assert api.asked[-1][:2] == ("GET", "/experiment")


def test_a_version_that_fails_its_health_probe_is_named(environment, api, capsys):
    checked = {"answers": False, "detail": "it raised ValueError"}
    api.answer("/experiment/decision", {**DECIDED, "decision": {**DECIDED["decision"], "checked": checked}})
    assert main(["decide", "rollback", "--yes"]) == 0
    assert "v1 FAILS its health probe: it raised ValueError" in capsys.readouterr().out


def test_what_takes_part_in_some_requests_or_in_none_stands_below_the_versions():
    shares = [1.0, 0.4237, 0.0]
    variants = tuple(
        replace(report().variants[0], version=f"v{number}", answerable_share=share)
        for number, share in enumerate(shares, 1)
    )
    excluded = {"v3": "reads the column wind_speed, which no request has"}
    shown = " ".join(text(report(variants=variants, excluded=excluded)).split())
    assert "v2 could take part in 42 % of the requests: the others lack a column that it reads" in shown
    assert "v3 takes no part: reads the column wind_speed, which no request has" in shown
    assert "v1 could" not in shown
    assert "v3 could" not in shown


def test_nothing_is_said_of_taking_part_where_every_request_has_every_column():
    shown = text(report(variants=(replace(report().variants[0], answerable_share=1.0),)))
    assert "take part" not in shown


def test_secondary_metrics_stand_below_the_comparisons_and_say_that_nothing_is_decided_on_them():
    recall = MetricReport(
        metric="recall",
        described="recall of yes",
        higher_is_better=True,
        processed=0.42,
        variants=(
            MetricVariant(version="v1", n=40, mean_all=0.8, interval_all=(0.7, 0.9)),
            MetricVariant(version="v2"),
        ),
        comparisons=(
            MetricComparison(challenger="v2", method="paired", n=50, units=50, improvement=-0.8, interval=(-0.9, -0.7)),
        ),
    )
    shown = " ".join(text(report(metrics=(recall,))).split())
    assert "recall of yes (not decided on; higher is better): v1 0.8 (0.7 … 0.9), v2 –; 42 % of the log is" in shown
    assert "v2: improvement −0.8000 (−0.9000 … −0.7000), paired, 50 outcomes" in shown
