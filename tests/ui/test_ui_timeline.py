"""The timeline: shares by revision, what happened, and the evidence of each decision."""

import msgspec
import pytest
from msgspec.structs import replace
from streamlit.testing.v1 import AppTest

from app.ui import events
from app.ui.charts import timeline as charts
from app.ui.experiment_records import ApiDrift, ApiExperiment, ApiTimeline
from app.ui.records import ApiAudit, ApiAuditEntry
from app.ui.tables import decision
from tests.ui import answers
from tests.ui.conftest import checked, text_of

AT = "2026-11-2{}T12:00:00.000000Z"
REPORT = ApiExperiment(id="e-1", started="2026-11-20T12:00:00.000000Z")
SPLITS = [
    {"epoch": 1, "at": AT.format(0), "source": "environment", "weights": {"v1": 1.0, "v2": 0.0}},
    {"epoch": 2, "at": AT.format(1), "source": "configure", "weights": {"v1": 0.5, "v2": 0.5}},
]
RAMP = {"version": "v2", "steps": [0.1, 0.5], "step": 0, "held": None}


def entry(**changes):
    base = {"seq": 7, "at": AT.format(1), "actor": "ann", "action": "configure", "experiment_id": "e-1"}
    return ApiAuditEntry(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        (
            {"changes": {"weights": {"before": {"v1": 1.0}, "after": {"v1": 0.5, "v2": 0.5}}}, "note": "half"},
            events.DECISION,
            "split: v1 50.0 % / v2 50.0 %, by ann: half",
        ),
        ({"action": "promote", "version": "v2"}, events.DECISION, "promote v2, by ann"),
        ({"changes": {"ramp": {"before": None, "after": RAMP}}}, events.DECISION, "ramp of v2, by ann"),
        (
            {"changes": {"ramp": {"before": RAMP, "after": None}}},
            events.DECISION,
            "end of the ramp of v2, by",
        ),
        (
            {"changes": {"experiment_id": {"after": "e-2"}, "name": {"before": None, "after": "Autumn"}}},
            events.DECISION,
            "new experiment Autumn, by ann",
        ),
        ({"changes": {"unit": {"before": "auto", "after": "user"}}}, events.DECISION, "configuration, by ann"),
        (
            {
                "action": "ramp",
                "version": "v2",
                "changes": {"weights": {"after": {"v2": 0.5}}, "ramp": {"after": RAMP}},
            },
            events.STEP,
            "ramp v2: v2 50.0 %",
        ),
        (
            {"action": "ramp", "changes": {"ramp": {"after": {**RAMP, "held": "no evidence"}}}, "note": "held: no"},
            events.HOLD,
            "held: no",
        ),
    ],
)
def test_an_entry_of_the_audit_log_is_an_event_of_its_kind(changes, kind, said):
    [event] = events.events_of(REPORT, [entry(**changes)], None)
    assert event.kind == kind
    assert said in event.text


def test_alarms_are_events_the_acknowledged_one_with_its_entry():
    seen = entry(action="acknowledge", changes={"drift_alarm": {"before": {"since": AT.format(2)}, "after": None}})
    standing = ApiDrift(alarm=True, since=AT.format(3), alarm_streams=())
    found = events.events_of(REPORT, [seen], standing)
    assert [(event.at[:10], event.kind, event.entry) for event in found] == [
        ("2026-11-23", events.ALARM, None),
        ("2026-11-22", events.ALARM, seen),
        ("2026-11-21", events.DECISION, seen),
    ]


def test_events_of_other_experiments_and_from_before_are_left_out():
    others = [entry(experiment_id="e-0"), entry(at="2026-11-19T00:00:00Z")]
    assert events.events_of(REPORT, others, None) == []


def test_a_change_of_a_ramp_is_words():
    after = {**RAMP, "step": 1, "held": "no evidence"}
    changed = decision(entry(changes={"ramp": {"before": None, "after": after}}))["changed"]
    assert changed == "ramp: none → v2 at step 2 of 2, waiting"


ENDING = {"action": "promote", "version": "v2", "note": "it is better", "changes": {"experiment_id": {"before": "e-1"}}}


