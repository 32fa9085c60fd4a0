"""The images: what is in them and what is not, who they run as, how large they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.infra.repository import ROOT
from tests.stack import output
from tests.waiting import eventually

pytestmark = pytest.mark.docker

BASE = "python:3.11-slim-bookworm"
API, UI = "bakeoff-api", "bakeoff-ui"
BOTH = pytest.mark.parametrize("image", [API, UI])


def inspected(image: str) -> dict:
    return json.loads(output("docker", "image", "inspect", image))[0]


PACKAGES = {
    API: ({"sklearn", "onnxruntime", "skl2onnx", "gunicorn"}, {"streamlit", "altair", "pip", "setuptools", "pytest"}),
    UI: (
        {"streamlit", "altair", "pandas", "requests"},
        {"sklearn", "onnxruntime", "scipy", "flask", "pip", "setuptools"},
    ),
}
# Asked of a container at once, because its start takes most of the time. The base image's own pip is outside the
# virtual environment that runs.
ASK = f"""
import importlib.util, json, os, subprocess
packages = {sorted(set().union(*PACKAGES[API], *PACKAGES[UI]))}
version = subprocess.run(["bakeoff", "--version"], cwd="/", capture_output=True, text=True)
print(json.dumps({{
    "packages": [each for each in packages if importlib.util.find_spec(each) is not None],
    "ids": [os.getuid(), os.getgid()],
    "version": version.stdout,
    "sources": sorted(os.listdir("/srv/bakeoff")),
}}))
"""


@pytest.fixture(scope="module")
def inside(stack_images: str) -> dict[str, dict]:
    """What a container of each image says of itself."""
    run = ("docker", "run", "--rm", "--read-only", "--entrypoint", "python")
    return {image: json.loads(output(*run, f"{image}:{stack_images}", "-c", ASK)) for image in (API, UI)}


@BOTH
def test_an_image_has_what_it_needs_and_no_more(inside: dict[str, dict], image: str) -> None:
    there, missing = PACKAGES[image]
    found = set(inside[image]["packages"])
    assert there <= found
    assert not missing & found


@BOTH
def test_an_image_runs_as_a_user_without_privileges(stack_images: str, inside: dict[str, dict], image: str) -> None:
    assert inspected(f"{image}:{stack_images}")["Config"]["User"] == "10001:10001"
    assert inside[image]["ids"] == [10001, 10001]


@BOTH
def test_an_image_starts_its_process_without_a_shell_and_stops_on_sigterm(stack_images: str, image: str) -> None:
    config = inspected(f"{image}:{stack_images}")["Config"]
    assert config["Cmd"][:3] == ["python", "-m", "app"]
    assert config["StopSignal"] == "SIGTERM"


@BOTH
def test_the_command_runs_the_sources_of_the_image(inside: dict[str, dict], image: str) -> None:
    assert inside[image]["version"].startswith("bakeoff ")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SageMaker unpacks a model archive to, readable for the user of the image."""
    tmp_path = tmp_path_factory.mktemp("archive")
    env = {**os.environ, "MODEL_DIR": str(tmp_path / "models"), "DATA_DIR": str(tmp_path / "data")}
    subprocess.run([sys.executable, "-m", "app", "train"], cwd=ROOT, env=env, check=True, capture_output=True)
    (tmp_path / "data" / "keys").rename(tmp_path / "keys")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path


def test_sagemaker_runs_the_image_by_its_own_command(stack_images: str, archive: Path) -> None:
    mount = f"{archive}:/opt/ml/model:ro"
    command = ["docker", "run", "-d", "-p", "127.0.0.1::8080", "-v", mount, f"{API}:{stack_images}", "serve"]
    container = output(*command)
    try:
        url = f"http://{output('docker', 'port', container, '8080/tcp').splitlines()[0]}"
        eventually(lambda: requests.get(f"{url}/ping", timeout=2).ok, 60, ignoring=requests.ConnectionError)
        rows = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
        assert requests.post(f"{url}/invocations", json=rows, timeout=10).json()["predictions"] == ["setosa"]
    finally:
        output("docker", "rm", "-f", container)


def test_a_model_archive_without_its_key_is_refused_by_name(stack_images: str, archive: Path, tmp_path: Path) -> None:
    keyless = Path(shutil.copytree(archive, tmp_path / "keyless"))
    (keyless / "keys" / "deployment.key").unlink()
    command = ["docker", "run", "--rm", "-v", f"{keyless}:/opt/ml/model:ro", f"{API}:{stack_images}", "serve"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "/opt/ml/model/keys/deployment.key cannot be read" in done.stderr


@BOTH
def test_an_image_says_what_it_was_made_from(stack_images: str, image: str) -> None:
    labels = inspected(f"{image}:{stack_images}")["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.revision"]
    assert f"test-{labels['bakeoff.sources']}" == stack_images


# The API's image trains and publishes too, and reads tables with pyarrow: 130 MB of it.
@pytest.mark.parametrize(("image", "most_mb"), [(API, 600), (UI, 700)])
def test_an_image_is_not_larger_than_it_has_to_be(stack_images: str, image: str, most_mb: int) -> None:
    above_base = inspected(f"{image}:{stack_images}")["Size"] - inspected(BASE)["Size"]
    assert above_base <= most_mb * 10**6


@BOTH
def test_nothing_but_the_service_is_in_an_image(inside: dict[str, dict], image: str) -> None:
    only = {API: ["app", "docker", "training.toml"], UI: [".streamlit", "app", "docker"]}[image]
    assert inside[image]["sources"] == only


@BOTH
def test_no_secret_is_in_the_history_or_the_environment_of_an_image(stack_images: str, image: str) -> None:
    history = output("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", f"{image}:{stack_images}")
    text = f"{history} {inspected(f'{image}:{stack_images}')['Config']['Env']}".lower()
    assert not [word for word in ("token", "password", "secret", "index_url", "@") if word in text]


def test_a_secret_beside_the_sources_does_not_reach_the_builder() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not [pattern for pattern in let_in if pattern in (".env", "data", "models", "docker", ".", "*")]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_building_again_without_a_change_does_nothing(stack_images: str) -> None:
    said = output("docker/build.sh", "--tag", stack_images, "--if-changed")
    assert said.splitlines() == [f"{image}:{stack_images} is up to date." for image in (API, UI)]


@pytest.mark.parametrize("arguments", [["--tag"], ["--tag", "not a tag"], ["--boosting", "h2o"], ["--nonsense"]])
def test_the_builder_refuses_wrong_arguments(arguments: list[str]) -> None:
    result = subprocess.run([ROOT / "docker/build.sh", *arguments], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "Usage:" in result.stderr
