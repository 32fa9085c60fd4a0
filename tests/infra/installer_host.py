"""A host as the installer sees it: a PATH of its own with stand-ins on it, and a record of what was called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.infra.repository import ROOT

TOOLS = ("bash", "cat", "cp", "dirname", "df", "awk", "grep", "tail", "mkdir", "tr", "id", "sha256sum", "flock", "env")
WORKING_PYTHON = """case "$*" in
  *"-m venv"*)
    folder="${@: -1}"
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    echo "VIRTUAL_ENV=$folder" >"$folder/bin/activate"
    ;;
  *"--editable"*) cp "$0" "${0%/*}/bakeoff" ;;
  *"pip install"*) exit "${PIP_STATUS:-0}" ;;
  *version*) echo "3.12.0" ;;
esac"""


class Host:
    """A host with a PATH of its own, a clone of the installer, and a record of what was called."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        for directory in (self.clone, self.bin):
            directory.mkdir()
        for file in ("install.sh", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / file, self.clone)
        shutil.copytree(ROOT / "scripts", self.clone / "scripts")
        self.links(*TOOLS)
        self.calls.touch()

    def links(self, *tools: str) -> None:
        """Put this machine's own tools on the PATH."""
        for tool in tools:
            (self.bin / tool).symlink_to(shutil.which(tool) or "missing")

    def has(self, command: str, body: str = "") -> None:
        """Put a stand-in on the PATH; it notes its call and then runs `body`."""
        path = self.bin / command
        path.write_text(f'#!/usr/bin/env bash\necho "{command} $*" >>"$CALLS"\n{body}\n')
        path.chmod(0o755)

    def install(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the installer on this host, with nobody at the terminal."""
        return subprocess.run(
            ["bash", "./install.sh", *options],
            cwd=self.clone,
            env={"PATH": str(self.bin), "CALLS": str(self.calls), "HOME": str(self.clone.parent), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def release(self, text: str) -> str:
        """The path of an os-release file with this text."""
        path = self.clone.parent / "os-release"
        path.write_text(f"{text}\n")
        return str(path)

    def called(self, word: str) -> list[str]:
        """The calls of stand-ins in which the word occurs, in order."""
        return [line for line in self.calls.read_text().splitlines() if word in line]
