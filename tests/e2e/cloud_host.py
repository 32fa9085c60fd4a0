"""A container that stands for a cloud host (.ci/host), and the installer on it."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOST = ROOT / ".ci" / "host"
FOLDER = "/srv/bakeoff"
# An image out of the host's own shell: the smallest that an engine can run.
TINY = "tar -ch /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') 2>/dev/null | docker import - tiny >/dev/null"


class CloudHost:
    """A started host; `kind` is plain, docker or dnf. The clone on it has one small package to install."""

    def __init__(self, kind: str) -> None:
        self.name = f"bakeoff-installer-{uuid.uuid4().hex[:8]}"
        self._host("start", self.name, kind)
        self.run(f"mkdir -p {FOLDER} && tar -C {FOLDER} -x --no-same-owner", stdin=_clone())

    def run(self, command: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
        """What a shell of root on the host answers, reached through sshd."""
        variables = "".join(f"export {name}={shlex.quote(value)}; " for name, value in environment.items())
        result = subprocess.run(
            [str(HOST), "ssh", self.name, variables + command], input=stdin, capture_output=True, timeout=400
        )
        return subprocess.CompletedProcess(command, result.returncode, result.stdout.decode(), result.stderr.decode())

    def install(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the installer with the umask that user data have."""
        return self.run(f"umask 077; cd {FOLDER} && ./install.sh {' '.join(options)}", **environment)

    def works(self, command: str) -> bool:
        """Whether a command ends well on the host."""
        return self.run(command).returncode == 0

    def runs_containers(self) -> bool:
        """Whether the engine starts a container and gives its output back."""
        return self.run(f"{TINY} && docker run --rm tiny sh -c 'echo it runs'").stdout == "it runs\n"

    def reboot(self) -> None:
        """Shut the host down and start it again."""
        self._host("reboot", self.name)

    def stop(self) -> None:
        """Remove the host."""
        self._host("stop", self.name)

    def _host(self, *arguments: str) -> None:
        result = subprocess.run([str(HOST), *arguments], capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr


def _clone() -> bytes:
    """The installer and the package that it installs. Of the requirements only what building the package takes, and one
    more: to install all of them would take minutes on each host."""
    command = [sys.executable, "docker/locked.py", "requirements.lock", "packaging", "setuptools"]
    pins = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("install.sh", "scripts", "pyproject.toml", "app"):
            archive.add(ROOT / name, name, filter=lambda each: None if "__pycache__" in each.name else each)
        entry = tarfile.TarInfo("requirements.lock")
        entry.size = len(pins)
        archive.addfile(entry, io.BytesIO(pins))
    return buffer.getvalue()
