"""`bakeoff ui`: the environment in which the dashboard runs."""

import pytest

from app.cli.ui import environment_of
from app.settings import Settings


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"API_PORT": "6000"}, None),
        ({"ADMIN_BIND": "127.0.0.1:5001"}, "http://127.0.0.1:5000"),
        ({"ADMIN_BIND": "127.0.0.1:5001", "HOST": "0.0.0.0", "API_PORT": "80"}, "http://127.0.0.1:80"),
        ({"ADMIN_BIND": "127.0.0.1:5001", "HOST": "10.0.0.5"}, "http://10.0.0.5:5000"),
        ({"ADMIN_BIND": "127.0.0.1:5001", "PUBLIC_API_URL": "https://ask.example"}, "https://ask.example"),
    ],
)
def test_people_are_shown_the_public_listener_and_not_that_of_administration(given, shown):
    environment = environment_of(Settings.from_environ(given), given)
    assert environment.get("PUBLIC_API_URL") == shown
    assert environment["API_URL"] == Settings.from_environ(given).api_url


def test_the_dashboard_has_no_administrative_token():
    given = {"ADMIN_TOKEN": "a" * 32}
    assert "ADMIN_TOKEN" not in environment_of(Settings.from_environ(given), given)
