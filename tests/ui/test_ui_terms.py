"""Another experiment with other terms, begun on the page."""

import pytest

from app.ui import tables, wording
from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiConfiguration
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of


def signed_in(page):
    at = page("experiment")
    at.session_state["admin_token"] = "secret"
    at.session_state["actor"] = "ann"
    return checked(at.run())


def field(at, kind, label):
    (found,) = [each for each in getattr(at, kind) if each.label.startswith(label)]
    return found


def filled(at, note="why", sure=True, least=1.5):
    field(at, "text_input", "Name").input("Spring")
    field(at, "text_area", "Hypothesis").input("v2 is better on wet days")
    field(at, "number_input", "Least effect").set_value(least)
    notes = [each for each in at.text_input if each.label == "Why" and each.key.startswith("terms-note")]
    notes[0].input(note)
    if sure:
        field(at, "checkbox", "Yes, end this experiment").check()
    return checked(button(at, "Begin the experiment").click().run())


def test_a_new_experiment_begins_with_the_terms_of_the_form(begin, page):
    api = begin({**answers.NORMAL, "/config": answers.CONFIG})
    at = filled(signed_in(page))
    [sent] = [body for body in api.sent("/config") if body]
    assert sent == {
        "new_experiment": True,
        "name": "Spring",
        "hypothesis": "v2 is better on wet days",
        "metric": "accuracy",
        "min_effect": 0.015,
        "unit": "auto",
        "epoch": 3,
        "note": "why",
    }
    assert "A new experiment has begun." in text_of(at)


@pytest.mark.parametrize(("options", "said"), [({"note": " "}, "enter a reason"), ({"sure": False}, "tick the box")])
def test_a_new_experiment_needs_a_reason_and_a_confirmation(begin, page, options, said):
    api = begin()
    at = filled(signed_in(page), **options)
    assert f"Nothing was changed: {said}" in text_of(at)
    assert [body for body in api.sent("/config") if body] == []


def test_what_the_server_refuses_is_said_in_its_words(begin, page):
    message = "positive_class is needed for recall; send positive_class in the same call"
    refusal = (400, {"error": {"code": "invalid_request", "message": message, "field": "positive_class"}})
    begin({**answers.NORMAL, "/config": lambda body: refusal if body else answers.CONFIG})
    at = filled(signed_in(page))
    assert "Change rejected. Positive_class is needed" in text_of(at) or message in text_of(at)


def test_recall_asks_for_its_class_and_the_effect_is_in_the_metrics_own_unit(api, page):
    at = signed_in(page)
    assert "in points" in field(at, "number_input", "Least effect").label
    checked(field(at, "selectbox", "Metric").select("recall").run())
    assert field(at, "selectbox", "Positive class").options == ["setosa", "versicolor", "virginica"]
    checked(field(at, "selectbox", "Metric").select("brier").run())
    assert "points" not in field(at, "number_input", "Least effect").label


def test_name_hypothesis_and_least_effect_are_seen(begin, page):
    named = {**answers.EXPERIMENT, "name": "Spring *1*", "hypothesis": "better <b>"}
    begin({**answers.NORMAL, "/experiment": named, "/config": {**answers.CONFIG, "min_effect": 0.02}})
    text = text_of(page("experiment"))
    assert r"**Spring \*1\***" in text
    assert r"Hypothesis: better \<b\>" in text
    assert "least effect: 2.0 points" in text


def test_terms_that_were_never_set_are_not_mentioned():
    assert "least effect" not in tables.terms_of(ApiConfiguration(metric="accuracy", guardrail_slow="off"))
    assert ApiExperiment(id="e").name is None


def test_own_words_are_shown_as_they_are():
    assert wording.literal("a *b*\n[c](d)") == r"a \*b\* \[c\]\(d\)"
