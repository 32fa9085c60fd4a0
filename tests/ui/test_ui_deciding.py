"""The experiment's controls: token, note and confirmation before anything is sent."""

import pytest

from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

DONE = {"decision": {"seq": 2}, "config": answers.CONFIG}


@pytest.fixture
def signed_in(begin, page):
    """The page after the token was given, with its api."""
    api = begin({**answers.NORMAL, "/experiment/decision": DONE})
    at = page("experiment")
    at.text_input(key="token-decide").input("s3cret")
    at.text_input(key="name-decide").input("Zoë")
    return api, checked(button(at, "Sign in").click().run())


def test_without_a_token_there_is_nothing_to_press(api, page):
    labels = [each.label for each in page("experiment").button]
    assert "Decide" not in labels
    assert "Sign in" in labels


@pytest.mark.parametrize(("note", "sure"), [("", True), ("better", False), ("  ", True)])
def test_a_decision_needs_a_note_and_a_confirmation(signed_in, note, sure):
    api, at = signed_in
    at.text_input(key="decision-note").input(note)
    at.checkbox(key="decision-sure").set_value(sure)
    checked(button(at, "Decide").click().run())
    assert "Nothing was decided" in text_of(at)
    assert not api.sent("/experiment/decision")


@pytest.mark.parametrize("action", ["promote", "rollback", "keep"])
def test_a_decision_is_sent_with_note_name_and_token(signed_in, action):
    api, at = signed_in
    at.radio(key="decision-action").set_value(action)
    at.text_input(key="decision-note").input("it is better")
    at.checkbox(key="decision-sure").check()
    checked(button(at, "Decide").click().run())
    ((_, _, body, headers),) = [call for call in api.calls if call[1] == "/experiment/decision"]
    assert body == {"action": action, "note": "it is better", **({"version": "v2"} if action == "promote" else {})}
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["X-Actor"].encode("latin-1").decode() == "Zoë"
    assert f"Done: {action}" in text_of(at)


def test_the_split_is_sent_as_shares_with_the_epoch_it_was_made_from(signed_in):
    api, at = signed_in
    at.slider(key="split-3-v1").set_value(30)
    at.slider(key="split-3-v2").set_value(90)
    at.text_input(key="split-note").input("more of v2")
    at.checkbox(key="split-sure").check()
    checked(button(at, "Change the split").click().run())
    assert api.sent("/config") == [{"weights": {"v1": 0.25, "v2": 0.75}, "epoch": 3, "note": "more of v2"}]


def test_a_split_of_nothing_is_not_sent(signed_in):
    api, at = signed_in
    for version in ("v1", "v2"):
        at.slider(key=f"split-3-{version}").set_value(0)
    checked(button(at, "Change the split").click().run())
    assert "all weights are 0" in text_of(at)
    assert not api.sent("/config")


def test_a_wrong_token_is_said_to_be_wrong(signed_in):
    api, at = signed_in
    api.routes["/experiment/decision"] = (
        403,
        {"error": {"code": "forbidden", "message": "the token is not the right one"}},
    )
    at.text_input(key="decision-note").input("why not")
    at.checkbox(key="decision-sure").check()
    checked(button(at, "Decide").click().run())
    assert "The token is not the right one." in text_of(at)


def test_the_token_can_be_forgotten(signed_in):
    _, at = signed_in
    checked(button(at, "Sign out").click().run())
    assert "admin_token" not in at.session_state


def test_the_token_is_never_drawn(signed_in):
    _, at = signed_in
    assert "s3cret" not in text_of(at)


def test_drift_is_acknowledged_once_it_is_confirmed(begin, page):
    api = begin({**answers.NORMAL, "/drift/acknowledge": {}})
    at = page("drift")
    at.text_input(key="token-drift").input("s3cret")
    checked(button(at, "Sign in").click().run())
    at.checkbox[0].check().run()
    checked(button(at, "Acknowledge the alarm").click().run())
    assert api.sent("/drift/acknowledge") == [{}]
