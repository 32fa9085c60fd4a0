"""A ramp on the page: what runs in a sentence, ending it, starting one."""

import pytest

from app.ui.records import ApiRamp
from app.ui.views.ramp import sentence_of, steps_in
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of


@pytest.fixture
def signed_in(begin, page):
    """The page after the token was given, with its api; `ramp` is what runs."""

    def draw(ramp):
        api = begin({**answers.NORMAL, "/config": {**answers.CONFIG, "ramp": ramp}})
        at = page("experiment")
        at.text_input(key="token-decide").input("s3cret")
        return api, checked(button(at, "Sign in").click().run())

    return draw


def ramp(**changes):
    return ApiRamp(**{**answers.RAMP, "steps": tuple(answers.RAMP["steps"]), **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "step 2 of 3, 5.0 % of the requests; 25.0 % follows no earlier than 2026-11-20 13:00:00 UTC"),
        ({"held": "the latency is undecided"}, "Waiting: The latency is undecided."),
        (
            {"step": 3},
            "25.0 % of the requests; this is the last step. The ramp ends no earlier than 2026-11-20 13:00:00 UTC",
        ),
        ({"steps": (), "next_step_at": None}, "an unknown share"),
    ],
)
def test_a_ramp_is_described_in_a_sentence(changes, said):
    assert said in sentence_of(ramp(**changes))


def test_a_running_ramp_is_seen_without_a_token(begin, page):
    begin({**answers.NORMAL, "/config": {**answers.CONFIG, "ramp": answers.RAMP}})
    assert "Ramp of v2:** step 2 of 3" in text_of(page("experiment"))


@pytest.mark.parametrize(("note", "sure"), [("", True), ("enough", False)])
def test_ending_a_ramp_needs_a_note_and_a_confirmation(signed_in, note, sure):
    api, at = signed_in(answers.RAMP)
    at.text_input(key="end-ramp-note-0").input(note)
    at.checkbox(key="end-ramp-sure-0").set_value(sure)
    checked(button(at, "End the ramp").click().run())
    assert "Nothing was changed" in text_of(at)
    assert api.sent("/config") == [{}]  # the check of the token


def test_a_ramp_is_ended_with_null_whatever_the_revision_is(signed_in):
    api, at = signed_in(answers.RAMP)
    at.text_input(key="end-ramp-note-0").input("enough")
    at.checkbox(key="end-ramp-sure-0").check()
    checked(button(at, "End the ramp").click().run())
    assert api.sent("/config")[1:] == [{"ramp": None, "note": "enough"}]


def test_a_ramp_is_started_in_shares_and_seconds(signed_in):
    api, at = signed_in(None)
    at.text_input(key="ramp-steps").input("1, 5 %, 50")
    at.number_input(key="ramp-minutes").set_value(30)
    at.text_input(key="ramp-note-0").input("carefully")
    at.checkbox(key="ramp-sure-0").check()
    checked(button(at, "Start the ramp").click().run())
    wanted = {"version": "v2", "steps": [0.01, 0.05, 0.5], "every_seconds": 1800}
    assert api.sent("/config")[1:] == [{"ramp": wanted, "epoch": 3, "note": "carefully"}]


@pytest.mark.parametrize("text", ["", "one", "5, 5", "50, 1", "0, 5", "50, 101", "1,,2", "nan", "1, inf"])
def test_wrong_steps_are_refused(text):
    with pytest.raises(ValueError, match=r"percentages|above"):
        steps_in(text)
