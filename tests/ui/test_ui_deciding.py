"""The experiment's controls: token, reason and confirmation before anything is sent, and what else may have changed."""

import pytest

from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

DONE = {"decision": {"seq": 2}, "config": answers.CONFIG}
PROMOTE = {"action": "promote", "version": "v2", "reason": "v2 is better."}
FORBIDDEN = (403, {"error": {"code": "forbidden", "message": "the token is wrong for this call: it needs ADMIN_TOKEN"}})


def signed_in_to(page):
    at = page("experiment")
    at.text_input(key="token-decide").input("s3cret")
    at.text_input(key="name-decide").input("Zoë")
    return checked(button(at, "Sign in").click().run())


@pytest.fixture
def signed_in(begin, page):
    """The page after the token was given, with its api. `advice` is the recommendation."""

    def draw(advice=PROMOTE, **changes):
        experiment = {**answers.EXPERIMENT, "recommendation": advice, **changes.pop("experiment", {})}
        api = begin({**answers.NORMAL, "/experiment/decision": DONE, "/experiment": experiment, **changes})
        return api, signed_in_to(page)

    return draw


def chosen(at, action, version=None):
    """The form of a decision that is not the advised one."""
    return checked(at.selectbox(key="decision.other").set_value((action, version)).run())


def decided(at, name):
    """The form of the advised decision."""
    return checked(button(at, name).click().run())


def filled(at, note="it is better", sure=True, typed=None):
    (why,) = [each for each in at.text_input if (each.key or "").startswith("decision-note")]
    why.input(note)
    if typed is not None:
        (name,) = [each for each in at.text_input if (each.key or "").startswith("decision-typed")]
        name.input(typed)
    else:
        (tick,) = [each for each in at.checkbox if (each.key or "").startswith("decision-sure")]
        tick.set_value(sure)
    return checked(at.button(key="decision-do").click().run())


def test_without_a_token_nothing_can_be_decided(begin, page):
    begin({**answers.NORMAL, "/experiment": {**answers.EXPERIMENT, "recommendation": PROMOTE}})
    at = checked(button(page("experiment"), "Promote v2").click().run())
    assert not [each for each in at.button if each.key == "decision-do"]
    assert at.text_input(key="token-confirm")


def test_a_wrong_token_is_told_at_sign_in(begin, page):
    api = begin({**answers.NORMAL, "/config": lambda body: answers.CONFIG if body is None else FORBIDDEN})
    at = signed_in_to(page)
    assert "Not signed in. The token is wrong for this call" in text_of(at)
    assert "admin_token" not in at.session_state
    assert api.sent("/config") == [{}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"auto_decide": "off"}, "If nobody decides, the split stays as it is."),
        (
            {"auto_decide": "rollback"},
            "the split stays as it is; a version that crosses a guardrail gets no more traffic.",
        ),
        ({"auto_decide": "both", "policy": "thompson"}, "the weights follow the outcomes; a version that crosses"),
        ({"auto_decide": "promote", "ramp": {"version": "v2", "steps": [0.1, 0.5], "step": 1}}, "the ramp goes on; a"),
    ],
)
def test_what_happens_if_nobody_decides_is_said(signed_in, changes, said):
    _, at = signed_in(**{"/config": {**answers.CONFIG, **changes}})
    assert said in text_of(at)


def test_no_button_offers_a_decision_that_is_not_advised(signed_in):
    _, at = signed_in(advice={"action": "continue", "reason": "It is too early to tell."})
    assert not [each.label for each in at.button if each.label.startswith(("Promote", "Keep", "Roll back"))]


@pytest.mark.parametrize(("note", "sure"), [("", True), ("better", False), ("  ", True)])
def test_a_decision_needs_a_reason_and_a_confirmation(signed_in, note, sure):
    api, at = signed_in()
    at = filled(decided(at, "Promote v2"), note, sure)
    assert "Nothing was decided" in text_of(at)
    assert not api.sent("/experiment/decision")


def test_the_advised_decision_is_sent_with_reason_name_and_token(signed_in):
    api, at = signed_in()
    at = filled(decided(at, "Promote v2"))
    ((_, _, body, headers),) = [call for call in api.calls if call[1] == "/experiment/decision"]
    assert body == {"action": "promote", "note": "it is better", "version": "v2"}
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["X-Actor"].encode("latin-1").decode() == "Zoë"
    assert "Done: Promote v2" in text_of(at)


@pytest.mark.parametrize("action", ["rollback", "keep"])
def test_another_decision_is_chosen_from_the_list(signed_in, action):
    api, at = signed_in()
    at = filled(chosen(at, action))
    assert api.sent("/experiment/decision") == [{"action": action, "note": "it is better"}]


@pytest.mark.parametrize(("action", "version"), [("rollback", None), ("keep", None), ("promote", "v2")])
def test_a_decision_on_an_experiment_that_somebody_else_has_ended_is_not_sent(signed_in, action, version):
    """Ann has rolled back; without this, Bob's rollback would go back one champion more."""
    api, at = signed_in(advice={"action": "continue", "reason": "It is too early to tell."})
    at = chosen(at, action, version)
    api.routes["/config"] = {**answers.CONFIG, "epoch": 4, "experiment_id": "e-2", "champion": "v0"}
    at = filled(at, typed=version)
    assert api.sent("/experiment/decision") == []
    assert "Somebody decided while this form was open: v0 is champion now, in experiment e-2" in text_of(at)


