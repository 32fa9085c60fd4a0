"""How scripts read a .env file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT


def loaded(tmp_path: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Loads `text` as a .env file and prints the variable VALUE between brackets."""
    (tmp_path / "env").write_bytes(text.encode())
    script = 'set -euo pipefail; source docker/lib.sh; source "$1"; load_env_file "$2"; echo "[${VALUE-}]"'
    command = ["bash", "-c", script, "bash", str(ROOT / "scripts/env_file.sh"), str(tmp_path / "env")]
    env = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("VALUE=plain", "plain"),
        ("export VALUE=exported", "exported"),
        ("  VALUE=indented  ", "indented"),
        ("VALUE=a comment # follows", "a comment"),
        ("VALUE=no#comment", "no#comment"),
        ('VALUE="quoted # text" # and a comment', "quoted # text"),
        ("VALUE='single $HOME'", "single $HOME"),
        ("VALUE=windows\r", "windows"),
        ("VALUE=$(echo run) `echo run` $HOME", "$(echo run) `echo run` $HOME"),
        ("VALUE=a=b", "a=b"),
        ("VALUE=", ""),
        ("# VALUE=comment\n\nVALUE=after", "after"),
    ],
)
def test_a_line_gives_its_value_literally(tmp_path: Path, line: str, value: str) -> None:
    assert loaded(tmp_path, line).stdout == f"[{value}]\n"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, "VALUE=file", VALUE="environment").stdout == "[environment]\n"


def test_a_line_that_is_no_setting_is_named(tmp_path: Path) -> None:
    result = loaded(tmp_path, "VALUE=1\nrm -rf something\n")
    assert result.returncode == 1
    assert "line 2: expected NAME=value" in result.stderr
