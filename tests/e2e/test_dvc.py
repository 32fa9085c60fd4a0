"""DVC runs integrations/dvc as docs/integrations.md says: in a fresh clone, without network, only what has changed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.api_process import ROOT
from tests.e2e.demo_copy import clone

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def dvc_bin():
    """The folder of DVC's commands, installed if it is not yet."""
    done = subprocess.run([ROOT / ".ci/tools", "dvc"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT CHECKED: DVC cannot be installed: {done.stderr[-300:]}")
    return done.stdout.strip()


@pytest.fixture
def dvc(dvc_bin, tmp_path):
    """Runs DVC in the pipeline's folder of a fresh clone."""
    folder = clone(tmp_path / "clone")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{dvc_bin}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
        # Nobody answers there.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    }

    def run(*arguments, status=0):
        command = ["dvc", *arguments]
        cwd = folder / "integrations/dvc"
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = folder
    return run


def test_the_pipeline_publishes_once_and_runs_again_only_what_has_changed(dvc):
    said = dvc("repro")
    assert re.findall(r"Running stage '(\w+)'", said) == ["ingest", "train", "evaluate", "publish"]
    pipeline = dvc.folder / "integrations/dvc"
    assert json.loads((pipeline / "published.json").read_text())["versions"][0]["version"] == "v1"
    assert sorted(path.name for path in (dvc.folder / "models").glob("v*")) == ["v1"]

    assert "Running stage" not in dvc("repro")
    shown = json.loads(dvc("metrics", "show", "--json"))
    assert shown[""]["data"]["metrics.json"]["data"]["holdout"]["accuracy"] >= 0.9

    # Another gate trains nothing, and the registry has the model already.
    params = pipeline / "params.yaml"
    params.write_text(params.read_text().replace("min-accuracy: 0.9", "min-accuracy: 0.8"))
    assert re.findall(r"Running stage '(\w+)'", dvc("repro")) == ["evaluate", "publish"]
    assert json.loads((pipeline / "published.json").read_text()) == {"versions": [], "unchanged": "v1"}
    changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=dvc.folder, text=True)
    assert changed.split() == ["M", "integrations/dvc/params.yaml", "??", "integrations/dvc/dvc.lock"]