@pytest.mark.parametrize(
    ("report", "entries", "said"),
    [
        ({"ended": AT.format(2)}, [ENDING], "promote v2, by ann: it is better"),
        ({"ended": AT.format(2)}, [{}], ""),
        ({"id": "e-0", "ended": AT.format(2)}, [ENDING], ""),
        ({}, [ENDING], ""),
    ],
)
def test_what_ended_an_experiment_is_said_with_who_and_why(report, entries, said):
    assert events.ending_of(replace(REPORT, **report), [entry(**each) for each in entries]) == said


@pytest.mark.parametrize(("seconds", "shown"), [(599, "%H:%M:%S"), (600, "%m-%d %H:%M")])
def test_ticks_of_one_minute_are_told_apart(seconds, shown):
    splits = msgspec.convert({"splits": SPLITS[:1]}, ApiTimeline).splits
    begun = events.unix_of(SPLITS[0]["at"])
    spec = charts.split_drawing(charts.split_table(splits, [], begun + seconds)).spec
    assert f"'format': '{shown}', 'labelOverlap'" in str(spec)


def test_shares_are_said_for_screen_readers():
    timeline = msgspec.convert({"splits": SPLITS}, ApiTimeline)
    assert events.shares_said(timeline).endswith("from 2026-11-21 12:00:00 UTC v1 50.0 % / v2 50.0 %.")
    assert events.shares_said(ApiTimeline()) == "No split is known."


def with_evidence():
    then = {**answers.EXPERIMENT, "recommendation": {"action": "promote", "version": "v2", "reason": "It was better."}}
    known = {**answers.AUDIT["entries"][0], "experiment_id": "e-1", "evidence": then}
    return {
        **answers.NORMAL,
        "/audit": {"entries": [known]},
        "/experiment/timeline": {**answers.TIMELINE, "splits": SPLITS},
    }


def opened(at):
    [found] = [each for each in at.selectbox if each.label == "Open what happened"]
    return found


def test_an_event_opens_its_entry_with_the_evidence_of_then(begin, page):
    begin(with_evidence())
    at = page("experiment")
    assert "The evidence of then" not in text_of(at)
    choice = opened(at)
    wanted = next(place for place, name in enumerate(choice.options) if "half and half" in name)
    checked(choice.select_index(wanted).run())
    assert "Promote v2. It was better." in text_of(at)
    assert "half and half" in text_of(at)


def test_a_link_to_an_event_opens_it_and_opening_one_changes_the_address(begin, page):
    begin(with_evidence())
    at = page("experiment")
    wanted = next(place for place, name in enumerate(opened(at).options) if "half and half" in name)
    at = checked(opened(at).select_index(wanted).run())
    key = at.query_params["event"]
    linked = page("experiment", event=key)
    assert "The evidence of then" in text_of(linked)
    linked = checked(opened(linked).set_value(None).run())
    assert "event" not in linked.query_params


TIMELINE = """
import streamlit as st
from app.ui.views import timeline
timeline.show(st.session_state["report"], None, st.session_state["audit"], st.session_state["drift"])
"""


def test_a_link_waits_for_the_audit_log_and_an_event_that_was_closed_stays_closed():
    at = AppTest.from_string(TIMELINE)
    linked = events.events_of(REPORT, [entry()], None)[0].key
    at.query_params["event"] = linked
    at.session_state["report"], at.session_state["audit"] = REPORT, None
    at.session_state["drift"] = ApiDrift(alarm=True, since=AT.format(3), alarm_streams=())
    assert opened(checked(at.run())).value is None
    at.session_state["audit"] = ApiAudit((entry(),))
    assert opened(checked(at.run())).value == linked
    checked(opened(at).set_value(None).run())
    assert (opened(at).value, "event" in at.query_params) == (None, False)


def test_a_link_to_an_event_that_there_is_not_leaves_the_address():
    at = AppTest.from_string(TIMELINE)
    at.query_params["event"] = "gone"
    at.session_state["report"], at.session_state["drift"] = REPORT, None
    at.session_state["audit"] = ApiAudit((entry(),))
    assert "event" not in checked(at.run()).query_params


