"""Clients of other servers, unmodified, in an environment of their own: the examples of docs/clients.md, and errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.e2e.api_process import ROOT, ROW
from tests.turns import made_once
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

PAGE = (Path(ROOT) / "docs" / "clients.md").read_text()
KEY = {"X-API-Key": "t" * 16}
EVALUATE = """
import json, sys
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

url, key, token, *users = sys.argv[1:]
api.set_provider(OFREPProvider(url, headers_factory=lambda: {"X-API-Key": token}))
client = api.get_client()
for user in users:
    found = client.get_string_details(key, "none", EvaluationContext(targeting_key=user or None))
    code = found.error_code and found.error_code.value
    print(json.dumps([found.value, found.variant, str(found.reason), code]))
"""


@pytest.fixture(scope="session")
def client_python(pytestconfig, tmp_path_factory):
    """Python with the clients: `CLIENTS_PYTHON`, or a new environment, made once for all tests."""
    if given := os.environ.get("CLIENTS_PYTHON"):
        return given
    python = made_once(pytestconfig, tmp_path_factory.getbasetemp(), "clients", install) / "bin" / "python"
    if not python.exists():
        pytest.skip(f"NOT CHECKED: the clients cannot be installed: {(python.parents[1] / 'problem').read_text()}")
    return str(python)


def install(folder):
    """An environment with the clients in the folder; else the file `problem`, with the reason."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python, wanted = str(folder / "bin" / "python"), ["-q", "-r", str(ROOT / "requirements-clients.txt")]
    uv = shutil.which("uv")  # much quicker, and with a cache that CI keeps
    command = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(folder / "bin")
        (folder / "problem").write_text(done.stderr[-300:])


def run(python, code, *arguments):
    """The lines that the code prints."""
    done = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def example(heading, number, api):
    """A Python example of the page, for this service."""
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number]
    code = code.replace("localhost:5000", f"127.0.0.1:{api.port}")
    return code.replace('"localhost", 5000', f'"127.0.0.1", {api.port}')


def history(api):
    return api.get("/predictions/history").json()["predictions"]


@pytest.mark.parametrize(
    ("heading", "number", "printed", "users", "keys", "protocol"),
    [
        ("Triton", 0, "b'setosa' b'versicolor'", 1, 0, "oip_v2"),
        ("Triton", 1, "'predict': ['setosa']", 0, 1, "oip_v2"),
        ("KServe v1", 0, "['setosa', 'versicolor']", 0, 0, "kserve_v1"),
        ("MLflow", 0, "setosa", 0, 0, "mlflow"),
        ("SageMaker", 0, "setosa", 0, 1, "sagemaker"),
    ],
)
def test_the_example_of_the_page_predicts_as_any_other_request(
    start, client_python, heading, number, printed, users, keys, protocol
):
    api = start()
    said = "\n".join(run(client_python, example(heading, number, api)))
    assert printed in said
    logged = eventually(lambda: history(api))
    seen = [api.get(f"/predictions/{row['prediction_id']}").json() for row in logged]
    assert sum("user" in row for row in seen) == users * len(seen)
    assert sum("id" in row for row in seen) == keys
    assert eventually(lambda: api.metric("prediction_requests_total", protocol=protocol)) == 1
    told = [{"prediction_id": row["prediction_id"], "actual": row["prediction"]} for row in logged]
    assert api.post("/feedback", {"feedback": told}).json()["accepted"] == len(logged)


def test_boto3_signs_and_sends_the_token_that_the_page_adds(start, client_python):
    api = start(API_TOKEN="t" * 16)
    code = example("SageMaker", 0, api).partition("answer = ")
    token = example("SageMaker", 1, api).replace("the token", "t" * 16)
    [said] = run(client_python, f"{code[0]}{token}answer = {code[2]}")
    assert "setosa" in said


