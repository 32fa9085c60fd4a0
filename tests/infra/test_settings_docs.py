"""docs/reference.md has every setting (with the default of the code and of .env.example), call and command."""

from __future__ import annotations

import re

import pytest

from app.cli import COMMANDS
from app.settings import _VARIABLES, Settings
from app.web.app import OPERATIONS
from app.web.operations import Operation
from tests.infra.repository import ROOT, example_settings

SPLIT = {"MODEL_V1_WEIGHT", "MODEL_V2_WEIGHT"}
# What docker-compose.yml refers to, and the variables that Compose itself reads.
WITH_DOCKER = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
WITH_DOCKER |= {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
KNOWN = {variable for variable, _ in _VARIABLES.values()} | SPLIT | WITH_DOCKER


REFERENCE = (ROOT / "docs" / "reference.md").read_text()


def documented_settings() -> dict[str, str]:
    """The settings table: the variable, and the text of its default cell."""
    return dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| .* \|$", REFERENCE, re.M))


def test_the_example_file_has_every_setting_and_no_other() -> None:
    assert set(example_settings()) == KNOWN


def test_the_example_file_is_the_defaults() -> None:
    assert Settings.from_environ(example_settings()) == Settings.from_environ({})


def test_the_reference_has_every_setting_and_no_other() -> None:
    assert set(documented_settings()) == KNOWN


@pytest.mark.parametrize(("variable", "value"), [pair for pair in example_settings().items() if pair[1]])
def test_the_reference_states_the_default(variable: str, value: str) -> None:
    assert documented_settings()[variable] == f"`{value}`"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_the_reference_has_every_call(operation: Operation) -> None:
    assert f"`{operation.method.upper()} {operation.path}`" in REFERENCE


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_every_command(command: str) -> None:
    assert f"`bakeoff {command}`" in REFERENCE


def test_every_setting_has_its_reason_above_it() -> None:
    blocks = (ROOT / ".env.example").read_text().split("\n#")
    lonely = [block for block in blocks if "=" in block and not block.startswith(" ")]
    assert not lonely
