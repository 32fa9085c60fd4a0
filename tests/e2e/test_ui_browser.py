"""The dashboard in a real browser against the running stack: what a person does with it, from a prediction to drift."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import requests

from tests.e2e.api_process import ROOT, ApiProcess, free_port
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.usefixtures("browser")]
TOKEN = "browser-test-token"
PATIENCE_MS = 60_000
# Rows between two classes, some of which the two versions answer differently.
BETWEEN = ([6.3, 2.8, 5.1, 1.5], [6.1, 2.6, 5.6, 1.4], [6.7, 3.0, 5.0, 1.7], [6.0, 2.2, 5.0, 1.5], [5.9, 3.2, 4.8, 1.8])
STYLE_CHANGES_MS = 120  # how long the transition of a focused element's style may take


def run(command, folder, api, port):
    """`python -m app command` beside the api, in its folders."""
    data = {"MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}
    env = {**os.environ, **data, "API_PORT": str(api.port), "API_URL": api.url, "UI_PORT": str(port)}
    with (folder / f"{command}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "app", command], cwd=ROOT, env=env, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def stack(trained, tmp_path_factory):
    """The api and the address of its dashboard, with a monitor."""
    folder = tmp_path_factory.mktemp("browser") / "installation"
    shutil.copytree(trained, folder)
    api = ApiProcess(folder, ADMIN_TOKEN=TOKEN, WEB_CONCURRENCY="1").wait_until("/health/ready")
    port = free_port()
    others = [run("monitor", folder, api, port), run("ui", folder, api, port)]
    try:
        health = f"http://127.0.0.1:{port}/_stcore/health"
        eventually(lambda: requests.get(health, timeout=2).ok, 30, ignoring=requests.RequestException)
        yield api, f"http://127.0.0.1:{port}/"
    finally:
        for process in others:
            process.terminate()
        for process in others:
            process.wait(20)
        api.stop()


@pytest.fixture
def visit(stack, browser):
    """Opens a page by its name in the navigation; at the end nothing went wrong in the browser or to another host."""
    _, url = stack
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    troubles = []
    tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on(
        "request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else troubles.append(asked.url)
    )

    def go(name):
        if tab.url == "about:blank":
            tab.goto(url)
        tab.get_by_role("link", name=name).click()
        tab.get_by_role("heading", name=name, exact=True, level=1).wait_for()
        return tab

    yield go
    context.close()
    assert not troubles


def newest(api):
    """The id of the newest prediction in the log, None before the first."""
    entries = api.get("/predictions/history?limit=1").json()["predictions"]
    return entries[0]["prediction_id"] if entries else None


# How the focused element and what is around it look; and its name.
LOOK = """() => {
  const found = document.activeElement, look = [];
  for (let each = found, i = 0; each && i < 5; each = each.parentElement, i++) {
    const style = getComputedStyle(each);
    look.push(style.outline, style.boxShadow, style.borderColor, style.backgroundColor, style.color, style.opacity);
  }
  window.walked = found;
  return [`${found.tagName} ${found.getAttribute("aria-label") || found.innerText}`, look.join()];
}"""
# The part of the page that the arrow keys scroll: the browser lets it have the focus, and Streamlit does not show it.
SCROLLED = "MAIN "
LEFT = LOOK.replace("document.activeElement", "window.walked")


def tab_through(tab, until, most=60):
    """Press Tab up to the button named `until`; the names of those that looked the same with the focus as without."""
    unseen, last = [], None
    for _ in range(most):
        tab.keyboard.press("Tab")
        tab.wait_for_timeout(STYLE_CHANGES_MS)
        if last is not None and tab.evaluate(LEFT)[1] == last[1] and not last[0].startswith(SCROLLED):
            unseen.append(last[0])
        last = tab.evaluate(LOOK)
        if last[0].startswith("BUTTON") and last[0].endswith(until):
            return unseen
    raise AssertionError(f"{until} is not reached by {most} presses of Tab")


def sign_in(tab, name="Ann"):
    tab.get_by_label("Administrative token").fill(TOKEN)
    tab.get_by_label("Your name, for the audit log").fill(name)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_text(f"Signed in as {name}").wait_for()


def move_share(tab, key, percent):
    slider = tab.get_by_role("slider", name="v2: percent of the requests")
    slider.focus()
    for _ in range(abs(percent - round(float(slider.input_value())))):
        slider.press(key)
    tab.get_by_text(f"Target share after: v1 {100 - percent}.0 % / v2 {percent}.0 %").wait_for()


def save_share(tab, reason):
    tab.get_by_role("textbox", name="Why", exact=True).first.fill(reason)
    tab.get_by_text("Yes, change the split").click()
    tab.get_by_role("button", name="Change the split").click()


def choose(tab, box, option):
    """Choose an option of a list. On a busy machine a slow click opens and closes it; the arrow key only opens."""
    found, wanted = tab.get_by_role("combobox", name=box), tab.get_by_role("option", name=option)
    found.click()

    def opened():
        tab.wait_for_timeout(STYLE_CHANGES_MS)
        return wanted.is_visible() or found.press("ArrowDown")

    eventually(opened)
    wanted.click()


def test_a_person_predicts_and_says_that_it_was_right(stack, visit):
    api, _ = stack
    tab = visit("Playground")
    tab.get_by_role("button", name="Predict", exact=True).click()
    tab.get_by_role("button", name="Yes, it was setosa").click()
    tab.get_by_text("Recorded: it was setosa").wait_for()
    (entry,) = api.get("/predictions/history?limit=1").json()["predictions"]
    assert (entry["prediction"], entry["actual"]) == ("setosa", "setosa")


def test_the_code_to_copy_gives_the_same_prediction(stack, visit):
    api, _ = stack
    tab = visit("Playground")
    tab.get_by_role("button", name="Predict", exact=True).click()
    tab.get_by_text("Repeat this prediction").click()
    script = tab.get_by_text("import requests").first.locator("xpath=ancestor-or-self::code").inner_text()
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    first, second = (entry["features"] for entry in api.get("/predictions/history?limit=2").json()["predictions"])
    assert json.loads(answer.stdout)["prediction"] == "setosa"
    assert first == second


def test_the_split_is_changed_from_the_page(stack, visit):
    api, _ = stack
    tab = visit("Experiment")
    sign_in(tab)
    move_share(tab, "ArrowLeft", 20)
    save_share(tab, "less of v2")
    tab.get_by_text("The target share is v1 80.0 % / v2 20.0 %").wait_for()
    eventually(lambda: api.get("/config").json()["weights"] == {"v1": 0.8, "v2": 0.2})
    assert api.get("/audit").json()["entries"][0]["actor"] == "Ann"


def test_of_two_people_who_edit_the_split_the_second_is_told_and_changes_nothing(stack, browser):
    api, url = stack
    size = {"width": 1280, "height": 1000}
    with browser.new_page(viewport=size) as ann, browser.new_page(viewport=size) as bob:
        for tab, name in ((ann, "Ann"), (bob, "Bob")):
            tab.set_default_timeout(PATIENCE_MS)
            tab.goto(url)
            sign_in(tab, name)
        move_share(bob, "ArrowLeft", 10)
        move_share(ann, "ArrowRight", 60)
        save_share(ann, "more of v2")
        ann.get_by_text("The target share is v1 40.0 % / v2 60.0 %").wait_for()
        save_share(bob, "less of v2")
        bob.get_by_text("Yours, v1 90.0 % / v2 10.0 %, was not saved").wait_for()
    assert api.get("/config").json()["weights"] == {"v1": 0.4, "v2": 0.6}
    assert api.get("/audit").json()["entries"][0]["actor"] == "Ann"


def test_a_version_is_promoted_from_the_page(stack, visit):
    api, _ = stack
    tab = visit("Experiment")
    sign_in(tab)
    choose(tab, "Another decision", "Promote v2")
    tab.get_by_text("No outcome has entered yet").wait_for()
    tab.get_by_role("textbox", name="Why", exact=True).first.fill("it is better")
    tab.get_by_label("Type v2 to confirm").fill("v2")
    tab.get_by_role("button", name="Promote v2").click()
    tab.get_by_text("Done: Promote v2").wait_for()
    eventually(lambda: api.get("/config").json()["champion"] == "v2")


def test_a_file_of_10_000_rows_comes_back_with_answers(visit, tmp_path):
    tab = visit("Batch")
    source = tmp_path / "rows.csv"
    rows = [[7.5 + i % 4 / 10, 4.2, 6.5, 2.4] for i in range(9_999)]
    with source.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["Sepal Length (cm)", "sepal width", "petal_length", "petal width"], *rows, ["?"] * 4]
        )
    tab.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(source)
    tab.get_by_role("button", name="Predict 10,000 rows").click()
    tab.get_by_text("9,999 rows predicted, 1 failed").wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download the result").click()
    with download.value.path().open(newline="") as file:
        result = list(csv.DictReader(file))
    assert len(result) == 9_999
    assert result[0]["prediction"] in ("setosa", "versicolor", "virginica")


def test_a_file_with_true_labels_is_predicted_and_labelled_and_then_broken_down_on_a_phone(visit, tmp_path):
    tab = visit("Batch")
    source = tmp_path / "labelled.csv"
    rows = ["5.1,3.5,1.4,0.2,setosa", "6.3,2.8,5.1,1.5,virginica", "6.3,2.8,5.1,1.5,tulip"] * 20
    source.write_text("\n".join(["sepal_length,sepal_width,petal_length,petal_width,species", *rows]) + "\n")
    tab.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(source)
    choose(tab, "True label (optional)", "species")
    tab.get_by_text("These labels do not count in the experiment").wait_for()
    tab.get_by_text("Count this file in the experiment and in drift").click()
    tab.get_by_text("These labels count in the running experiment").wait_for()
    tab.get_by_role("button", name="Predict 60 rows and send 40 labels").click()
    tab.get_by_text("40 labels recorded, 20 not recorded").wait_for()
    visit("Experiment")
    tab.set_viewport_size({"width": 390, "height": 1000})
    # By the keyboard, as everything on the page.
    tab.get_by_role("radio", name="Breakdown").press("Space")
    tab.get_by_text("Accuracy by true class").wait_for()
    tab.get_by_text("Answers by true class").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_rows_that_were_answered_differently_are_shown_and_downloaded(stack, visit):
    api, _ = stack
    for row in BETWEEN:
        api.post("/predict", {"features": row}).raise_for_status()
    experiment = api.get("/config").json()["experiment_id"]
    address = f"/experiment/{experiment}/disagreements"
    eventually(lambda: api.get(address).json()["disagreements"])
    tab = visit("Experiment")
    tab.get_by_role("radio", name="Disagreements").click()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download the rows").click()
    assert download.value.path().read_text().startswith("prediction_id,")


def test_changed_inputs_of_many_callers_are_seen_as_drift(stack, visit):
    api, _ = stack
    for i in range(400):
        api.post("/predict", {"features": [7.5 + i % 4 / 10, 4.2, 6.5, 2.4]}).raise_for_status()
    drift = visit("Drift")
    drift.get_by_text("Alarm: a change is proven in the inputs").wait_for(timeout=30_000)


def test_a_batch_is_cancelled_by_a_click_and_keeps_what_was_answered(visit, tmp_path):
    tab = visit("Batch")
    source = tmp_path / "many.csv"
    source.write_text("sepal_length,sepal_width,petal_length,petal_width\n" + "5.1,3.5,1.4,0.2\n" * 120_000)
    tab.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(source)
    tab.get_by_role("button", name="Predict 120,000 rows").click()
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_text("Cancelled after").wait_for()
    tab.get_by_role("button", name="Download the result").wait_for()
    tab.get_by_role("button", name="Cancel").wait_for(state="detached")


def test_a_prediction_is_made_with_the_keyboard_alone_and_the_focus_is_seen(stack, visit):
    api, _ = stack
    tab = visit("Playground")
    before = newest(api)
    tab.get_by_role("button", name="Predict", exact=True).wait_for()
    unseen = tab_through(tab, until="Predict")
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Yes, it was setosa").wait_for()
    assert unseen == []
    assert newest(api) != before


def test_the_state_is_shown_without_waiting(stack, visit):
    tab = visit("Health")
    tab.get_by_text("The service is healthy").wait_for()
    tab.get_by_text("Versions in the model registry").wait_for()
