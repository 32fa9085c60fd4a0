"""Pages in Streamlit's own test harness, against a small api over real HTTP."""

import functools

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from app.ui import session
from tests.ui import answers
from tests.ui.fake_api import FakeApi

TEXTS = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "metric", "code")


@pytest.fixture(scope="session", autouse=True)
def packages_scanned_once():
    """Streamlit looks through all installed packages for components when a server starts, and each page drawn here is a
    server of its own: what is installed does not change between them."""
    found = functools.cache(manifest_scanner.scan_component_manifests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", found)
        yield


@pytest.fixture
def begin(monkeypatch):
    """Starts an api with the given routes and makes the pages use it."""
    started = []

    def start(routes=answers.NORMAL):
        api = FakeApi(routes)
        session._parts.cache_clear()  # what is known of an earlier api, which may have had the same port
        started.append(api)
        monkeypatch.setenv("API_URL", api.url)
        monkeypatch.delenv("API_TOKEN", raising=False)
        return api

    yield start
    for api in started:
        api.stop()


@pytest.fixture
def api(begin):
    """An api where everything is there."""
    return begin()


@pytest.fixture
def page():
    """Draws a page by its name."""

    def draw(name, **query):
        at = AppTest.from_string(f"from app.ui.views import {name}\n{name}.show()", default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        return checked(at.run())

    return draw


def checked(at):
    """The page, on which nothing was raised."""
    assert not at.exception, [each.value for each in at.exception]
    return at


def text_of(at):
    """All that a page says, in one string."""
    found = [str(getattr(each, "value", "")) for kind in TEXTS for each in getattr(at, kind)]
    found += [f"{each.label} {each.value} {each.delta}" for each in at.metric]
    found += [frame.value.to_string() for frame in at.dataframe]
    return "\n".join(found)


def button(at, label):
    """The only button with that label."""
    (found,) = [each for each in at.button if each.label == label]
    return found
