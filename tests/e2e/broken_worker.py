"""For gunicorn in place of `app.wsgi`: the api whose workers fail at their start, after the fork."""

from app import wsgi
from app.bootstrap.api import Api


def fail(*_arguments, **_options):
    """Never a worker."""
    raise RuntimeError("this worker cannot start")


def create():
    """The application, as `app.wsgi.create`."""
    Api.start = fail
    return wsgi.create()
