"""How often an open page asks the api when nobody touches it: counted by an api, for real browser tabs."""

import os
import subprocess
import sys

import pytest
import requests

from tests.e2e.api_process import ROOT, free_port
from tests.ui.fake_api import FakeApi
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
# What each page asks for when it is opened; those with more than one go on asking.
ASKED = {
    "": {"/experiment", "/experiment/timeline", "/audit", "/config", "/health", "/models", "/drift"},
    "playground": {"/models"},
    "batch": {"/models"},
    "drift": {"/drift", "/drift/timeline"},
    "health": {"/health", "/metrics", "/models"},
}
PAGES = tuple(ASKED)
LIVE = ("", "drift", "health")
# Ticks are 5.2 s apart, so that no more than three fall into it.
WATCHED_MS = 15_000


@pytest.fixture(scope="module")
def dashboards():
    """For each page a dashboard of its own over an api of its own, so that each call has its page."""
    from tests.ui import answers

    apis = {page: FakeApi(answers.NORMAL) for page in PAGES}
    ports = {page: free_port() for page in PAGES}
    processes = [begin(ports[page], apis[page].url) for page in PAGES]
    try:
        for page in PAGES:
            health = f"http://127.0.0.1:{ports[page]}/_stcore/health"
            eventually(lambda url=health: requests.get(url, timeout=2).ok, ignoring=requests.RequestException)
        yield {page: (f"http://127.0.0.1:{ports[page]}/{page}", apis[page]) for page in PAGES}
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def begin(port, api_url):
    env = {**os.environ, "UI_PORT": str(port), "API_URL": api_url}
    command = [sys.executable, "-m", "app", "ui"]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def drawn(page, tab, api):
    """Wait until the page has made its first calls; only while a tab waits are the browser's events handled."""
    eventually(lambda: set(api.paths()) >= ASKED[page], pause=lambda: tab.wait_for_timeout(100))


def test_an_idle_page_asks_the_api_once_in_five_seconds_at_most(browser, dashboards):
    tabs = {}
    for page, (url, _) in dashboards.items():
        tabs[page] = browser.new_page()
        tabs[page].goto(url)
    for page, (_, api) in dashboards.items():
        drawn(page, tabs[page], api)
    for _, api in dashboards.values():
        api.calls.clear()
    tabs[""].wait_for_timeout(WATCHED_MS)
    calls = {page: len(api.calls) for page, (_, api) in dashboards.items()}
    for tab in tabs.values():
        tab.close()
    assert {page: count for page, count in calls.items() if count > 3} == {}
    assert min(calls[page] for page in LIVE) >= 2


def test_an_open_page_keeps_its_figures_while_the_api_is_away_and_goes_on_when_it_is_back(browser):
    from tests.ui import answers

    api, port = FakeApi(answers.NORMAL), free_port()
    process = begin(port, api.url)
    tab = browser.new_page()
    tab.set_default_timeout(60_000)
    try:
        health = f"http://127.0.0.1:{port}/_stcore/health"
        eventually(lambda: requests.get(health, timeout=2).ok, ignoring=requests.RequestException)
        tab.goto(f"http://127.0.0.1:{port}")
        tab.get_by_label("Your name, for the audit log").fill("Ann")
        api.stop()
        tab.get_by_text("This page has stale figures").wait_for()
        assert tab.get_by_text("Keep running: no decision yet").is_visible()
        api = FakeApi(answers.NORMAL, api.port)
        tab.get_by_text("This page has stale figures").wait_for(state="detached")
        assert tab.get_by_label("Your name, for the audit log").input_value() == "Ann"
    finally:
        tab.close()
        process.terminate()
        process.wait(20)
        api.stop()
