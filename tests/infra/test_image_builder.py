"""What docker/build.sh asks Docker for, seen by a stand-in for Docker."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

# `docker image inspect` of the base image says how many digests it has.
FAKE = """#!/bin/sh
[ "$1" != build ] || printf "%s\\n" "$*" >>"$CALLS"
[ "$1" != image ] || case "$*" in *RepoDigests*) echo "${DIGESTS:-}" ;; *) exit 1 ;; esac
"""
TAG = "python:3.11-slim-bookworm"


@pytest.fixture
def built(tmp_path: Path):
    """Run the builder, and give the two `docker build` command lines."""
    (tmp_path / "docker").write_text(FAKE)
    (tmp_path / "docker").chmod(0o755)

    def build(*arguments: str, **settings: str) -> list[str]:
        given = {name: value for name, value in os.environ.items() if name not in ("BOOSTING", "PYTHON_IMAGE")}
        given |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
        command = [str(ROOT / "docker/build.sh"), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**given, **settings})
        assert result.returncode == 0, result.stderr
        return (tmp_path / "calls").read_text().splitlines()

    return build


@pytest.mark.parametrize(
    ("arguments", "settings", "packages"),
    [
        (("--boosting", "lightgbm xgboost-cpu"), {}, "lightgbm xgboost-cpu"),
        (("--boosting", "all"), {}, "lightgbm xgboost-cpu catboost onnxmltools"),
        ((), {"BOOSTING": "catboost"}, "catboost"),
    ],
)
def test_boosting_packages_go_into_the_image_of_the_api_alone(built, arguments, settings, packages) -> None:
    api, ui = built(*arguments, **settings)
    assert f"--build-arg BOOSTING={packages} " in api
    assert f" with {packages} " in api  # the label, by which --if-changed knows the image
    assert "BOOSTING" not in ui


def test_without_the_option_no_boosting_package_is_asked_for(built) -> None:
    assert not [command for command in built() if "BOOSTING" in command]


def test_the_build_file_takes_the_argument_that_the_builder_gives() -> None:
    text = (ROOT / "docker/Dockerfile.api").read_text()
    assert "ARG BOOSTING=\n" in text
    assert "python3 /build/locked.py /build/requirements-boosting.lock $BOOSTING" in text
    served = text.split("\nFROM ")[-1]
    assert "ARG BOOSTING=\n" in served
    assert "libgomp1" in served  # without it LightGBM cannot be imported


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, ""),  # not here: the engine pulls it by its digest
        ({"DIGESTS": "1"}, ""),
        ({"DIGESTS": "0"}, f"--build-arg PYTHON_IMAGE={TAG} "),
        ({"DIGESTS": "1", "PYTHON_IMAGE": "mirror.example/python:3.11"}, "--build-arg PYTHON_IMAGE=mirror.example/"),
    ],
)
def test_the_digest_of_the_base_image_is_left_out_only_where_the_image_has_none(built, settings, base) -> None:
    for command in built(**settings):
        assert base in command
        assert ("PYTHON_IMAGE" in command) is bool(base)


@pytest.mark.parametrize(("digests", "hint"), [("", True), ("0", False)])
def test_a_base_image_that_cannot_be_pulled_is_told_of_with_the_way_out(tmp_path: Path, digests, hint) -> None:
    (tmp_path / "docker").write_text(FAKE.replace('[ "$1" != build ] ||', '[ "$1" != build ] || exit 1;'))
    (tmp_path / "docker").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DIGESTS": digests,
        "PYTHON_IMAGE": "",
        "BAKEOFF_TAG": "local",
    }
    command = [str(ROOT / "docker/build.sh")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert result.returncode == 1
    assert "bakeoff-api:local could not be built; see above." in result.stderr
    assert ("with PYTHON_IMAGE=NAME" in result.stderr) is hint


@pytest.mark.parametrize("file", ["Dockerfile.api", "Dockerfile.streamlit"])
def test_the_base_image_is_named_once_with_its_digest(file: str) -> None:
    text = (ROOT / "docker" / file).read_text()
    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", text, re.M) == re.findall(rf"{TAG}@sha256:[0-9a-f]{{64}}", text)
    assert {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")} == {"${PYTHON_IMAGE}"}
