"""The running api does what its own OpenAPI document says, by Schemathesis with all of its checks."""

import shutil
import subprocess

import pytest

from tests.e2e.api_process import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")]
# A longer search, with chance in it, is for people: what it finds is an issue, not a red run of something else.
ALWAYS_THE_SAME = ["--generation-deterministic", "--max-examples", "20"]


def test_every_call_keeps_to_the_document(start, watch):
    api = start(ADMIN_TOKEN="conformance")
    watch()
    command = [str(ROOT / ".ci" / "schemathesis" / "run"), api.url, "conformance", *ALWAYS_THE_SAME]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert checked.returncode == 0, checked.stdout[-6000:] + checked.stderr[-2000:]
    assert "Traceback" not in api.log_text()
