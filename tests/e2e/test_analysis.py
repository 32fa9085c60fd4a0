"""The code in docs/analysis.md, on the log of a real server, gives what the API says."""

import os
import subprocess
import sys

import pytest

from tests.e2e.api_process import ROOT
from tests.e2e.documents import blocks
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
CODE = [text for _, kind, text in blocks(ROOT / "docs" / "analysis.md") if kind == "python"]
REQUESTS = 300


@pytest.fixture
def measured(start, watch, installation, monkeypatch):
    """What the API says, and the variables of the document's code."""
    api = start(EXPERIMENT_UNIT="request")
    watch()
    env = {**os.environ, "API_URL": api.url, "MODEL_DIR": f"{installation}/models", "DATA_DIR": f"{installation}/data"}

    def bakeoff(*words):
        command = [sys.executable, "-m", "app", *words]
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)

    bakeoff("simulate", "--requests", str(REQUESTS), "--label-rate", "1", "--seed", "1")
    eventually(lambda: api.get("/drift").json()["requests"] >= REQUESTS, 60)
    eventually(lambda: sum(each["labelled"] for each in api.get("/experiment").json()["variants"]) == REQUESTS, 60)
    bakeoff("export", "--out", f"{installation}/log.parquet")
    monkeypatch.chdir(installation)
    drift = api.get("/drift").json()
    names = {"window": drift["window"], "feature": drift["features"][0]}
    for code in CODE:
        exec(compile(code, "docs/analysis.md", "exec"), names)
    return api.get("/experiment").json(), names


def test_the_code_of_the_document_gives_what_the_api_says(measured):
    report, names = measured
    means = {each["version"]: each["mean_all"] for each in report["variants"]}
    assert names["accuracy"] == pytest.approx(means, abs=1e-12)
    assert names["accuracy_by_sql"] == pytest.approx((means["v1"], means["v2"]), abs=1e-12)
    assert names["difference"] == pytest.approx(report["comparisons"][0]["improvement"], abs=1e-12)
    # The API rounds these shares to six decimals.
    assert names["live"] == pytest.approx(names["feature"]["live"], abs=5e-7)
