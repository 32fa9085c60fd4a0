"""The real Jenkinsfile, carried out: from the check-out to a deployment by ssh on a host that runs systemd."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.jenkins_runs import WITHOUT_GROOVY
from tests.infra.repository import ROOT

HOST = str(ROOT / ".ci/host")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.skipif(bool(WITHOUT_GROOVY), reason=WITHOUT_GROOVY),
    pytest.mark.skipif("BAKEOFF_PIPELINE" in os.environ, reason="the pipeline that runs this test is what it tests"),
]
# What CI does elsewhere is not done again within: the whole of lint and tests.
QUICK = {
    "TEST_ARGUMENTS": "tests/unit/test_files.py",
    "LINT_CHECKS": "jenkinsfile compose-schema",
    "CONTRACT_EXAMPLES": "10",
    "DEPLOY_ARGUMENTS": "--no-compress",
}
Pipeline = Callable[..., subprocess.CompletedProcess[str]]


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout.strip()


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[str, str]]:
    """A host with Docker: its name and its address."""
    name = f"jenkins-{uuid.uuid4().hex[:8]}"
    run(HOST, "build", "docker")
    try:
        yield name, run(HOST, "start", name, "docker").splitlines()[-1]
    finally:
        subprocess.run([HOST, "stop", name], capture_output=True)


@pytest.fixture(scope="module")
def pipeline(host: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Runs the Jenkinsfile for that host; options of the runner are added."""
    folder = tmp_path_factory.mktemp("jenkins")
    key = {"kind": "ssh", "user": "root", "path": run(HOST, "key")}
    (folder / "credentials.json").write_text(json.dumps({"bakeoff-deploy-key": key}))
    # test_openapi_conformance.py has all phases: the thousands of cases of `coverage` took as long as a deployment.
    phases = {"CONTRACT_PHASES": "examples,fuzzing,stateful"}
    environment = {**os.environ, **phases, "BAKEOFF_KNOWN_HOSTS": str(folder / "known_hosts")}

    def carry_out(number: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / ".ci/jenkins/run"), "--with-changes", "--number", number, *options]
        command += ["--answer", "approve"]
        command += ["--credentials", str(folder / "credentials.json"), "--workspace", str(folder / "workspace")]
        command += ["--archive", str(folder / "archive"), "--param", f"DEPLOY_HOST=root@{host[1]}"]
        for parameter, value in QUICK.items():
            command += ["--param", f"{parameter}={value}"]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=1200
        )

    return carry_out


@pytest.fixture(scope="module")
def number() -> str:
    """Of the first build; the others follow."""
    return str(uuid.uuid4().int % 10**8 * 10)


@pytest.fixture(scope="module")
def released(pipeline: Pipeline, number: str) -> subprocess.CompletedProcess[str]:
    """The first release, tested, tried out and deployed; only lint is left to CI, which has just done it."""
    return pipeline(number, "--skip", "Lint")


def archive_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(iter(tmp_path_factory.getbasetemp().glob("jenkins*/archive")))


def tag_on(name: str) -> str:
    return run(HOST, "ssh", name, "docker ps --filter label=com.docker.compose.service=api --format '{{.Image}}'")


def test_a_release_reaches_the_host(
    released: subprocess.CompletedProcess[str], host: tuple[str, str], number: str
) -> None:
    assert released.returncode == 0, released.stdout[-6000:] + released.stderr[-2000:]
    assert tag_on(host[0]).startswith(f"bakeoff-api:build-{number}-")


def test_what_was_built_is_archived(
    released: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = archive_of(tmp_path_factory)
    for report in ("tests.xml", "contract.xml", "training.json", "scan/images.txt"):
        assert (archive / "reports" / report).stat().st_size > 0
    assert len(list(archive.glob("build/models/*/manifest.json"))) == 2
    parts = json.loads((archive / "reports/scan/bakeoff-api.sbom.json").read_text())["components"]
    pinned = (ROOT / "requirements.txt").read_text().lower()
    flask = next(part for part in parts if part["name"].lower() == "flask")
    assert f"flask=={flask['version']}" in pinned


def test_a_nightly_build_publishes_a_candidate_that_a_parameter_lets_in(
    released: subprocess.CompletedProcess[str],
    pipeline: Pipeline,
    number: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    archive = archive_of(tmp_path_factory) / "reports/retrained.json"
    words = ["--param", "TASK=retrain", "--param", "NIGHTLY_DATASET=iris", "--param", "TRAIN_ARGUMENTS=--seed 7"]
    nightly = pipeline(str(int(number) + 1), *words)
    assert nightly.returncode == 0, nightly.stdout[-6000:] + nightly.stderr[-2000:]
    assert "stage: Release: skipped" in nightly.stdout
    done = json.loads(archive.read_text())
    assert done["candidate"] == "v3"
    assert done["waits_for"].startswith("experiment ")
    again = pipeline(str(int(number) + 2), *words, "--param", "LET_IN=true")
    assert again.returncode == 0, again.stdout[-6000:] + again.stderr[-2000:]
    done = json.loads(archive.read_text())
    assert done["unchanged"] == "v3"
    weights = done["configuration"]["weights"]
    assert weights["v3"] == pytest.approx(0.1)
    assert weights[done["configuration"]["baseline"]] == pytest.approx(0.9)


def test_a_release_that_is_not_healthy_on_the_host_is_rolled_back(
    released: subprocess.CompletedProcess[str], pipeline: Pipeline, host: tuple[str, str], number: str
) -> None:
    stages = [word for name in ("Check out", "Build", "To the host") for word in ("--only", name)]
    flawed = pipeline(str(int(number) + 3), *stages, "--param", "HEALTH_URL=http://127.0.0.1:9")
    assert flawed.returncode == 1
    assert "was rolled back" in flawed.stdout, flawed.stdout[-6000:] + flawed.stderr[-2000:]
    assert tag_on(host[0]).startswith(f"bakeoff-api:build-{number}-")
