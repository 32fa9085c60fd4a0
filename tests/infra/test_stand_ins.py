"""`.ci/images tools`: Debian 13's programs for a machine with Debian 12, and for one with Ubuntu."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

DEBIAN, UBUNTU = "NAME=Debian\nID=debian\n", "NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n"
DEB822 = "Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm\n"
ONE_LINE = "deb [arch=amd64 signed-by=/k.gpg] http://old.example/debian bookworm main\n"


@pytest.mark.parametrize(
    ("system", "sources", "named", "archive"),
    [
        (DEBIAN, {"sources.list.d/debian.sources": DEB822}, "", "https://mirror.example/debian"),
        (DEBIAN, {"sources.list": ONE_LINE}, "", "http://old.example/debian"),
        (DEBIAN, {}, "", None),
        (UBUNTU, {"sources.list": "deb http://mirror.example/ubuntu noble main\n"}, "", None),
        (UBUNTU, {}, "http://named.example/debian", "http://named.example/debian"),
    ],
    ids=["deb822", "one line", "no sources", "ubuntu", "named"],
)
def test_debian_13_comes_from_an_archive_of_debian(
    tmp_path: Path, system: str, sources: dict[str, str], named: str, archive: str | None
) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(system)
    for name, text in sources.items():
        (tmp_path / "apt" / name).write_text(text)
    script = (ROOT / ".ci/images").read_text()
    for name, place in {"OS_RELEASE": "os-release", "APT": "apt", "KEYRING": "keyring.gpg"}.items():
        script, count = re.subn(rf"^{name}=.*$", f"{name}={tmp_path / place}", script, count=1, flags=re.M)
        assert count == 1
    (tmp_path / "images").write_text(script)
    for name, body in {
        "apt-get": 'echo "$*" >>"$CALLS"; case "$*" in *download*) touch x.deb ;; esac',
        "docker": "",
        "dpkg-deb": "",
        "sudo": 'shift; "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CI_CACHE": str(tmp_path / "cache"),
        "CALLS": str(tmp_path / "calls"),
        "DEBIAN_ARCHIVE": named,
    }
    done = subprocess.run(
        ["bash", str(tmp_path / "images"), "tools"],
        env=env | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if archive is None:
        assert done.returncode == 1
        assert "name one in DEBIAN_ARCHIVE" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "cache/trixie/sources.list").read_text()
    assert listed == f"deb [signed-by={tmp_path}/keyring.gpg] {archive} trixie main\n"
    assert "install -y -qq --no-install-recommends debian-archive-keyring" in (tmp_path / "calls").read_text()
