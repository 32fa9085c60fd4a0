"""What tests of several folders share."""

import pytest

from tests import stack


@pytest.fixture(scope="session")
def stack_images():
    """The tag of images made of the files as they are now; built once, and again only when a file has changed."""
    return stack.build()
