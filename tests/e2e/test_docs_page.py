"""The page /docs in a real browser: its policy is enough for it, and what is tried out does not count."""

import subprocess

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
CALL = "#operations-Predicting-post_predict"


@pytest.fixture
def page(start, browser):
    """The call POST /predict, opened by its link; at the end nothing was refused by the policy or asked of others."""
    api = start()
    context = browser.new_context(viewport={"width": 390, "height": 1000})
    tab, troubles = context.new_page(), []
    tab.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("request", lambda asked: None if asked.url.startswith((api.url, "data:")) else troubles.append(asked.url))
    tab.goto(f"{api.url}/docs#/Predicting/post_predict")
    tab.locator(CALL).get_by_role("button", name="Execute").wait_for()
    yield api, tab
    context.close()
    assert not troubles


def execute(tab):
    """Send the example; returns the header that marks test traffic."""
    with tab.expect_request("**/predict") as sent:
        tab.locator(CALL).get_by_role("button", name="Execute").click()
    tab.locator(CALL).locator(".live-responses-table").wait_for()
    return sent.value.headers.get("x-traffic-kind")


def test_a_prediction_that_is_tried_out_counts_only_where_it_is_switched_on(page):
    _, tab = page
    assert execute(tab) == "synthetic"
    tab.get_by_label("Count predictions in the experiment and in drift").check()
    assert execute(tab) is None


def test_each_call_shows_its_curl_and_fits_a_phone(page):
    api, tab = page
    assert f"curl -s '{api.url}/predict' -X POST" in tab.locator(CALL).locator(".curl pre").first.inner_text()
    execute(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


NEEDS_AN_ID = (
    "Experiment-get_experiments_id",
    "Experiment-get_experiment_id_breakdown",
    "Experiment-get_experiment_id_disagreements",
    "Predicting-get_predictions",
    "Predicting-get_predictions_prediction_id",
)


def status_of(curl):
    """The status that a shell gets of a curl from the page."""
    before, command, after = curl.rpartition("curl -s ")
    run = ["bash", "-c", f"{before}{command}-o /dev/null -w '%{{http_code}}' {after}"]
    return subprocess.run(run, capture_output=True, text=True, timeout=20, check=True).stdout


def test_the_curl_of_a_call_that_needs_an_id_asks_for_one_first(page):
    _, tab = page
    execute(tab)
    for name in NEEDS_AN_ID:
        call = tab.locator(f"#operations-{name}")
        call.locator(".opblock-summary-control").click()
        curl = call.locator(".curl pre").inner_text()
        eventually(lambda curl=curl: status_of(curl) == "200", 10, lambda curl=curl: f"{curl}: {status_of(curl)}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious_on_an_opened_call(page, width, theme):
    _, tab = page
    tab.set_viewport_size({"width": width, "height": 1000})
    tab.emulate_media(color_scheme=theme)
    execute(tab)
    found = Axe().run(tab).response["violations"]
    assert [each for each in found if each["impact"] in ("serious", "critical")] == []


def test_each_call_has_a_link_to_itself(page):
    api, tab = page
    link = tab.locator(CALL).get_by_role("link", name="Link to this call")
    assert f"{api.url}/docs{link.get_attribute('href')}" == tab.url
