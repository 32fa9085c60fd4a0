"""The workflow for those on GitHub: it does what CI elsewhere does, with as few rights as that needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.infra.repository import ROOT

FILE = ROOT / ".github/workflows/ci.yml"
WORKFLOW = FILE.read_text()
JOB = yaml.safe_load(WORKFLOW)["jobs"]["check"]
STEPS, PARTS = JOB["steps"], JOB["strategy"]["matrix"]["part"]


@pytest.mark.parametrize("check", ["workflow-schema", "actionlint", "renovate-schema"])
def test_the_workflow_and_its_bot_are_valid(check: str) -> None:
    command = [str(ROOT / ".ci/lint"), check]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    if f"1 not run ({check})" in result.stdout:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stdout + result.stderr


def test_its_machines_run_all_parts_of_ci_and_none_twice() -> None:
    count = len(PARTS) - 1
    assert ["lint", *(f"{number}-of-{count}" for number in range(1, count + 1))] == PARTS
    with_images = re.search(r"contains\(fromJSON\('(.+)'\), matrix.part\)", WORKFLOW)
    assert with_images
    assert json.loads(with_images[1]) == PARTS[1 : 1 + count // 2]  # those with containers (`.ci/run`)
    assert JOB["strategy"]["fail-fast"] is False  # or the failure of one part would hide those of others


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
    # Of the profiles that no test starts: 2 GB.
    optional = {
        name for name in named if name.startswith(("grafana/grafana:", "chrislusf/seaweedfs:", "ghcr.io/mlflow/"))
    }
    assert len(optional) == 3
    assert named - optional == set(re.findall(r"docker pull --quiet (\S+)", WORKFLOW))


def repository(folder: Path) -> Path:
    """A repository of what is in the folder."""
    author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def stand_in(folder: Path, step: dict) -> str:
    """An option of act's for a step's action: a stand-in in the folder is used, which prints the step's inputs."""
    action = step["uses"].split("@")[0]
    said = "\n".join(f"{name}=${{{{ inputs.{name} }}}}" for name in step["with"])
    told = {"shell": "bash", "run": f"cat <<'END'\nused {action}\n{said}\nEND"}
    inputs = {name: {"description": name} for name in step["with"]}
    definition = {"name": action, "inputs": inputs, "runs": {"using": "composite", "steps": [told]}}
    place = folder / action.split("/")[1]
    place.mkdir()
    (place / "action.yml").write_text(yaml.safe_dump(definition))
    return f"--local-repository={step['uses']}={repository(place)}"


@pytest.fixture
def pushed(tmp_path: Path) -> Callable[[str, str], tuple[int, str]]:
    """Carries out a part of the workflow as after a push to main, in a repository whose .ci/run is that script.

    Steps are really run, on this host; actions but the check-out, and Docker, are stand-ins.
    """
    tools = subprocess.run([ROOT / ".ci/tools"], capture_output=True, text=True)
    if tools.returncode or not shutil.which("node"):  # which works out hashFiles
        pytest.skip(f"NOT CHECKED: act, for the workflow, cannot be installed, or Node is missing: {tools.stderr}")
    clone, bin_folder = tmp_path / "a clone", tmp_path / "bin"
    (clone / FILE.relative_to(ROOT)).parent.mkdir(parents=True)
    shutil.copy(FILE, clone / FILE.relative_to(ROOT))
    script(bin_folder / "docker", 'echo "docker $*"')

    def push(run: str, part: str) -> tuple[int, str]:
        script(clone / ".ci/run", run)
        others = [step for step in STEPS if "uses" in step and "checkout" not in step["uses"]]
        options = ["-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--matrix", f"part:{part}"]
        options += [stand_in(tmp_path, step) for step in others]
        home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        environment = os.environ | home | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
        command = [Path(tools.stdout.strip()) / "act", "push", *options]
        folder = repository(clone)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        lines = re.findall(r"^\[CI/check-?\d*\] +(?:\| )?(.*)$", done.stdout, re.M)
        return done.returncode, "\n".join(lines) + done.stderr

    return push


def test_a_push_prepares_the_machine_and_runs_ci(pushed: Callable[[str, str], tuple[int, str]]) -> None:
    status, said = pushed('echo "CI $*, cache in $CI_CACHE"', "2-of-6")
    assert status == 0, said
    assert "used actions/setup-python\npython-version=3.11\n" in said
    kept = re.search(r"used actions/cache\npath=(.+)\nkey=ci-Linux-[0-9a-f]{64}\n", said)
    assert kept, said
    begun = said.index(f"CI --part 2-of-6, cache in {kept[1]}\n")
    assert "docker pull" in said[:begun]
    assert "used actions/upload-artifact\nname=reports-2-of-6\n" in said[begun:]


@pytest.mark.parametrize("part", ["lint", PARTS[-1]])
def test_a_machine_without_containers_pulls_no_images(pushed: Callable[[str, str], tuple[int, str]], part: str) -> None:
    status, said = pushed('echo "CI $*"', part)
    assert status == 0, said
    assert f"CI --part {part}\n" in said
    assert "docker pull" not in said


def test_where_ci_fails_the_job_fails_and_the_reports_are_kept_all_the_same(
    pushed: Callable[[str, str], tuple[int, str]],
) -> None:
    status, said = pushed("echo no good; exit 3", PARTS[1])
    assert status == 1, said
    assert "used actions/upload-artifact\n" in said[said.index("no good\n") :]
    assert "Job failed" in said
