"""The WSGI application for gunicorn: `app.wsgi:create()`; importing this module builds nothing."""

from __future__ import annotations

from app.bootstrap.api import Api, build_api
from app.settings import Settings


def create() -> Api:
    """The api as the environment describes it."""
    return build_api(Settings.from_environ())
