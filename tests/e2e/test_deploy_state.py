"""backup, restore and smoke against a real api."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.e2e.api_process import ROOT, ROW
from tests.unit.store.stored_rows import log_at

pytestmark = pytest.mark.e2e


def command(folder, *words):
    env = {**os.environ, "MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}
    return subprocess.run([sys.executable, "-m", "app", *words], cwd=ROOT, env=env, capture_output=True, text=True)


def test_ids_given_out_before_are_still_believed_by_what_was_put_back(start, installation, tmp_path):
    api = start()
    ids = [api.post("/predict", ROW).json()["prediction_id"] for _ in range(50)]
    api.get("/predictions/history")  # all of them are in the log
    backup = tmp_path / "b.tar.gz"
    assert command(installation, "backup", "--to", str(backup)).returncode == 0
    api.stop()
    restored = command(tmp_path / "elsewhere", "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    again = start(tmp_path / "elsewhere")
    feedback = again.post("/feedback", {"feedback": [{"prediction_id": each, "actual": "setosa"} for each in ids]})
    assert feedback.json() == {"accepted": 50, "duplicates": 0}
    assert len(again.get("/predictions/history", params={"limit": 100}).json()["predictions"]) == 50


def test_a_lost_key_stops_every_start_until_it_is_back(start, installation):
    start().stop()
    keys = installation / "data" / "keys"
    keys.rename(installation / "keys")
    api = start(ready=False)
    assert api.process.wait(40) != 0
    assert "is not that of the store at" in api.log_text()
    assert "Traceback" not in api.log_text()
    monitor = command(installation, "monitor")
    assert (monitor.returncode, "bakeoff accept-key" in monitor.stderr) == (1, True)
    shutil.rmtree(keys)
    (installation / "keys").rename(keys)
    start()


def test_a_restore_is_refused_while_the_api_runs(start, installation, tmp_path):
    start().post("/predict", ROW)
    backup = tmp_path / "b.tar.gz"
    assert command(installation, "backup", "--to", str(backup)).returncode == 0
    refused = command(installation, "restore", str(backup), "--force")
    assert refused.returncode == 1
    assert "an API runs" in refused.stderr


def test_a_backup_can_go_through_a_pipe(installation, tmp_path):
    words = [sys.executable, "-m", "app", "backup", "--to", "-"]
    env = {**os.environ, "MODEL_DIR": str(installation / "models"), "DATA_DIR": str(installation / "data")}
    packed = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=True).stdout
    env = {**env, "MODEL_DIR": str(tmp_path / "m"), "DATA_DIR": str(tmp_path / "d")}
    subprocess.run([*words[:3], "restore", "-"], cwd=ROOT, env=env, input=packed, check=True, capture_output=True)
    assert (tmp_path / "m" / "v1" / "manifest.json").exists()


def test_the_smoke_test_passes_on_a_good_api_and_leaves_the_experiment_alone(start, installation):
    api = start()
    smoke = command(installation, "smoke", api.url)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    api.get("/predictions/history")
    logged = log_at(f"sqlite:///{installation / 'data' / 'bakeoff.sqlite'}")
    assert logged
    assert not any(row.counts for row in logged)


@pytest.mark.parametrize("fault", ["v1 is another model", "v2 is not there"])
def test_the_smoke_test_finds_what_the_shelf_did_not_promise(start, installation, tmp_path, fault):
    other = tmp_path / "other"
    shutil.copytree(installation, other)
    if fault == "v2 is not there":
        shutil.rmtree(other / "models" / "v2")
    else:
        for name in ("v1", "v2"):
            shutil.rmtree(other / "models" / name)
        for variant in ("conservative", "shallow_wide"):
            assert (
                command(
                    other, "train", "--dataset", "iris", "--variant", variant, "--min-accuracy", "0", "--seed", "9"
                ).returncode
                == 0
            )
    smoke = command(installation, "smoke", start(other).url)
    assert smoke.returncode == 1
    assert "FAIL  v" in smoke.stdout
