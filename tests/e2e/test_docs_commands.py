"""Every command in README, QUICKSTART and the reference works as shown, in a fresh clone with a running demo."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.demo_copy import ROOT, Demo, clone, environment, running_demo
from tests.e2e.documents import KINDS_OF_BLOCKS, Example, blocks, differences, examples, fits

pytestmark = pytest.mark.e2e

DOCUMENTS = [ROOT / "README.md", ROOT / "QUICKSTART.md", ROOT / "docs" / "reference.md"]
ACTIVATE = ". .venv/bin/activate"
# Commands that a block of their own gives, and who runs them, since a block is run here with the demo already up.
RUN_ELSEWHERE = {
    "./run_demo.sh": "the fixture `demo`",
    "./run_demo.sh --local": "the fixture `demo`",
    "./run_tests.sh": "whoever runs this test: it is what runs the tests",
    "cp .env.example .env": "test_demo.py",
    "docker/build.sh\ndocker compose -p bakeoff up -d": "test_compose_stack.py, under a name of its own",
    "docker compose -p bakeoff exec api bakeoff report": "test_compose_demo.py, under a name of its own",
}
EXAMPLES = [example for document in DOCUMENTS for example in examples(document)]
RUN_HERE = [example for example in EXAMPLES if example.command.strip() not in RUN_ELSEWHERE]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(clone(tmp_path_factory.mktemp("docs") / "clone"), "--requests", "100") as started:
        yield started


@pytest.mark.parametrize("example", RUN_HERE, ids=lambda example: example.title)
def test_a_command_does_what_the_document_shows(demo: Demo, example: Example) -> None:
    command = re.sub(r"localhost:5000\b", f"127.0.0.1:{demo.port}", example.command)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{ACTIVATE}\n{command}"],
        cwd=demo.folder,
        env=environment(demo.port),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr + result.stdout
    if example.kind == "json":
        assert differences(json.loads(example.shown or ""), json.loads(result.stdout)) == []
    elif example.kind == "text":
        assert fits(example.shown or "", result.stdout), result.stdout
    else:
        assert not result.stdout.startswith('{"error"'), result.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_document_has_only_blocks_that_are_understood(document) -> None:
    assert {kind for _, kind, _ in blocks(document)} <= KINDS_OF_BLOCKS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_document_says_to_activate_the_environment_before_it_uses_the_command(document) -> None:
    text = document.read_text()
    assert -1 < text.find(ACTIVATE) < text.find("\nbakeoff ") or "\nbakeoff " not in text


@pytest.mark.parametrize("command", ["./run_demo.sh", "./run_tests.sh"])
def test_the_readme_gives_the_two_commands(command: str) -> None:
    assert command in [example.command.strip() for example in examples(ROOT / "README.md")]
