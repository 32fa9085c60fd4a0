"""What must not be in the tree: open work, machine paths, secrets, files nobody can read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.repository import ROOT, files, name

TEXTS = [path for path in files("*", ".*", ".ci/*") if path.stat().st_size < 1_000_000]
PYTHON = files("*.py")
FIXED_TOP = (
    "app docker tests terraform docker-compose.yml Jenkinsfile install.sh run_demo.sh requirements.txt ARCHITECTURE.md "
    "README.md"
)
# Written in two halves, so that this file does not find itself.
FORBIDDEN = {
    "open work belongs to the issue list": r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b",
    "a path of one machine": r"(?<![\w.])/(ro" + r"ot|ho" + r"me|Us" + r"ers|wo" + r"rk)/\w",
    "the host of a package registry": r"py" + r"pi\.org|python" + r"hosted|npm" + r"js\.(org|com)|deb\.deb" + r"ian",
    "a private key": r"BEGIN [A-Z ]*PRIV" + r"ATE KEY",
}


@pytest.mark.parametrize("reason", FORBIDDEN)
def test_the_tree_is_free_of(reason: str) -> None:
    pattern = re.compile(FORBIDDEN[reason])
    found = [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("entry", FIXED_TOP.split())
def test_the_top_level_has(entry: str) -> None:
    assert (ROOT / entry).exists()


@pytest.mark.parametrize("module", files("app/**/*.py"), ids=name)
def test_a_module_fits_three_screens(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 300


@pytest.mark.parametrize("module", files("app/**/*.py"), ids=name)
def test_a_module_says_what_it_is(module: Path) -> None:
    text = module.read_text()
    assert not text.strip() or text.lstrip().startswith(('"""', "#!"))


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert not [name(path) for path in PYTHON if path.stem in drawers]