TRITON = """
import sys
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(sys.argv[1])
table = {"hours": np.array([58.0, 26.0]), "age": np.array([67, 50])}
table["workclass"] = np.array([b" State-gov", b" Self-emp"])
types = {"hours": "FP64", "age": "INT64", "workclass": "BYTES"}
for binary in (True, False):
    for compression in (None, "gzip", "deflate"):
        inputs = []
        for name, values in table.items():
            tensor = triton.InferInput(name, [2], types[name])
            tensor.set_data_from_numpy(values.astype(object) if types[name] == "BYTES" else values, binary_data=binary)
            inputs.append(tensor)
        options = {"request_compression_algorithm": compression, "response_compression_algorithm": compression}
        for version in ("", "v2"):
            answer = client.infer(sys.argv[2], inputs, model_version=version, **options)
            print([name.decode() for name in answer.as_numpy("predict")], answer.as_numpy("predict_proba").shape)
for model, version, tensors in ((sys.argv[2], "v9", inputs), ("nope", "", inputs), (sys.argv[2], "", inputs[:1])):
    try:
        client.infer(model, tensors, model_version=version)
    except triton.InferenceServerException as error:
        print(error.status(), error.message())
"""


def test_triton_asks_a_model_with_categories_in_every_form_and_reads_its_errors(tmp_path, start, client_python):
    env = {**os.environ, "MODEL_DIR": str(tmp_path / "models"), "DATA_DIR": str(tmp_path / "data")}
    table = ["--dataset", "tests/cases/adult.csv", "--target", "income", "--min-accuracy", "0.5"]
    subprocess.run([sys.executable, "-m", "app", "train", *table], cwd=ROOT, env=env, check=True, capture_output=True)
    api = start(tmp_path)
    row = {"age": 67, "workclass": " State-gov", "hours": 58}
    assert api.post("/predict", row).ok, api.post("/predict", row).text
    *answers, version, model, column = run(client_python, TRITON, f"127.0.0.1:{api.port}", "adult")
    assert len(answers) == 12
    assert len({answer for answer in answers if answer.endswith("(2, 2)")}) <= 2  # v1 and v2 may differ
    assert all(answer.endswith("(2, 2)") for answer in answers)
    assert (version[:3], model[:3], column[:3]) == ("404", "404", "400")
    assert "v9" in version
    assert "age" in column


def evaluated(python, api, *arguments):
    """What the client says of each user: value, variant, reason and error code."""
    return [json.loads(line) for line in run(python, EVALUATE, api.url, *arguments)]


def predicted(api, user):
    answer = requests.post(f"{api.url}/predict", json={**ROW, "user_id": user}, headers=KEY, timeout=10)
    return answer.json()["model_version"]


def test_users_get_the_versions_of_their_predictions_before_and_after_a_change(start, client_python):
    api = start(API_TOKEN="t" * 16, ADMIN_TOKEN="a" * 16)
    users = [f"u-{number}" for number in range(20)]
    for weights in ({"v1": 0.5, "v2": 0.5}, {"v1": 0.1, "v2": 0.9}):
        patch = requests.patch(
            f"{api.url}/config",
            json={"weights": weights},
            headers={"Authorization": "Bearer " + "a" * 16},
            timeout=10,
        )
        assert patch.status_code == 200, patch.text
        epoch = patch.json()["epoch"]
        flag = {"context": {"targetingKey": "u-0"}}
        # Each worker takes the change within a second; several answers in a row come from all of them.
        eventually(
            lambda flag=flag, epoch=epoch: all(
                requests.post(f"{api.url}/ofrep/v1/evaluate/flags/iris", json=flag, headers=KEY, timeout=10).json()[
                    "metadata"
                ]["epoch"]
                == epoch
                for _ in range(20)
            ),
            20,
        )
        found = evaluated(client_python, api, "iris", "t" * 16, *users)
        assert [each[0] for each in found] == [predicted(api, user) for user in users]
        assert {tuple(each[2:]) for each in found} == {("SPLIT", None)}


def test_the_client_understands_the_errors(start, client_python):
    api = start(API_TOKEN="t" * 16)
    [[value, *_, code]] = evaluated(client_python, api, "dark-mode", "t" * 16, "u-1")
    assert (value, code) == ("none", "FLAG_NOT_FOUND")
    [[_, _, _, code]] = evaluated(client_python, api, "iris", "t" * 16, "")
    assert code == "TARGETING_KEY_MISSING"
    [[value, _, _, code]] = evaluated(client_python, api, "iris", "wrong", "u-1")
    assert (value, code) == ("none", "GENERAL")


def test_the_example_of_the_page_is_an_exposure_with_a_reward(start, client_python):
    api = start()
    run(client_python, example("OpenFeature", 0, api))
    [entry] = requests.get(f"{api.url}/predictions/history", timeout=10).json()["predictions"]
    assert (entry["assignment"], entry["reward"], entry["propensity"]) == ("exposure", 1, 0.5)
