"""The Drift page says which streams raised the alarm, with their evidence at that moment, until it is acknowledged."""

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui import answers
from tests.ui.conftest import checked, text_of

LENGTH = {"name": "length", "kind": "inputs", "evidence": 1.0, "requests": 1510, "at": "2026-11-20T12:00:00Z"}
DISTANCE = {**LENGTH, "name": "distance", "kind": "joint"}
CLASS = {**LENGTH, "name": "class", "kind": "outputs", "requests": 40}
ERRORS = {**LENGTH, "name": "errors", "kind": "errors", "requests": 25, "at": None}


def drift(**changed):
    return {**answers.NORMAL, "/drift": {**answers.DRIFT, **changed}}


@pytest.mark.parametrize(
    ("streams", "named"),
    [
        ([LENGTH], "the inputs"),
        ([ERRORS, LENGTH], "the inputs and the errors"),
        ([LENGTH, CLASS, ERRORS], "the inputs, the answers and the errors"),
        ([DISTANCE], "the relations between the inputs"),
        ([CLASS], "the answers"),
        ([ERRORS], "the errors"),
    ],
)
def test_the_alarm_names_the_kinds_of_streams_that_raised_it_and_no_other(begin, page, streams, named):
    begin(drift(alarm_streams=streams))
    assert f"**Alarm: a change is proven in {named}.**" in text_of(page("drift"))


def test_each_stream_is_shown_as_it_was_when_it_raised_the_alarm(begin, page):
    begin(
        drift(
            evidence=0.1, alarm_streams=[LENGTH, CLASS, ERRORS], assumption="The alarm takes requests for exchangeable."
        )
    )
    at = page("drift")
    table = at.dataframe[0].value
    assert table[["raised by", "kind", "evidence then", "after"]].values.tolist() == [
        ["length", "the inputs", 1.0, "1,510 requests"],
        ["class", "the answers", 1.0, "40 answers"],
        ["errors", "the errors", 1.0, "25 labels"],
    ]
    assert "The alarm takes requests for exchangeable." in text_of(at)


def test_an_alarm_that_begins_while_the_page_is_open_gets_its_button(begin):
    """The live part redraws on its own, and the button is below it."""
    begin(drift(alarm_streams=[LENGTH]))
    at = AppTest.from_string(
        "import streamlit as st\n"
        "from app.ui.views import drift\n"
        "st.session_state['runs'] = st.session_state.get('runs', 0) + 1\n"
        "if st.session_state['runs'] == 1:\n"
        "    st.session_state[drift.SHOWN] = False\n"
        "    drift._live()\n"
        "else:\n"
        "    drift.show()\n",
        default_timeout=60,
    )
    checked(at.run())
    assert at.session_state["runs"] == 2
    assert "Acknowledge" in [each.value for each in at.subheader]


def test_an_alarm_that_ended_keeps_its_streams_and_is_not_called_none(begin, page):
    begin(drift(alarm=False, evidence=0.0, alarm_streams=[LENGTH]))
    at = page("drift")
    assert "The last one ended before anybody acknowledged it" in text_of(at)
    assert "No change in the traffic has been proven" not in text_of(at)
    assert list(at.dataframe[0].value["raised by"]) == ["length"]


def test_an_acknowledged_alarm_shows_no_streams(begin, page):
    begin(drift(alarm=False, evidence=0.0, acknowledged="2026-11-20T12:00:00Z", alarm_streams=[]))
    at = page("drift")
    assert "The last one was acknowledged" in text_of(at)
    assert "raised by" not in at.dataframe[0].value.columns
