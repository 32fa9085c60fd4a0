"""A release sent by ssh to another host, which keeps serving through a restart of its engine and of itself."""

import json
import secrets
import subprocess
from functools import partial

import pytest

from tests.stack import ROOT, clean_environment, output
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

ROW = '{"features": [5.1, 3.5, 1.4, 0.2]}'


class Host:
    """A container that runs systemd, sshd and an engine of its own."""

    def __init__(self):
        self.name = f"test-deploy-{secrets.token_hex(3)}"
        self.address = output(".ci/host", "start", self.name, "docker").split()[-1]
        key = output(".ci/host", "key")
        options = (f"-i{key}", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR")
        self.options = [word for option in options for word in ("--ssh-option", option)]

    def deploy(self, tag):
        words = ["docker/deploy.sh", f"root@{self.address}", "--tag", tag, "--no-compress", *self.options]
        return subprocess.run(words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=600)

    def run(self, *words):
        return output(".ci/host", "ssh", self.name, *words)

    def get(self, path):
        return json.loads(self.run(f"curl -sf http://127.0.0.1:5000{path}"))

    def wait_ready(self, timeout_s=120):
        ask = partial(self.get, "/health/ready")
        return eventually(ask, timeout_s, lambda: self.run("docker ps -a"), ignoring=AssertionError)


@pytest.fixture(scope="module")
def host(stack_images):
    host = Host()
    try:
        sent = host.deploy(stack_images)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        host.wait_ready()
        yield host
    finally:
        output(".ci/host", "stop", host.name)


def test_the_settings_of_the_host_are_for_its_owner_alone_and_never_shown(host):
    assert host.run("stat -c %a /opt/bakeoff/.env") == "600"
    token = host.run("sed -n s/^ADMIN_TOKEN=//p /opt/bakeoff/.env")
    assert len(token) == 48


def test_a_second_deployment_of_the_same_sends_no_image_and_leaves_the_settings(host, stack_images):
    before = host.run("cat /opt/bakeoff/.env")
    again = host.deploy(stack_images)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "has all images" in again.stdout
    assert host.run("cat /opt/bakeoff/.env") == before


@pytest.mark.parametrize("what", ["the engine", "the host"])
def test_after_a_restart_the_stack_is_back_by_itself_with_nothing_lost(host, what):
    before = [host.run(f"curl -sf http://127.0.0.1:5000/predict -d '{ROW}'") for _ in range(5)]
    host.get("/predictions/history?limit=1")
    if what == "the engine":
        host.run("systemctl restart docker")
    else:
        output(".ci/host", "reboot", host.name)
    host.wait_ready()
    kept = {row["prediction_id"] for row in host.get("/predictions/history?limit=100")["predictions"]}
    assert {json.loads(answer)["prediction_id"] for answer in before} <= kept


def test_a_host_that_is_not_there_is_named(stack_images):
    words = ["docker/deploy.sh", "root@127.0.0.9", "--tag", stack_images, "--ssh-option", "-p9"]
    said = subprocess.run(words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert "root@127.0.0.9 cannot be reached by ssh" in said.stderr
