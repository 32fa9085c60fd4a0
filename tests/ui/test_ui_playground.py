"""The playground: inputs from the contract, answers, feedback, and code that asks again."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from app.tables.model_columns import ModelColumn
from app.ui import inputs, sharing
from app.ui.client import ApiClient
from app.ui.records import ApiContract
from app.ui.transport import ApiConnection
from tests.ui import answers
from tests.ui.conftest import button, checked, text_of

MIXED = ApiContract(
    features=(
        ModelColumn(name="age", minimum=0.0, maximum=90.0, median=40.0, nullable=True),
        ModelColumn(name="city", kind="categorical", categories=("Oslo", "Łódź")),
    )
)


def predicted(at):
    return checked(button(at, "Predict").click().run())


def test_each_number_has_a_slider_over_its_training_range(api, page):
    found = {each.label: (each.min, each.max) for each in page("playground").slider}
    assert found == dict.fromkeys(answers.FEATURES, (0.1, 8.0))


def test_a_preset_fills_the_inputs(api, page):
    at = page("playground")
    checked(at.selectbox(key="playground.preset").select(1).run())
    found = {each.label: each.value for each in at.slider}
    assert found == dict(zip(answers.FEATURES, (6.2, 2.9, 4.3, 1.3), strict=True))


def test_a_boolean_is_a_choice_of_false_and_true(begin, page):
    member = {"name": "member", "kind": "numeric", "minimum": 0.0, "maximum": 1.0, "median": 1.0, "boolean": True}
    shown = answers.model("v1", examples=[[0.0]])
    shown["contract"] = {**shown["contract"], "features": [member]}
    api = begin({**answers.NORMAL, "/models": {**answers.MODELS, "models": [shown]}})
    at = page("playground")
    choice = at.selectbox(key="input.member")
    assert (list(choice.options), choice.value) == (["false", "true"], 0.0)
    choice.select("true")
    predicted(at)
    assert api.sent("/predict")[0]["features"] == {"member": 1.0}


@pytest.mark.parametrize("like", [None, "2026-03-01"])
def test_a_text_or_a_date_is_typed(begin, page, like):
    text = {"name": "text", "kind": "categorical", "open_categories": True, "dates_like": like}
    shown = answers.model("v1", examples=[])
    shown["contract"] = {**shown["contract"], "features": [text]}
    api = begin({**answers.NORMAL, "/models": {**answers.MODELS, "models": [shown]}})
    at = page("playground")
    typed = at.text_input(key="input.text")
    assert typed.value == (like or "")
    typed.input("2027-01-02")
    predicted(at)
    assert api.sent("/predict")[0]["features"] == {"text": "2027-01-02"}


def test_a_prediction_says_who_answered_how_sure_and_how_fast(api, page):
    text = text_of(predicted(page("playground")))
    for part in ("Prediction setosa 98.0 % confidence", "Answered by v1 weighted", "Latency in ms 0.12", "virginica"):
        assert part in text


def test_a_chosen_version_is_forced(api, page):
    at = page("playground")
    at.selectbox[1].select("v2")
    predicted(at)
    (headers,) = [headers for _, path, _, headers in api.calls if path == "/predict"]
    assert headers["X-Model-Version"] == "v2"


@pytest.mark.parametrize("counts", [False, True])
def test_a_prediction_counts_only_where_somebody_wants_it_to(api, page, counts):
    at = checked(page("playground").toggle(key="playground.counts").set_value(counts).run())
    at = predicted(at)
    (headers,) = [headers for _, path, _, headers in api.calls if path == "/predict"]
    assert headers.get("X-Traffic-Kind") == (None if counts else "synthetic")
    assert ("This prediction and its label do not count" in text_of(at)) is not counts
    assert ("X-Traffic-Kind: synthetic" in "".join(each.value for each in at.code)) is not counts


def test_yes_sends_the_prediction_as_the_truth(api, page):
    at = predicted(page("playground"))
    checked(button(at, "Yes, it was setosa").click().run())
    assert api.sent("/feedback") == [{"prediction_id": "id-1", "actual": "setosa"}]
    assert "Recorded: it was setosa" in text_of(at)


def test_no_sends_what_it_was(api, page):
    at = predicted(page("playground"))
    at.selectbox(key="other-id-1").select("virginica")
    checked(button(at, "No, it was this").click().run())
    assert api.sent("/feedback") == [{"prediction_id": "id-1", "actual": "virginica"}]


def test_contradicting_feedback_is_shown_and_not_recorded(begin, page):
    refusal = (409, {"error": {"code": "conflict", "message": "another outcome was given before"}})
    begin({**answers.NORMAL, "/feedback": refusal})
    at = predicted(page("playground"))
    checked(button(at, "Yes, it was setosa").click().run())
    assert "Not recorded. Another outcome was given before." in text_of(at)


def test_a_refused_prediction_says_why(begin, page):
    refusal = (400, {"error": {"code": "invalid_features", "message": "feature 'x' is missing", "field": "x"}})
    begin({**answers.NORMAL, "/predict": refusal})
    assert "Feature 'x' is missing." in text_of(predicted(page("playground")))


def test_the_server_s_history_shows_versions_and_outcomes(api, page):
    at = page("playground")
    assert "/predictions/history" not in api.paths()
    checked(at.segmented_control[0].set_value("The server").run())
    assert "it was virginica" in text_of(at)


def test_a_link_restores_the_inputs(api, page):
    at = page("playground", sepal_length="6.3", petal_width="2.0")
    found = {each.label: each.value for each in at.slider}
    assert (found["sepal_length"], found["petal_width"], found["sepal_width"]) == (6.3, 2.0, 3.5)


def test_a_value_of_a_link_outside_the_training_range_is_kept_and_warned_of(api, page):
    at = page("playground", sepal_length="99")
    assert at.number_input[0].value == 99
    assert "sepal_length = 99 is outside 0.1 to 8" in text_of(predicted(at))


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "null", ""])
def test_nonsense_in_a_link_is_passed_over(api, page, text):
    assert page("playground", sepal_length=text).slider[0].value == 5.1


def test_a_link_carries_every_kind_of_value():
    values = {"age": None, "city": "Łódź"}
    address = sharing.link("http://here/?old=1", values)
    query = dict(part.split("=") for part in address.split("?")[1].split("&"))
    assert query["age"] == "null"
    assert sharing.values_in(MIXED, sharing.parameters(values)) == values


def test_an_unknown_category_is_outside_the_training_data():
    assert inputs.outside(MIXED, {"age": 91.0, "city": "Rome"}) == [
        "age = 91 is outside 0 to 90",
        "city = Rome was not in the training data",
    ]


@pytest.mark.parametrize(
    ("low", "high", "places"), [(0.0, 1.0, 2), (4.3, 7.9, 2), (0.0, 90.0, 0), (0.0, 1e-4, 6), (1.0, 1.0, 3)]
)
def test_a_step_is_about_a_hundredth_of_the_range(low, high, places):
    assert inputs.decimals(ModelColumn(name="x", minimum=low, maximum=high)) == places


ASKED = {"name": 'it\'s "50 %" & $HOME', "age": None, "x": 1.5}


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on this host")
def test_the_curl_command_sends_the_same_request(api):
    script = sharing.as_curl(api.url, ASKED, "v2", "u-1")
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=10, check=True)
    assert json.loads(run.stdout)["prediction"] == "setosa"
    assert api.sent("/predict") == [{"features": ASKED, "user_id": "u-1"}]
    assert api.calls[0][3]["X-Model-Version"] == "v2"


def test_the_python_script_sends_the_same_request(api, monkeypatch):
    monkeypatch.setenv("PREDICT_TOKEN", "secret")
    script = sharing.as_python(api.url, ASKED, "v2", "u-1", token="PREDICT_TOKEN")
    assert "secret" not in script
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(run.stdout)["prediction"] == "setosa"
    assert api.sent("/predict") == [{"features": ASKED, "user_id": "u-1"}]
    assert api.calls[0][3]["Authorization"] == "Bearer secret"


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on this host")
def test_the_curl_command_takes_the_token_of_predicting_from_the_environment(api):
    script = sharing.as_curl(api.url, ASKED, token="PREDICT_TOKEN")
    environment = {**os.environ, "PREDICT_TOKEN": "secret"}
    subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=10, check=True)
    assert api.calls[0][3]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("user", ["u-1", "Zoë 注"])
def test_where_a_feature_is_called_user_id_the_user_is_in_the_header(api, user):
    asked = {"user_id": 17.0, "x": 1.5}
    calls = [sharing.as_curl(api.url, asked, None, user), sharing.as_python(api.url, asked, None, user)]
    for command in (["bash", "-c", calls[0]], [sys.executable, "-c", calls[1]]):
        subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    ApiClient(ApiConnection(api.url)).predict(asked, None, user)
    assert api.sent("/predict") == [{"features": asked}] * 3
    sent = [headers["X-User-Id"].encode("latin-1").decode() for _, _, _, headers in api.calls]
    assert sent == [user] * 3


def test_a_regression_asks_for_the_true_value(begin, page):
    contract = {**answers.model("v1")["contract"], "task": "regression", "classes": []}
    models = {**answers.MODELS, "models": [answers.model("v1", contract=contract)]}
    api = begin({**answers.NORMAL, "/models": models, "/predict": {**answers.PARTIAL["/predict"]}})
    at = predicted(page("playground"))
    at.number_input[0].set_value(4.5)
    checked(button(at, "Send").click().run())
    assert api.sent("/feedback") == [{"prediction_id": "id-1", "actual": 4.5}]
