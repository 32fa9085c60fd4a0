"""Which images a deployment removes in the end: a `docker` that keeps its images in a file stands for the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

# Images are lines "NAME ID" of have; what containers run, lines "ID NAME" of used.
DOCKER = """#!/usr/bin/env bash
last="${!#}"
case "$1 $2" in
  "ps -aq") [ ! -s used ] || echo container ;;
  "inspect -f") cut -d' ' -f2 used ;;
  "image inspect")
    grep -qE "(^| )$last( |\\$)" have || exit 1
    case "$*" in
      *RepoTags*) sed -n "s/ $last\\$//p" have | grep -v '^<none>' | tr '\\n' ' ' ;;
      *) grep -E "(^| )$last( |\\$)" have | head -n 1 | cut -d' ' -f2 ;;
    esac ;;
  "rmi "*)
    id="$(grep -E "(^| )$last( |\\$)" have | head -n 1 | cut -d' ' -f2)"
    if grep -q "^$id " used && [ "$(grep -c " $id\\$" have)" = 1 ]; then exit 1; fi
    sed -i -E "/(^| )$last( |\\$)/d" have ;;
esac
"""


class Host:
    """A folder as /opt/bakeoff, and the images that are there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "docker", folder / "docker")
        (folder / "bin").mkdir()
        (folder / "bin" / "docker").write_text(DOCKER)
        (folder / "bin" / "docker").chmod(0o755)
        self.set("used")
        self.set("have")

    def set(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().split("\n")[:-1]

    def bash(self, words: str) -> str:
        """What the functions of docker/ say."""
        sources = "".join(f"source docker/{name}.sh; " for name in ("lib", "release", "roll", "images"))
        env = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        command = ["bash", "-euo", "pipefail", "-c", sources + words]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


def release(tag: str) -> list[str]:
    return [f"bakeoff-{part}:{tag} sha256:{part}{tag}" for part in ("api", "ui")]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Releases 1, 2 and 3 were deployed; 3 runs."""
    host = Host(tmp_path)
    host.set("have", *release("1"), *release("2"), *release("3"))
    host.bash("for tag in 1 2 3 2; do remember_images $tag; done")
    host.set("used", "sha256:api3 bakeoff-api:3", "sha256:ui3 bakeoff-ui:3")
    return host


def test_the_release_that_serves_and_the_one_before_stay(host: Host) -> None:
    said = host.bash("remove_older_images 3 2")
    assert host.lines("have") == [*release("2"), *release("3")]
    assert said == "Removed the images of earlier releases: bakeoff-api:1 bakeoff-ui:1.\n"


def test_what_was_removed_is_not_spoken_of_again(host: Host) -> None:
    host.bash("remove_older_images 3 2")
    assert host.bash("remove_older_images 3 2") == ""
    assert host.lines(".images") == sorted([*release("2"), *release("3")])


@pytest.mark.parametrize("foreign", ["postgres:16 sha256:pg", "bakeoff-api:local sha256:apilocal"])
def test_what_no_deployment_put_here_stays(host: Host, foreign: str) -> None:
    host.set("have", *release("1"), foreign, *release("2"), *release("3"))
    host.bash("remove_older_images 3 2")
    assert foreign in host.lines("have")


@pytest.mark.parametrize("user", ["sha256:api1 sha256:api1", "sha256:other bakeoff-api:1", "sha256:api1 bakeoff-api:1"])
def test_what_a_container_uses_stays_until_it_is_gone(host: Host, user: str) -> None:
    host.set("used", user)
    host.bash("remove_older_images 3 2")
    assert release("1")[0] in host.lines("have")
    host.set("used")
    assert "bakeoff-api:1" in host.bash("remove_older_images 3 2")


def test_an_image_whose_name_stands_for_a_newer_one_goes_by_its_id(host: Host) -> None:
    host.set("have", "bakeoff-api:1 sha256:newer", "<none>:<none> sha256:api1", *release("2"), *release("3"))
    host.bash("remove_older_images 3 2")
    assert host.lines("have") == ["bakeoff-api:1 sha256:newer", *release("2"), *release("3")]


def test_another_name_keeps_an_image(host: Host) -> None:
    host.set("have", "bakeoff-api:1 sha256:newer", "mine:1 sha256:api1", *release("2"), *release("3"))
    host.bash("remove_older_images 3 2")
    assert "mine:1 sha256:api1" in host.lines("have")


def test_an_image_that_two_releases_share_loses_the_older_name_only(host: Host) -> None:
    host.set("have", "bakeoff-ui:1 sha256:ui1", "bakeoff-ui:3 sha256:ui1", *release("2"))
    host.set("used", "sha256:ui1 bakeoff-ui:3")
    host.bash("remove_older_images 3 2")
    assert host.lines("have") == ["bakeoff-ui:3 sha256:ui1", *release("2")]
