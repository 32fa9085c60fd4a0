"""Each page in each of its five states: no exception, and the state is said in words."""

import re
import tomllib
from pathlib import Path

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from app.ui import session, states
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

PAGES = ("playground", "batch", "labels", "experiment", "drift", "health")
EMPTY = {
    "playground": "No model is loaded",
    "batch": "No model is loaded",
    "labels": "No model is loaded",
    "experiment": "nothing to show yet",
    "drift": "The monitor has taken in no request for v1 yet",
    "health": "The service is unhealthy",
}
NORMAL = {
    "playground": "No prediction yet",
    "batch": "No file yet",
    "labels": "No file yet",
    "experiment": "38–900 more labels (80 % range)",
    "drift": "Alarm: the traffic has changed",
    "health": "The service is healthy",
}
PARTIAL = {
    "playground": "Playground",
    "batch": "No file yet",
    "labels": "No file yet",
    "experiment": "The timeline: not available on this server",
    "drift": "Drift: not available on this server",
    "health": "The metrics: not available on this server",
}

NOT_READY = (503, {"error": {"code": "not_ready", "message": "there is no experiment: no model is loaded"}})
NOTHING_YET = {
    "/models": {"models": [], "aliases": {}, "refused": {}},
    "/config": {"epoch": 0, "weights": {}},
    "/experiment": NOT_READY,
    "/experiment/timeline": {"experiment_id": "", "points": []},
    "/audit": {"entries": []},
    "/drift": {
        **answers.DRIFT,
        "requests": 0,
        "alarm": False,
        "note": "the monitor has taken in no request for v1 yet: send some",
        "score": 0.0,
        "evidence": 0.0,
        "features": [],
        "joint": [],
        "outputs": [],
    },
    "/drift/timeline": {"version": "v1", "points": [], "note": "the monitor has taken in no request for v1 yet"},
    "/health": (
        503,
        {**answers.HEALTH, "status": "unhealthy", "models": {}, "monitor": {"state": "absent", "age_s": None}},
    ),
    "/metrics": "",
}


def test_streamlit_still_knows_the_option_without_which_each_redraw_collects_all_garbage():
    given = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())
    assert {f"runner.{name}" for name in given["runner"]} <= config.get_config_options().keys()
    assert given["runner"]["postScriptGC"] is False


def test_the_metrics_say_at_which_time_they_were_read(begin, page):
    begin(answers.NORMAL)
    assert re.search(r"since the API started, read at \d\d:\d\d:\d\d UTC\.", text_of(page("health")))


DRAWN = """
import streamlit as st
from app.ui.states import drawn_once

def draw(text):
    st.session_state.setdefault("made", []).append(text)
    with st.expander("More"):
        st.dataframe({"text": [text]})
    st.markdown(text)

for text in st.session_state.get("texts", ["a"]):
    drawn_once(draw, text)
"""


def test_a_part_of_a_page_is_made_once_for_the_same_records_and_shown_each_time():
    states._kept.clear()
    at = checked(AppTest.from_string(DRAWN).run().run())
    at.session_state["texts"] = ["b", "a"]
    at = checked(at.run())
    assert at.session_state["made"] == ["a", "b"]
    assert [each.value for each in at.markdown] == ["b", "a"]
    assert [each.value["text"].to_list() for each in at.dataframe] == [["b"], ["a"]]


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_service_is_said_to_be_empty(begin, page, name):
    begin(NOTHING_YET)
    assert EMPTY[name] in text_of(page(name))


def test_a_server_without_a_course_of_drift_hides_nothing_else(begin, page):
    routes = {path: body for path, body in answers.NORMAL.items() if path != "/drift/timeline"}
    begin(routes)
    text = text_of(page("drift"))
    assert "The timeline: not available on this server" in text
    assert NORMAL["drift"] in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_there_is(api, page, name):
    assert NORMAL[name] in text_of(page(name))


