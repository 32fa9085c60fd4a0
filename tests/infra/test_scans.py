"""The linters that are not Python's, and the scans: each finds what it is there to find."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

# Written in halves, so that no scan finds them here.
AWS_KEY = "AKIA" + "QWERTYUIOPASDFGH"
OVERLAY = """resources: [../base]
patches:
  - target: {{kind: Deployment, name: ui}}
    patch: '{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: ui}}, spec: {{{0}}}}}'
"""
CLONED = (".ci", "docker", "kubernetes", ".github", "docker-compose.yml", "Jenkinsfile", "requirements.txt")


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / ".ci/lint"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, cwd=folder)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the linters look at, in a repository of its own, where faults may be planted."""
    for name in CLONED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        elif source.exists():
            shutil.copy(source, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/shellcheck").symlink_to(ROOT / ".venv/bin/shellcheck")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/good.py").write_text('"""Good."""\n')
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


BAD_WORKFLOW = "on: push\njobs:\n  x:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ matrix.gone }}\n"


@pytest.mark.parametrize(
    ("check", "file", "content"),
    [
        ("shellcheck", "docker/bad.sh", "#!/usr/bin/env bash\nrm $1/*\n"),
        ("hadolint", "docker/Dockerfile.bad", "FROM python\nRUN cd /tmp && sudo ls\n"),
        ("yamllint", "docker/bad.yml", "a: 1\na: 2\n"),
        ("compose-schema", "docker-compose.yml", "services: {api: {image: x, ports: 5}}\n"),
        ("kubernetes", "kubernetes/one-node/kustomization.yaml", OVERLAY.format("replicaz: 2")),
        ("kubernetes", "kubernetes/one-node/kustomization.yaml", OVERLAY.format("template: {spec: {hostPID: true}}")),
        ("workflow-schema", ".github/workflows/bad.yml", "on: push\njobs: {x: {steps: []}}\n"),
        ("actionlint", ".github/workflows/bad.yml", BAD_WORKFLOW),
        ("renovate-schema", ".github/renovate.json", '{"pinDigests": "yes"}\n'),
        ("jenkinsfile", "Jenkinsfile", "pipeline { agent any\nstages { stage('x') { steps { shh 'ls' } } } }\n"),
        ("bandit", "app/bad.py", 'import subprocess\nsubprocess.run("ls " + input(), shell=True)\n'),
        ("secrets", "app/bad.py", f'KEY = "{AWS_KEY}"\n'),
        ("compose-1", "docker-compose.yml", "services: {api: {image: x, restart: [sometimes]}}\n"),
        ("compose-2", "docker-compose.yml", "services: {api: {image: x, restart: [sometimes]}}\n"),
    ],
)
def test_a_planted_fault_is_found(clone: Path, check: str, file: str, content: str) -> None:
    (clone / file).parent.mkdir(parents=True, exist_ok=True)
    (clone / file).write_text(content)
    result = lint(clone, check)
    if f"1 not run ({check})" in result.stdout:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 1
    assert f"1 failed ({check})" in result.stdout


def test_a_check_that_finds_no_file_has_failed(clone: Path) -> None:
    shutil.rmtree(clone / ".github")
    result = lint(clone, "workflow-schema")
    assert result.returncode == 1
    assert "no files to check" in result.stderr


def test_an_audit_without_data_is_not_called_passed(clone: Path) -> None:
    result = lint(clone, "vulnerabilities")
    if "1 passed" in result.stdout:
        pytest.skip("vulnerability data can be reached here: it was really audited")
    assert "NOT CHECKED: not audited: no vulnerability data reachable" in result.stderr
    assert "0 passed, 0 failed, 1 not run (vulnerabilities)" in result.stdout
    assert lint(clone, "--strict", "vulnerabilities").returncode == 1


AUDITOR = """#!/bin/sh
for file; do :; done
if grep -q 'jinja2==2.4.1' "$file"; then echo '"id"'; exit 1; fi
! grep -q vulnerable "$file"
"""


@pytest.mark.parametrize("flawed", ["requirements.txt", "requirements-boosting.txt", "requirements-mlflow.txt", None])
def test_every_file_of_requirements_is_audited(clone: Path, flawed: str | None) -> None:
    """With a stand-in for pip-audit, which has its data always."""
    names = ["requirements.txt", "requirements-boosting.txt", "requirements-mlflow.txt", "requirements-dev.txt"]
    for name in names:
        (clone / name).write_text("vulnerable==1\n" if name == flawed else "sound==1\n")
    (clone / "tools").mkdir()
    (clone / "tools/pip-audit").write_text(AUDITOR)
    (clone / ".ci/tools").write_text(f"#!/bin/sh\necho {clone}/tools\n")
    for script in ("tools/pip-audit", ".ci/tools"):
        (clone / script).chmod(0o755)
    result = lint(clone, "vulnerabilities")
    assert [f"auditing {name}" in result.stdout for name in names] == [True] * 4
    assert result.returncode == (0 if flawed is None else 1), result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["shellchek"]])
def test_an_unknown_check_is_refused(clone: Path, arguments: list[str]) -> None:
    assert lint(clone, *arguments).returncode == 2


# --- images -----------------------------------------------------------------------------------------------------------

FLAWED = f"""FROM python:3.11-slim-bookworm
ENV ADMIN_TOKEN=given-when-built
RUN echo "aws_access_key_id = {AWS_KEY}" >/srv/settings && touch /srv/.env && cp /bin/ls /srv/ls && chmod 4755 /srv/ls
USER root
"""
SOUND = "FROM python:3.11-slim-bookworm\nRUN echo nothing >/srv/file\nUSER 10001:10001\n"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory):
    """Builds an image from a Dockerfile, and removes all of them at the end."""
    made = []

    def build(name: str, dockerfile: str) -> str:
        folder = tmp_path_factory.mktemp(name)
        (folder / "Dockerfile").write_text(dockerfile)
        tag = f"bakeoff-scan-test-{name}:{folder.name}"
        subprocess.run(["docker", "build", "--quiet", "-t", tag, str(folder)], check=True, capture_output=True)
        made.append(tag)
        return tag

    yield build
    subprocess.run(["docker", "image", "rm", "--force", *made], capture_output=True)


def scan(folder: Path, image: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "docker/scan.sh"), "--output", str(folder), image]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


@pytest.mark.docker
def test_every_flaw_of_an_image_is_found(images, tmp_path: Path) -> None:
    result = scan(tmp_path, images("flawed", FLAWED))
    assert result.returncode == 1, result.stderr
    for failure in (
        "secrets in layers or history",
        "named like secrets: ADMIN_TOKEN",
        "srv/.env",
        "runs as root",
        "setuid or setgid files: srv/ls",
    ):
        assert failure in result.stdout
    assert AWS_KEY not in result.stdout + result.stderr


@pytest.mark.docker
def test_a_sound_image_passes_and_has_a_bill_of_materials(images, tmp_path: Path) -> None:
    result = scan(tmp_path, images("sound", SOUND))
    assert result.returncode == 0, result.stdout + result.stderr
    assert '"bomFormat": "CycloneDX"' in next(tmp_path.glob("*.sbom.json")).read_text()


@pytest.mark.docker
def test_an_image_that_is_not_here_is_refused(tmp_path: Path) -> None:
    result = scan(tmp_path, "bakeoff-nowhere:gone")
    assert result.returncode == 2
    assert "is not on this host" in result.stderr
