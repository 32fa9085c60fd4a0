import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.outlook import Outlook
from app.cli.published import Measured, as_data, as_text, latency_text, slow_warning, unit_text
from app.domain.experiment import CaseFacts, slow_limit
from app.inference.latency import SingleRowLatency
from app.settings import Settings
from app.training.findings import DataReport, Finding
from app.training.session import PublishedVersion, SessionResult
from tests import builders

DEFAULT = Settings()
SLOW = SingleRowLatency(16_000.0, "v1", 50.0)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.031, "3.1 % of the reference's rows stand in it more than once: without user_id or id each request votes"),
        (0.0, "0 % of the reference's rows stand in it more than once: without user_id or id each different row votes"),
        (None, None),
    ],
)
def test_the_reference_says_whose_votes_count(share, said):
    assert unit_text(CaseFacts(repeated_share=share), DEFAULT) == said


def test_where_the_environment_sets_the_unit_the_reference_says_nothing():
    assert unit_text(CaseFacts(repeated_share=0.031), Settings(experiment_unit="user")) is None


def test_a_slow_version_is_told_what_to_set():
    assert slow_warning(SLOW, DEFAULT) == (
        "16 ms beside the champion's 0.05 ms: it would be taken out as slow; set GUARDRAIL_SLOW, "
        "e.g. GUARDRAIL_SLOW=1.5x+20ms"
    )


def test_where_no_decision_is_automatic_it_is_only_reported():
    assert "it would be reported as slow" in slow_warning(SLOW, Settings(auto_decide="off"))


@pytest.mark.parametrize(
    ("latency", "limit"),
    [
        (SingleRowLatency(1050.0, "v1", 50.0), "1.5x+1ms"),
        (SLOW, "400x+1ms"),
        (SLOW, "+16ms"),
        (SLOW, "off"),
        (SingleRowLatency(16_000.0), "1.5x+1ms"),
    ],
)
def test_a_version_that_passes_is_told_nothing(latency, limit):
    assert slow_warning(latency, Settings(guardrail_slow=limit)) is None


@given(
    st.floats(1, 1e7),
    st.floats(1e-3, 1e7),
    st.sampled_from(["1.5x+1ms", "2x", "1x", "+5ms", "1x+250us", "30x+0.01s"]),
)
def test_the_limit_that_is_offered_lets_the_version_pass_with_room(own_us, champion_us, limit):
    warning = slow_warning(SingleRowLatency(own_us, "v1", champion_us), Settings(guardrail_slow=limit))
    if warning is None:
        assert own_us <= slow_limit(limit).above(champion_us)
        return
    offered = slow_limit(warning.rpartition("=")[2])
    # A champion's latency of less than a microsecond is taken as one.
    assert offered.above(max(champion_us, 1.0)) >= 1.249 * own_us
    assert offered.factor >= slow_limit(limit).factor


@pytest.mark.parametrize(
    ("latency", "said"),
    [
        (SLOW, "16 ms for a single row (95th percentile), 0.05 ms for champion v1"),
        (SingleRowLatency(123_456.0), "123 ms for a single row (95th percentile)"),
    ],
)
def test_the_latency_is_said_beside_the_champions(latency, said):
    assert latency_text(latency) == said


RESULT = SessionResult(
    DataReport(rows=4, columns=1, findings=(), checks=("duplicates",)),
    (
        PublishedVersion(
            builders.manifest("v2", metrics={"holdout": {"rows": 4}}, cases=CaseFacts(repeated_share=0.5)),
            None,
            ("no convergence",),
        ),
    ),
)

FACTS = Outlook(beside="v1", new_columns=("income (EUR)",), watched=("x",), unwatched=("review",), answers=True)
MEASURED = Measured({"v2": SLOW}, {"v2": FACTS})


def test_people_read_unit_latency_and_warnings_of_each_version():
    text = as_text(RESULT, MEASURED, DEFAULT)
    assert "50 % of the reference's rows" in text
    assert "16 ms for a single row" in text
    assert text.endswith("e.g. GUARDRAIL_SLOW=1.5x+20ms")
    assert "warning: no convergence" in text


def test_programs_read_them_as_data():
    (version,) = as_data(RESULT, MEASURED, DEFAULT)["versions"]
    assert version["repeated_share"] == 0.5
    assert version["latency"] == {"p95_us": 16_000.0, "champion": "v1", "champion_p95_us": 50.0}
    assert version["warnings"][0] == "no convergence"
    assert len(version["warnings"]) == 2


def test_the_same_facts_are_for_people_and_programs():
    text = as_text(RESULT, MEASURED, DEFAULT)
    assert "new beside v1: income (EUR)" in text
    assert "experiment: takes part beside v1, in requests that have income (EUR)" in text
    assert "watched for drift: x, answers; of review only missing values, because texts differ" in text
    data = as_data(RESULT, MEASURED, DEFAULT)
    (version,) = data["versions"]
    assert version["outlook"]["new_columns"] == ("income (EUR)",)
    assert [column["kind"] for column in version["columns"]] == ["number"] * len(version["features"])
    assert "bakeoff serve" in data["next"]


def test_a_slow_version_that_takes_no_part_is_not_told_to_be_taken_out():
    apart = Measured({"v2": SLOW}, {"v2": msgspec.structs.replace(FACTS, excluded="is a regression, and v1 is not")})
    assert as_data(RESULT, apart, DEFAULT)["versions"][0]["warnings"] == ["no convergence"]
    assert "v2 takes no part, because it is a regression, and v1 is not" in as_text(RESULT, apart, DEFAULT)


def test_a_version_that_was_not_timed_has_no_latency():
    assert as_data(RESULT, Measured(), DEFAULT)["versions"][0]["latency"] is None
    assert "single row" not in as_text(RESULT, Measured(), DEFAULT)


def test_checks_without_findings_and_columns_that_are_left_out_take_a_line_each():
    unread = [Finding("columns", "dropped", f"the model does not read column {n!r}", "left out", n) for n in ("a", "b")]
    copies = Finding("duplicates", "kept", "2 rows the same as an earlier one", "kept")
    checks = ("columns", "missing values", "duplicates", "spaces")
    report = DataReport(rows=4, columns=1, findings=(*unread, copies), checks=checks)
    lines = as_text(SessionResult(report, ()), Measured(), DEFAULT).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "Data checks: 4 rows, 1 feature",
        "columns left out, because the model does not read them: 'a', 'b'",
        "duplicates 2 rows the same as an earlier one: kept",
        "no findings missing values, spaces",
    ]
