"""Pages with many versions, features and classes in a browser: nothing is cut off, axe-core finds nothing serious."""

import csv

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe

from tests.e2e.api_process import free_port
from tests.e2e.test_ui_idle import begin
from tests.ui import wide
from tests.ui.fake_api import FakeApi
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
PAGES = ("Experiment", "Playground", "Batch", "Labels", "Drift", "Health")
LOOKS = {f"{width} px, {theme}": (width, theme) for width in (1280, 390) for theme in ("light", "dark")}
# Texts of which something is hidden by the element that has them or one around it, and which cannot be scrolled.
CUT_OFF = """() => {
  const hides = each => ['hidden', 'clip'].includes(getComputedStyle(each).overflowX);
  const found = [], walker = document.createTreeWalker(document.querySelector('[data-testid="stMain"]'), 4);
  while (walker.nextNode()) {
    let each = walker.currentNode.parentElement;
    const box = each.getBoundingClientRect(), style = getComputedStyle(each);
    const seen = walker.currentNode.data.trim() && box.width > 1 && box.height > 1 && style.visibility !== 'hidden';
    for (let up = 0; seen && each && up < 5; up++, each = each.parentElement) {
      if (hides(each) && each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1) found.push(each.innerText);
    }
  }
  return found;
}"""
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.fixture(scope="module")
def dashboard():
    """The address of a dashboard over an api with many versions, features and classes."""
    api, port = FakeApi(wide.WIDE), free_port()
    process = begin(port, api.url)
    try:
        health = f"http://127.0.0.1:{port}/_stcore/health"
        eventually(lambda: requests.get(health, timeout=2).ok, 60, ignoring=requests.RequestException)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(params=LOOKS)
def tab(browser, request):
    width, theme = LOOKS[request.param]
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_many_and_long_names_cuts_nothing_off_and_can_be_used_by_all(dashboard, tab, name, tmp_path):
    tab.goto(f"{dashboard}/{'' if name == 'Experiment' else name.lower()}")
    tab.get_by_role("heading", name=name, exact=True, level=1).wait_for()
    use(tab, name, tmp_path / "rows.csv")
    tab.wait_for_load_state("networkidle")
    # While a slow page redraws itself, what it has not drawn again yet is faded.
    eventually(lambda: not serious(tab), 20, lambda: serious(tab), pause=lambda: tab.wait_for_timeout(500))
    assert tab.evaluate(CUT_OFF) == []
    assert tab.evaluate(FITS)


def serious(tab):
    """What axe-core finds serious now: the rule, and the first element against it."""
    found = Axe().run(tab).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


def use(tab, name, table):
    """Let the page show what it has only after it was used."""
    if name == "Experiment":
        tab.get_by_role("radio", name="Breakdown").press("Space")
        tab.get_by_text("Answers by true class").wait_for()
    if name == "Playground":
        tab.get_by_role("button", name="Predict", exact=True).click()
        tab.get_by_text("Was it right?").wait_for()
    if name == "Batch":
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([wide.NAMES, *[wide.ROW] * 80])
        tab.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(table)
        tab.get_by_role("button", name="Predict 80 rows").click()
        tab.get_by_role("button", name="Download the result").wait_for()


# The name of the focused element, and whether it is inside a chart.
FOCUSED = """() => {
  const each = document.activeElement;
  return [each.getAttribute('aria-label') || each.innerText || each.tagName, !!each.closest('.vega-embed')];
}"""


def test_forty_presses_of_tab_lead_through_the_experiment_and_into_no_chart(dashboard, tab):
    tab.goto(dashboard)
    tab.get_by_text("Change the split").first.wait_for()
    walked = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        walked.append(tuple(tab.evaluate(FOCUSED)))
    assert not [name for name, charted in walked if charted]
    assert len(set(walked)) > 10


def test_a_sign_in_the_chart_of_the_shares_opens_its_entry_of_the_audit_log(dashboard, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    tab = context.new_page()
    tab.goto(dashboard)
    tab.locator(".st-key-timeline-chart-e-1 .mark-symbol.role-mark path").last.click(timeout=60_000)
    tab.get_by_text("There was no report at that moment").wait_for()
    context.close()
