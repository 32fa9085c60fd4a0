"""Each setting is in the code, in .env.example and in the README's table: the same name, the same default."""

from __future__ import annotations

import re

import pytest

from app.settings import _VARIABLES, Settings
from tests.infra.repository import ROOT, example_settings

SPLIT = {"MODEL_V1_WEIGHT", "MODEL_V2_WEIGHT"}
# What docker-compose.yml refers to, and the variables that Compose itself reads.
WITH_DOCKER = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
WITH_DOCKER |= {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
KNOWN = {variable for variable, _ in _VARIABLES.values()} | SPLIT | WITH_DOCKER


def readme_rows() -> dict[str, str]:
    """The settings table: the variable, and the text of its default cell."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| .* \|$", (ROOT / "README.md").read_text(), re.M)
    return dict(rows)


def test_the_example_file_has_every_setting_and_no_other() -> None:
    assert set(example_settings()) == KNOWN


def test_the_example_file_is_the_defaults() -> None:
    assert Settings.from_environ(example_settings()) == Settings.from_environ({})


def test_the_readme_has_every_setting_and_no_other() -> None:
    assert set(readme_rows()) == KNOWN


@pytest.mark.parametrize(("variable", "value"), [pair for pair in example_settings().items() if pair[1]])
def test_the_readme_states_the_default(variable: str, value: str) -> None:
    assert readme_rows()[variable] == f"`{value}`"


def test_every_setting_has_its_reason_above_it() -> None:
    blocks = (ROOT / ".env.example").read_text().split("\n#")
    lonely = [block for block in blocks if "=" in block and not block.startswith(" ")]
    assert not lonely
