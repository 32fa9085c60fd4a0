"""The WSGI application for gunicorn: `app.wsgi:create()`. Importing this module builds nothing."""

from __future__ import annotations

from app.bootstrap.api import Api, build_api
from app.errors import SettingError
from app.settings import Settings


def create() -> Api:
    """The api with the settings of the environment; an invalid setting ends the process with one line."""
    try:
        return build_api(Settings.from_environ())
    except SettingError as error:
        raise SystemExit(f"error: {error.message}") from None
