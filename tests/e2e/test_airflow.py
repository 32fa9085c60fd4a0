"""The DAG of integrations/airflow, run by Airflow against a running service: promotion, roll-back, and its faults."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from sklearn.datasets import load_iris

from tests.e2e.api_process import ROOT, free_port
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
TOKEN = "the-token-of-this-test"
IRIS = load_iris()
# One process for all runs, as Airflow takes seconds to be imported: a line of standard input is a run.
DRIVER = """
import json, os, sys
from airflow.utils.db import initdb
initdb()
sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
from bakeoff_retraining import retraining
defaults = retraining.params.dump()  # a run changes them
for line in sys.stdin:
    given = json.loads(line)
    os.environ.update(given["environment"])
    run = retraining.test(run_conf=defaults | given["conf"])
    states = {each.task_id: str(each.state) for each in run.get_task_instances()}
    print("RUN", json.dumps({"state": str(run.state), "tasks": states}), file=sys.__stdout__, flush=True)
"""
# In place of bakeoff, where a run does not get to what it would do; `known`: the candidate was published before.
STUB = """
import json, sys
if "--dry-run" in sys.argv and "1" in sys.argv:
    sys.exit("error: trained (deep_forest): hold-out accuracy 0.93 is below 1: nothing was published")
candidate = {"version": "v2", "candidate": {"by": "ann"}, "retired": None}
said = {"data_report": {}, "comparison": {}, "versions": [candidate]}
if sys.argv[1:3] == ["known", "publish"]:
    said = {"versions": [], "unchanged": "v2"}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def told():
    """The address of a webhook, and what was posted to it."""
    texts = []

    class Webhook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", texts
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def airflow(told, tmp_path_factory):
    """Runs the DAG: `begin(environment, conf)`, then `end()` gives the states, the notification and the log."""
    done = subprocess.run([ROOT / ".ci/tools", "airflow", "--installed"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT CHECKED: {done.stderr.strip()}")
    home, (hook, texts) = tmp_path_factory.mktemp("airflow"), told
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "integrations/airflow"),
        "AIRFLOW_CONN_BAKEOFF_NOTIFY": json.dumps({"conn_type": "http", "host": hook}),
        "BAKEOFF_POKE_SECONDS": "1",
        "BAKEOFF_RETRY_SECONDS": "0",
    }
    output = home / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [f"{done.stdout.strip()}/python", "-c", DRIVER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
        )

    class Runs:
        count = 0

        def begin(self, environment, **conf):
            self.said = len(output.read_text())
            process.stdin.write(json.dumps({"environment": environment, "conf": conf}) + "\n")
            process.stdin.flush()

        def end(self):
            def ended():
                assert process.poll() is None, output.read_text()[-5000:]
                return [line for line in self.log().splitlines() if line.startswith("RUN ")]

            [line] = eventually(ended, 300, self.log)
            return json.loads(line[4:]), texts[-1]

        def log(self):
            return output.read_text()[self.said :]

    yield Runs()
    process.stdin.close()
    process.wait(60)


