"""Deployments onto a stack that was started by hand: what was never recorded is found out, and old images go."""

import secrets
import subprocess

import pytest

from tests.e2e.deployed import Deployed, another_release

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def there_is(image):
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def first(stack_images):
    """A tag of its own for the release that runs first, since it is going to be removed."""
    tag = f"{stack_images}-{secrets.token_hex(4)}"
    images = [f"bakeoff-{part}:{{}}" for part in ("api", "ui")]
    for image in images:
        subprocess.run(["docker", "tag", image.format(stack_images), image.format(tag)], check=True)
    yield tag
    subprocess.run(["docker", "rmi", *[image.format(tag) for image in images]], capture_output=True)


@pytest.fixture(scope="module")
def later(first):
    """The tags of two more releases."""
    with another_release(first) as second, another_release(first) as third:
        yield second, third


@pytest.fixture(scope="module")
def by_hand(first, later, tmp_path_factory):
    """A stack that `docker compose up` started; gone before the images that it runs."""
    stack = Deployed(tmp_path_factory.mktemp("opt"), "docker compose")
    try:
        words = f'source "{stack.folder}/docker/lib.sh" && compose up -d --no-build && wait_healthy 120'
        env = {**stack.env, "BAKEOFF_TAG": first}
        started = subprocess.run(["bash", "-c", words], env=env, capture_output=True, text=True, timeout=300)
        assert started.returncode == 0, started.stdout + started.stderr
        yield stack
    finally:
        stack.remove()


def test_the_first_deployments_leave_an_unchanged_edge_take_in_a_changed_one_and_remove_the_oldest_images(
    by_hand, first, later, stack_images
):
    (second, third), edge = later, by_hand.containers("edge")
    status, said = by_hand.script("deploy.sh", "local", "--tag", second, "--no-backup")
    assert (status, by_hand.containers("edge")) == (0, edge), said
    (by_hand.folder / ".release").unlink()  # as where no deployment ever was
    with (by_hand.folder / "docker" / "haproxy.cfg").open("a") as configuration:
        configuration.write("# another word\n")
    status, said = by_hand.script("deploy.sh", "local", "--tag", third, "--no-backup")
    assert status == 0, said
    assert "edge was not started by a deployment" in said
    assert by_hand.containers("edge") != edge
    assert f"bakeoff-api:{first} bakeoff-ui:{first}." in said
    images = [f"bakeoff-api:{tag}" for tag in (first, second, third, stack_images)]
    assert [there_is(image) for image in images] == [False, True, True, True]