def test_a_new_split_hinders_no_decision(signed_in):
    api, at = signed_in()
    at = decided(at, "Promote v2")
    api.routes["/config"] = {**answers.CONFIG, "epoch": 4, "weights": {"v1": 0.2, "v2": 0.8}}
    filled(at)
    assert len(api.sent("/experiment/decision")) == 1


def test_after_a_decision_nothing_is_armed(signed_in):
    api, at = signed_in()
    at = filled(decided(at, "Promote v2"))
    at = decided(at, "Promote v2")
    assert not any(each.value for each in at.text_input if each.label == "Why")
    assert not any(each.value for each in at.checkbox)
    assert len(api.sent("/experiment/decision")) == 1


def test_the_champion_is_never_offered_for_promotion(signed_in):
    _, at = signed_in(advice={"action": "continue", "reason": "It is too early to tell."})
    assert at.selectbox(key="decision.other").options == ["Promote v2", "Roll back", "Keep"]


@pytest.mark.parametrize(("typed", "sent"), [("v1", 0), ("", 0), ("v2", 1)])
@pytest.mark.parametrize("outcomes", [12, 0])
def test_promoting_against_the_advice_or_without_outcomes_takes_the_typed_name(signed_in, typed, sent, outcomes):
    advice = {"action": "continue", "reason": "It is too early to tell."}
    comparison = {**answers.COMPARISON, "n": outcomes}
    api, at = signed_in(advice, experiment={"comparisons": [comparison]})
    at = chosen(at, "promote", "v2")
    assert ("No outcome has entered yet" if not outcomes else "It is too early to tell") in text_of(at)
    at = filled(at, typed=typed)
    assert len(api.sent("/experiment/decision")) == sent
    assert ("type the version's name, v2" in text_of(at)) is not sent


def split(at, percent, note="more of v2"):
    at = checked(at.slider(key="split-v2-0").set_value(percent).run())
    at.text_input(key="split-note-0").input(note)
    at.checkbox(key="split-sure-0").check()
    return at


def test_two_versions_share_one_slider_and_the_result_is_seen_before_it_is_sent(signed_in):
    api, at = signed_in()
    at = split(at, 70.0)
    assert "Target share after: **v1 30.0 % / v2 70.0 %**." in text_of(at)
    assert api.sent("/config") == [{}]  # what the sign-in sent
    checked(button(at, "Change the split").click().run())
    assert api.sent("/config")[1:] == [{"weights": {"v1": 0.3, "v2": 0.7}, "epoch": 3, "note": "more of v2"}]


@pytest.mark.parametrize(("percents", "sent"), [((20.0, 30.0, 60.0), 0), ((20.0, 30.0, 50.0), 1), ((0.0, 0.0, 0.0), 0)])
def test_the_percentages_of_three_versions_sum_to_100(signed_in, percents, sent):
    weights = {"v1": 0.5, "v2": 0.25, "v3": 0.25}
    api, at = signed_in(**{"/config": {**answers.CONFIG, "weights": weights}})
    for version, percent in zip(weights, percents, strict=True):
        at.number_input(key=f"split-{version}-0").set_value(percent)
    at.text_input(key="split-note-0").input("so")
    at.checkbox(key="split-sure-0").check()
    at = checked(button(at, "Change the split").click().run())
    assert len(api.sent("/config")) - 1 == sent
    assert ("make the percentages sum to 100" in text_of(at)) is not sent


def test_what_somebody_else_changed_meanwhile_is_kept_and_both_are_shown(signed_in):
    """Bob has the page open with 50/50, Ann sets 20/80, and Bob saves."""
    api, at = signed_in()
    at = split(at, 70.0)
    api.routes["/config"] = {**answers.CONFIG, "epoch": 4, "weights": {"v1": 0.2, "v2": 0.8}}
    at = checked(button(at, "Change the split").click().run())
    assert api.sent("/config")[1:] == []
    said = text_of(at)
    assert "it was v1 50.0 % / v2 50.0 % (revision 3) and is v1 20.0 % / v2 80.0 % now (revision 4)" in said
    assert "Yours, v1 30.0 % / v2 70.0 %, was not saved" in said
    at = checked(at.button(key="split-anew").click().run())
    assert at.slider(key="split-v2-1").value == 80.0


def test_a_note_of_the_monitor_hinders_nobody(signed_in):
    """It makes a revision, and the split is the same."""
    api, at = signed_in()
    at = split(at, 70.0)
    api.routes["/config"] = {**answers.CONFIG, "epoch": 4}
    checked(button(at, "Change the split").click().run())
    assert api.sent("/config")[1:] == [{"weights": {"v1": 0.3, "v2": 0.7}, "epoch": 4, "note": "more of v2"}]


def test_the_token_can_be_forgotten(signed_in):
    _, at = signed_in()
    checked(button(at, "Sign out").click().run())
    assert "admin_token" not in at.session_state


def test_the_token_is_never_drawn(signed_in):
    _, at = signed_in()
    assert "s3cret" not in text_of(at)


def test_drift_is_acknowledged_once_it_is_confirmed(begin, page):
    api = begin({**answers.NORMAL, "/drift/acknowledge": {}})
    at = page("drift")
    at.text_input(key="token-drift").input("s3cret")
    checked(button(at, "Sign in").click().run())
    at.checkbox[0].check().run()
    checked(button(at, "Acknowledge the alarm").click().run())
    assert api.sent("/drift/acknowledge") == [{}]
