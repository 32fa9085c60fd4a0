"""For gunicorn in place of `app.wsgi`: the api with versions that need half a second for each answer."""

import time

from msgspec.structs import replace

from app import wsgi
from app.inference import loader

LOAD = loader.load_version
SLOW_ANSWER_S = 0.5


class Slow:
    """A runtime that takes its time."""

    def __init__(self, runtime):
        self.runtime = runtime

    def predict(self, rows):
        """The answer, late."""
        time.sleep(SLOW_ANSWER_S)
        return self.runtime.predict(rows)


def slowed(registry, name, known=None):
    """The version as it is on the shelf, and slow."""
    version = LOAD(registry, name, None)
    return replace(version, runtime=Slow(version.runtime))


def create():
    """The application, as `app.wsgi.create`."""
    loader.load_version = slowed
    return wsgi.create()