@pytest.mark.parametrize("name", PAGES)
def test_old_figures_stay_and_are_called_old(api, page, name):
    at = page(name)
    api.stop()
    session.feed().forget()
    text = text_of(checked(at.run()))
    assert "stale figures" in text
    assert NORMAL[name] in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_an_api_says_so_and_lights_up_on_retry(begin, page, name):
    api = begin(dict.fromkeys(answers.NORMAL, (502, "no gateway")))
    at = page(name)
    assert "nothing to show yet" in text_of(at)
    api.routes = dict(answers.NORMAL)
    first = next(each for each in at.button if each.label == "Try again")
    assert NORMAL[name] in text_of(checked(first.click().run()))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_that_nothing_answers(begin, page, name):
    begin().stop()
    assert "Can't reach the API" in text_of(page(name))


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_there_yet_does_not_hide_the_rest(begin, page, name):
    begin(answers.PARTIAL)
    assert PARTIAL[name] in text_of(page(name))


def test_one_failed_call_marks_the_whole_page(api, page):
    at = page("experiment")
    api.routes["/config"] = (502, "no gateway")
    session.feed().forget(["config"])
    assert text_of(checked(at.run())).count("stale figures") == 1


def test_figures_of_a_monitor_that_stands_still_are_called_old(begin, page):
    stale = {**answers.HEALTH, "monitor": {"state": "stale", "age_s": 90.0}}
    old = {**answers.EXPERIMENT, "computed_at": "2026-01-01T00:00:00Z"}
    begin({**answers.NORMAL, "/health": stale, "/experiment": old})
    assert "The monitor is 90 s behind" in text_of(page("experiment"))


def test_while_the_store_is_away_nobody_is_told_to_start_the_monitor(begin, page):
    away = {**answers.HEALTH, "store": "the server is away", "monitor": {"state": "unknown", "age_s": None}}
    old = {**answers.EXPERIMENT, "computed_at": "2026-01-01T00:00:00Z"}
    begin({**answers.NORMAL, "/health": away, "/experiment": old})
    shown = text_of(page("health")) + text_of(page("experiment"))
    assert ("bakeoff monitor" in shown, "not running" in shown, "unknown while the store" in shown) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(("seconds", "is_shown"), [(3.0, False), (42.0, True)])
def test_a_lag_is_shown_once_it_matters(begin, page, seconds, is_shown):
    late = {**answers.EXPERIMENT, "lag": {"rows": 12_345, "seconds": seconds}}
    begin({**answers.NORMAL, "/experiment": late})
    assert ("The monitor is 42 s behind (12,345 rows)." in text_of(page("experiment"))) == is_shown


def test_an_answer_outside_the_contract_is_said_to_be_that(begin, page):
    begin({**answers.NORMAL, "/experiment": "<html>"})
    assert "the API sent an unexpected answer" in text_of(page("experiment"))


def test_a_refused_reader_reads_about_the_token(begin, page):
    begin({"/models": (401, {"error": {"code": "unauthorized", "message": "this call needs a token"}})})
    at = page("playground")
    assert "API_TOKEN" in text_of(at)
    assert button(at, "Try again")


def test_controls_appear_when_the_configuration_becomes_known(begin):
    """The first call may fail where a busy api is slow; only the live parts redraw on their own."""
    begin()
    at = AppTest.from_string(
        "import streamlit as st\n"
        "from app.ui.views import experiment\n"
        "st.session_state['runs'] = st.session_state.get('runs', 0) + 1\n"
        "if st.session_state['runs'] == 1:\n"
        "    report = experiment.snapshots_of('experiment', experiment.NAMES)[0].value\n"
        "    st.session_state[experiment.SHOWN] = experiment.shown(report, None)\n"
        "    experiment.live()\n"
        "else:\n"
        "    experiment.show()\n",
        default_timeout=60,
    )
    checked(at.run())
    assert at.session_state["runs"] == 2
    assert at.text_input(key="token-decide")


def test_when_another_experiment_begins_the_whole_page_is_drawn_again(api):
    """The live part redraws on its own, and what is below it would stay with the former experiment."""
    at = AppTest.from_string(
        "import streamlit as st\n"
        "from app.ui.views import experiment\n"
        "st.session_state['runs'] = st.session_state.get('runs', 0) + 1\n"
        "if st.session_state['runs'] == 1:\n"
        "    st.session_state[experiment.SHOWN] = 'the former'\n"
        "    experiment.live()\n"
        "else:\n"
        "    experiment.show()\n",
        default_timeout=60,
    )
    checked(at.run())
    assert at.session_state["runs"] == 2
    assert "Why: where v2 and v1 differ" in text_of(at)
