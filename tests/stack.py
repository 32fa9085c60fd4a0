"""The stack of docker-compose.yml as tests use it: built once for the files as they are now, started on free ports."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.turns import in_turn

ROOT = Path(__file__).parents[1]
COMPOSE_V1, COMPOSE_V2 = "docker-compose", "docker compose"
# What a developer has set for a stack of their own must not reach the tests' one.
_FOREIGN = (
    "API_",
    "UI_PORT",
    "PROMETHEUS_",
    "ADMIN_TOKEN",
    "MODEL_",
    "DATA_DIR",
    "COMPOSE_",
    "BAKEOFF_",
    "HOST",
    "BIND",
    "UI_BIND",
    "OPERATIONS_BIND",
    "ADMIN_BIND",
    "TLS_",
    "ALLOWED_HOSTS",
)


class Stack(msgspec.Struct, frozen=True):
    """A running stack: its Compose project and where it answers."""

    project: str
    api: str
    ui: str
    prometheus: str
    alertmanager: str

    def container(self, service: str) -> str:
        """The id of the newest container of `service`."""
        return container_of(self.project, service)

    def python(self, service: str, *arguments: str) -> str:
        """What Python prints inside the container of `service`."""
        return output("docker", "exec", self.container(service), "python", *arguments)


def container_of(project: str, service: str) -> str:
    """The id of the newest container of a service of a Compose project."""
    labels = (f"project={project}", f"service={service}", "oneoff=False")
    filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
    return output("docker", "ps", "-aq", *filters).split()[0]


def output(*command: str, **environment: str) -> str:
    """What a command prints; `AssertionError` with its complaints where it fails."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout[-3000:]}\n{result.stderr[-6000:]}"
    return result.stdout.strip()


def clean_environment() -> dict[str, str]:
    """The environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def build() -> str:
    """Build the images of the files as they are now, where they are not there yet; their tag."""
    tag = f"test-{output('docker/build.sh', '--print-hash')}"
    with in_turn(Path(tempfile.gettempdir()) / f"bakeoff-images-{os.getuid()}.lock"):
        output("docker/build.sh", "--tag", tag, "--if-changed")
    return tag


@contextmanager
def running(tag: str, compose: str = COMPOSE_V2, **settings: str) -> Iterator[Stack]:
    """A healthy stack of the images with `tag`, started by `compose`; nothing of it is left afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    environment = {"COMPOSE_COMMAND": compose, "ADMIN_TOKEN": "token-of-the-tests", **settings}
    try:
        lines = output("docker/scratch.sh", "up", name, "--tag", tag, **environment).splitlines()
        at = dict(line.split("=", 1) for line in lines)
        yield Stack(at["PROJECT"], at["API_URL"], at["UI_URL"], at["PROMETHEUS_URL"], at["ALERTMANAGER_URL"])
    finally:
        output("docker/scratch.sh", "down", name, "--tag", tag, **environment)


def resolved(*arguments: str, **settings: str) -> dict[str, dict]:
    """The services of docker-compose.yml as Compose v2 understands them, with nothing but defaults and `settings`."""
    command = ("docker", "compose", "--env-file", "/dev/null", *arguments, "config", "--format", "json")
    return json.loads(output(*command, **settings))["services"]
