"""The workflow for those on GitHub: it does what CI elsewhere does, with as few rights as that needs."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.infra.repository import ROOT

WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()


@pytest.mark.parametrize("check", ["workflow-schema", "actionlint", "renovate-schema"])
def test_the_workflow_and_its_bot_are_valid(check: str) -> None:
    command = [str(ROOT / ".ci/lint"), check]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    if f"1 not run ({check})" in result.stdout:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_runs_what_ci_runs() -> None:
    assert re.search(r"^ +run: \.ci/run$", WORKFLOW, re.M)


def test_it_may_read_and_no_more() -> None:
    assert re.findall(r"^permissions:\n((?: +.*\n)+)", WORKFLOW, re.M) == ["  contents: read\n"]


def test_every_action_is_a_commit_with_its_version_beside_it() -> None:
    actions = re.findall(r"uses: (.+)", WORKFLOW)
    assert actions
    pinned = re.compile(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert not [action for action in actions if not pinned.fullmatch(action)]


def test_it_brings_the_images_that_the_stack_names() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    bases = "".join(path.read_text() for path in (ROOT / "docker").glob("Dockerfile.*"))
    named = set(re.findall(r"^ +image: ((?!bakeoff-)\S+)$", compose, re.M)) | set(
        re.findall(r"^ARG PYTHON_IMAGE=([^@\s]+)", bases, re.M)
    )
    assert named - {"grafana/grafana:11.6.0"} == set(re.findall(r"docker pull --quiet (\S+)", WORKFLOW))