def connected(port, token=TOKEN, command=None):
    """The environment of a run against the api at this port."""
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": port, "password": token}
    return {
        "AIRFLOW_CONN_BAKEOFF_API": json.dumps(connection),
        "AIRFLOW_VAR_BAKEOFF_COMMAND": command or f"{sys.executable} -m app",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def stub(tmp_path):
    """A command in place of bakeoff that says that all went well, but for a gate of 1."""
    (tmp_path / "stub.py").write_text(STUB)
    return f"{sys.executable} {tmp_path / 'stub.py'}"


@pytest.fixture
def api(start, watch):
    api = start(ADMIN_TOKEN=TOKEN, AUTO_DECIDE="off", LABELS_EXOGENOUS="true")
    watch(ADMIN_TOKEN=TOKEN, AUTO_DECIDE="off", LABELS_EXOGENOUS="true")
    return api


def label(api, version, seed, count=900):
    """New cases, distributed as those of the training, whose true labels are the answers of this version."""
    chance, known = np.random.default_rng(seed), [IRIS.data[IRIS.target == kind] for kind in range(3)]
    drawn = [chance.multivariate_normal(of.mean(axis=0), np.cov(of.T), count // 3) for of in known]
    rows = chance.permutation(np.concatenate(drawn)).clip(0.1).round(2).tolist()
    truth = api.post("/predict/batch", {"instances": rows}, headers={"X-Model-Version": version}).json()["predictions"]
    served = [api.post("/predict", {"features": row}).json()["prediction_id"] for row in rows]
    told = [{"prediction_id": one, "actual": two["prediction"]} for one, two in zip(served, truth, strict=True)]
    assert api.post("/feedback", {"feedback": told}).json()["accepted"] == count


def let_in(api, version):
    """Wait until the version has traffic."""
    eventually(lambda: api.get("/config").json()["weights"].get(version), 400)


def test_a_better_candidate_is_promoted_and_a_worse_one_rolled_back(airflow, api, installation):
    folders = {"MODEL_DIR": str(installation / "models"), "DATA_DIR": str(installation / "data")}
    environment = {**connected(api.port), **folders, "AIRFLOW_VAR_BAKEOFF_WORK_DIR": str(installation / "work")}
    airflow.begin(environment, variants="logistic_regression", let_in_now=True, alpha=0.05)
    let_in(api, "v3")
    label(api, "v3", seed=1)
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["promote"], run["tasks"]["roll_back"]) == ("success", "success", "skipped")
    assert "v3 is champion: " in text
    # A change reaches every worker within a second.
    eventually(lambda: (api.get("/config").json()["baseline"], api.get("/config").json()["alpha"]) == ("v3", 0.05))

    # The experiment was decided, so the next candidate need not wait.
    airflow.begin(environment, variants="shallow_wide", alpha=0.05)
    let_in(api, "v4")
    label(api, "v3", seed=2)
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["promote"], run["tasks"]["roll_back"]) == ("success", "skipped", "success")
    assert "v4 was rolled back: " in text
    eventually(lambda: api.get("/config").json()["weights"].get("v3") == 1)
    assert [entry["action"] for entry in api.get("/audit").json()["entries"][:2]] == ["retire", "keep"]


def test_a_gate_that_fails_publishes_nothing_and_says_so(airflow, api, stub):
    airflow.begin(connected(api.port, command=stub), gate="--min-accuracy 1")
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["gate"], run["tasks"]["publish_candidate"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    assert "gate failed: bakeoff publish: trained (deep_forest): hold-out accuracy 0.93 is below 1" in text


def test_an_undecided_experiment_ends_as_skipped_and_says_until_when_it_waited(airflow, api, stub):
    airflow.begin(connected(api.port, command=stub), let_in_now=True, wait_hours=0.0005)
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["wait_for_verdict"], run["tasks"]["promote"]) == (
        "success",
        "skipped",
        "skipped",
    )
    assert re.search(r"v2 is undecided: .*\. Waiting since (\S+), until (?!\1)\S+: the time is up\.", text), text
    assert "The experiment goes on: decide with bakeoff decide" in text
    assert api.get("/config").json()["weights"]["v2"] == 0.1


def test_a_candidate_that_waits_already_is_gone_on_with_and_waits_until_its_time_is_up(airflow, api, stub):
    airflow.begin(connected(api.port, command=f"{stub} known"), wait_hours=0)
    run, text = airflow.end()
    assert (run["tasks"]["wait_for_running_experiment"], run["tasks"]["let_in"]) == ("skipped", "skipped")
    assert "v2 stays a candidate" in text


def test_a_service_that_is_down_is_tried_again_and_then_named(airflow, stub):
    airflow.begin(connected(free_port(), command=stub), let_in_now=True)
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["validate"], run["tasks"]["promote"]) == ("failed", "failed", "upstream_failed")
    assert airflow.log().count("can't reach the API at http://127.0.0.1:") >= 4
    assert "Connection refused" in text
    assert "mend host and port of the connection bakeoff_api" in text


def test_a_wrong_token_is_told_before_anything_is_trained_and_not_tried_again(airflow, api, stub):
    airflow.begin(connected(api.port, token="wrong", command=stub), let_in_now=True)
    run, text = airflow.end()
    assert (run["state"], run["tasks"]["validate"], run["tasks"]["train_variants"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    assert "403, the token is refused" in text
    assert "put the API's ADMIN_TOKEN into the password of the connection bakeoff_api" in text
