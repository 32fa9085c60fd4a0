"""A disk that is full: nothing is acknowledged that is not on it, predictions go on, and all resumes by itself."""

import shutil
import subprocess

import pytest

from tests.e2e.api_process import ROW
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def small_disk(installation):
    """The installation's data/ on a disk of 8 MiB."""
    data = installation / "data"
    kept = installation / "kept"
    data.rename(kept)
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(data)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    shutil.copytree(kept, data, dirs_exist_ok=True)
    yield data
    subprocess.run(["umount", "-l", str(data)], check=True)


def fill(data):
    """Leave no byte free."""
    with (data / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def test_feedback_is_503_and_predictions_go_on_until_there_is_room(start, small_disk):
    api = start()
    sent = [api.post("/predict", ROW).json()["prediction_id"] for _ in range(20)]
    assert api.post("/feedback", {"prediction_id": sent[0], "actual": 0}).ok
    fill(small_disk)
    answers = [api.post("/predict", ROW) for _ in range(30)]
    refused = []
    for number in range(1, 20):  # until the last free page of the log is used up
        fill(small_disk)
        answer = api.post("/feedback", {"prediction_id": sent[number], "actual": 0})
        if answer.status_code == 503:
            refused.append((number, answer))
    assert refused
    assert all(int(answer.headers["Retry-After"]) >= 1 for _, answer in refused)
    assert all(answer.ok for answer in answers)
    # The probe's own small write may still find room: what the refused commits said counts.
    eventually(lambda: _says_so(api, small_disk), timeout_s=20)
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health/ready?of=predictions").status_code == 200
    assert api.metric("store_writable") == 0
    (small_disk / "ballast").unlink()
    for number in range(20):
        feedback = {"prediction_id": sent[number], "actual": 0}
        eventually(lambda feedback=feedback: api.post("/feedback", feedback).ok, timeout_s=10)
    said = {entry["prediction_id"] for entry in _history(api) if "actual" in entry}
    assert said >= set(sent)
    assert api.metric("store_write_failures_total") > 0
    eventually(lambda: api.get("/health").json()["store"] == "ok", timeout_s=20)


def _says_so(api, disk):
    """Whether `/health` says that the store cannot be written, while clients go on."""
    fill(disk)
    api.post("/predict", ROW)
    return "full" in api.get("/health").json()["store"]


def _history(api):
    return api.get("/predictions/history", params={"limit": 1000}).json()["predictions"]
