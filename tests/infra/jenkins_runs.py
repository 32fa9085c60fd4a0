"""Small Jenkinsfiles, carried out by the project's runner."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.infra.repository import ROOT

WITHOUT_GROOVY = "groovy was not found: .ci/tools groovy installs it" if not shutil.which("groovy") else ""


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit status, everything it wrote, and where its artefacts are."""

    status: int
    output: str
    archive: Path

    def said(self, text: str) -> bool:
        return text in self.output


def pipeline(stages: str, before: str = "", after: str = "") -> str:
    """A Jenkinsfile with these stages, and sections before and after them."""
    return (
        f"pipeline {{\nagent any\noptions {{ skipDefaultCheckout() }}\n{before}\nstages {{\n{stages}\n}}\n{after}\n}}\n"
    )


def stage(steps: str, name: str = "One", more: str = "") -> str:
    return f"stage('{name}') {{\n{more}\nsteps {{\n{steps}\n}}\n}}\n"


def carried_out(folder: Path, jenkinsfile: str, *options: str, credentials: dict | None = None) -> Ended:
    """Run the Jenkinsfile in a workspace inside of the folder."""
    file = folder / "Jenkinsfile"
    file.write_text(jenkinsfile)
    known = folder / "credentials.json"
    known.write_text(json.dumps(credentials or {}))
    archive = folder / "archive"
    command = [
        *(str(ROOT / ".ci/jenkins/run"), "--file", str(file), "--credentials", str(known)),
        *("--workspace", str(folder / "workspace"), "--archive", str(archive), *options),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return Ended(result.returncode, result.stdout + result.stderr, archive)
