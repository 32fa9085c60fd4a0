"""What the nightly job asks of the api: the new version's share, and an experiment with the job's terms."""

from __future__ import annotations

import io
import json
import runpy
import sys
from pathlib import Path

import pytest

STEER = Path(__file__).resolve().parents[2] / "docker" / "steer.py"
CONFIG = {
    "experiment_id": "e2",
    "epoch": 2,
    "baseline": "v1",
    "weights": {"v1": 1.0},
    "alpha": 0.05,
    "equivalence_margin": None,
}


@pytest.fixture
def steer(monkeypatch):
    """Runs the script against an api with this configuration; returns the bodies of its patches, and notes tokens."""

    def run(config, *arguments):
        patches = []

        def urlopen(request, timeout):
            run.tokens.append(request.get_header("Authorization"))
            if request.get_method() == "PATCH":
                patches.append(json.loads(request.data))
            return io.BytesIO(json.dumps(config).encode())

        monkeypatch.setenv("ADMIN_TOKEN", "t")
        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        monkeypatch.setattr(sys, "argv", ["steer.py", *arguments])
        runpy.run_path(str(STEER), run_name="__main__")
        return patches

    run.tokens = []
    return run


def test_new_terms_begin_another_experiment_with_the_share(steer):
    assert steer(CONFIG, "begin", "0.2", "v3", "v4", "alpha=0.01", "equivalence_margin=0.02") == [
        {
            "alpha": 0.01,
            "equivalence_margin": 0.02,
            "new_experiment": True,
            "weights": {"v1": 0.8, "v3": 0.1, "v4": 0.1},
            "note": "retrained: v3, v4",
        }
    ]


def test_terms_in_force_already_begin_no_other_experiment(steer):
    (patch,) = steer({**CONFIG, "alpha": 0.01}, "begin", "0.1", "v3", "alpha=0.01")
    assert patch == {"weights": {"v1": 0.9, "v3": 0.1}, "note": "retrained: v3"}


def report(action="continue", comparisons=({"challenger": "v2"},)):
    return {"comparisons": list(comparisons), "recommendation": {"action": action, "reason": "it goes on"}}


@pytest.mark.parametrize(
    ("now", "weights", "ended_by", "ended"),
    [
        (report(), {"v1": 0.5, "v2": 0.5}, "shelf", False),
        (report(), {"v1": 1.0, "v2": 0.0}, "shelf", False),
        (report(), {"v1": 1.0, "v2": 0.0}, "promote", True),
        (report(), {"v1": 1.0, "v2": 0.0}, "keep", True),
        (report(), {"v1": 1.0, "v2": 0.0}, "configure", False),
        (report(), {"v1": 0.9, "v2": 0.1}, "promote", False),
        (report("promote"), {"v1": 0.5, "v2": 0.5}, "shelf", False),
        (report("investigate"), {"v1": 0.5, "v2": 0.5}, "shelf", False),
        (report("keep"), {"v1": 0.5, "v2": 0.5}, "shelf", True),
        (report(comparisons=()), {"v1": 1.0}, "shelf", True),
    ],
)
def test_when_the_running_experiment_has_ended(now, weights, ended_by, ended, monkeypatch, capsys):
    answers = {
        "/config": {**CONFIG, "weights": weights},
        "/experiment": now,
        "/experiments?limit=2": {"experiments": [{"id": "e2", "ended_by": None}, {"id": "e1", "ended_by": ended_by}]},
    }

    def urlopen(request, timeout):
        return io.BytesIO(json.dumps(answers[request.full_url.partition(":5000")[2]]).encode())

    monkeypatch.setenv("ADMIN_TOKEN", "t")
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(sys, "argv", ["steer.py", "running"])
    runpy.run_path(str(STEER), run_name="__main__")
    said = capsys.readouterr().out.strip()
    assert (said == "") is ended
    assert ended or said.startswith("experiment e2 is running (")


def test_the_token_may_be_in_a_file(steer, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("from the file\n")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    steer(CONFIG, "split", "v1=50", "v2=50")
    assert steer.tokens == ["Bearer from the file"]


def test_a_file_of_the_token_that_is_not_there_is_named(steer, monkeypatch):
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "/run/secrets/none")
    with pytest.raises(SystemExit, match="ADMIN_TOKEN_FILE: /run/secrets/none cannot be read"):
        steer(CONFIG, "split", "v1=50", "v2=50")


@pytest.mark.parametrize(("alpha", "patches"), [(0.01, 0), (0.05, 1)])
def test_in_shadow_only_new_terms_are_sent(steer, alpha, patches):
    sent = steer({**CONFIG, "alpha": alpha}, "begin", "0", "v3", "alpha=0.01")
    assert len(sent) == patches
    assert all("weights" not in patch for patch in sent)
