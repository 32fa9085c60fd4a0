import pytest

from app.web.app import create_flask
from tests.web import fakes


@pytest.fixture(scope="session")
def iris():
    """Services over two versions that answer; tests that read what was recorded make their own."""
    return fakes.services()


@pytest.fixture(scope="session")
def client(iris):
    return create_flask(iris).test_client()


@pytest.fixture
def serve():
    """Make a client over services of one's own: `client, services = serve(api_token="t")`."""

    def make(*args, **settings):
        services = fakes.services(*args, **settings)
        return create_flask(services).test_client(), services

    return make