DECISIONS = """
import streamlit as st
from app.ui.views import timeline
timeline.decisions(st.session_state["audit"])
"""
FIRST_ROW = {"selection": {"rows": [0], "columns": [], "cells": []}}


def test_a_newer_decision_is_not_opened_in_place_of_the_one_that_was():
    at = AppTest.from_string(DECISIONS)
    at.session_state["audit"], at.session_state["decisions-7"] = ApiAudit((entry(),)), FIRST_ROW
    opened = "2026-11-21 12:00:00 UTC: decision"
    assert opened in text_of(checked(at.run()))
    at.session_state["audit"] = ApiAudit((entry(seq=8, at=AT.format(2)), entry()))
    assert "2026-11-22 12:00:00 UTC: decision" not in text_of(checked(at.run()))


def test_a_row_of_the_decisions_opens_its_entry_and_is_one_line_before(begin, page):
    begin(with_evidence())
    at = page("experiment")
    (table,) = [each.value for each in at.dataframe if "when (UTC)" in each.value.columns]
    assert table.to_numpy().tolist() == [["2026-11-20 12:00", "split: v1 50.0 % / v2 50.0 %, by ann: half and half"]]
    assert "target share: v1 100.0 % → v1 50.0 % / v2 50.0 %" not in text_of(at)
    at.session_state[f"decisions-{answers.AUDIT['entries'][0]['seq']}"] = FIRST_ROW
    said = text_of(checked(at.run())).replace("\\", "")
    assert "target share: v1 100.0 % → v1 50.0 % / v2 50.0 %" in said
    assert "Promote v2. It was better." in said


def test_each_sign_in_the_chart_can_be_selected_and_names_its_event():
    timeline, found = msgspec.convert({"splits": SPLITS}, ApiTimeline), events.events_of(REPORT, [entry()], None)
    drawing = charts.split_drawing(charts.split_table(timeline.splits, found, 2e9))
    [selection] = drawing.spec["params"]
    assert (selection["name"], selection["select"]["fields"]) == (charts.MARK, ["event"])
    assert list(drawing.data["event"].dropna()) == [found[0].key]


def test_a_standing_alarm_opens_its_streams(begin, page):
    stream = {"name": "petal_width", "kind": "numeric", "evidence": 1.25, "requests": 300, "at": AT.format(0)}
    drift = {**answers.DRIFT, "since": AT.format(2), "alarm_streams": [stream]}
    begin({**with_evidence(), "/drift": drift})
    at = page("experiment")
    choice = opened(at)
    wanted = next(place for place, name in enumerate(choice.options) if "drift alarm by petal_width" in name)
    checked(choice.select_index(wanted).run())
    assert "The alarm stands" in text_of(at)
    assert "1.25" in text_of(at)


def test_an_experiment_without_events_says_so(begin, page):
    begin({**answers.NORMAL, "/audit": {"entries": []}, "/drift": {**answers.DRIFT, "alarm": False}})
    assert "Nothing was decided in this experiment yet." in text_of(page("experiment"))


def test_the_timeline_asks_for_the_decisions_on_this_experiment_and_says_where_older_ones_are(begin, page):
    api = begin(with_evidence())
    api.routes["/audit"] = {**api.routes["/audit"], "next": 7}
    said = text_of(page("experiment"))
    assert {"limit": "200", "experiment": "e-1"} in api.queries("/audit")
    assert "Only the newest decision is shown here; `GET /audit?before=7&experiment=e-1` gives" in said


def test_an_ended_experiment_without_decisions_does_not_wait_for_them(begin, page):
    ended = {**answers.EXPERIMENT, "id": "e-0", "ended": "2026-11-20T12:00:00Z"}
    begin({**answers.NORMAL, "/experiments/e-0": ended, "/audit": {"entries": []}})
    said = text_of(page("experiment", id="e-0"))
    assert "Nothing was decided in this experiment." in said
    assert "Nothing was decided in this experiment yet." not in said
