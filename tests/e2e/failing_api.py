"""For gunicorn in place of `app.wsgi`: the api with a v2 that loads, and then answers nothing."""

from msgspec.structs import replace

from app import wsgi
from app.inference import loader

LOAD = loader.load_version


class Broken:
    """A runtime that raises."""

    def predict(self, rows):
        """Never an answer."""
        raise RuntimeError("this version answers nothing")


def with_broken_v2(registry, name, known=None):
    """The version as it is on the shelf, v2 without its model."""
    version = LOAD(registry, name, None)
    return replace(version, runtime=Broken()) if name == "v2" else version


def create():
    """The application, as `app.wsgi.create`."""
    loader.load_version = with_broken_v2
    return wsgi.create()
