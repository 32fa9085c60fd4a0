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

from tests.e2e.api_process import ROOT, ROW, serving
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
    given = os.environ.get("CLIENTS_PYTHON")
    return given or environment(pytestconfig, tmp_path_factory, "clients", "requirements-clients.lock")


def environment(config, folders, name, requirements):
    """Python with these requirements, in an environment that is made once for all tests."""

    def make(folder):
        install(folder, ROOT / requirements)

    python = made_once(config, folders.getbasetemp(), name, make) / "bin" / "python"
    if not python.exists():
        pytest.skip(f"NOT CHECKED: {name} cannot be installed: {(python.parents[1] / 'problem').read_text()}")
    return str(python)


def install(folder, requirements):
    """An environment with the requirements in the folder; else the file `problem`, with the reason."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python, wanted = str(folder / "bin" / "python"), ["-q", "--require-hashes", "-r", str(requirements)]
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


class Since:
    """An api that tests share, since now: what others asked of it before is left out.

    Its one worker logs in the order of its answers, so all of theirs is in the log once `row`, which is asked here, is.
    """

    def __init__(self, api, row):
        self.api, self.port, self.url = api, api.port, api.url
        self._before = set()
        last = api.post("/predict", row).json()["prediction_id"]
        self._before = {each["prediction_id"] for each in eventually(lambda: self._logged(last))}
        self._answered = {each: self._count(each) for each in ("oip_v2", "kserve_v1", "mlflow", "sagemaker")}

    def history(self):
        """The newest predictions, the last one first."""
        rows = self.api.get("/predictions/history?limit=100").json()["predictions"]
        return [row for row in rows if row["prediction_id"] not in self._before]

    def requests_of(self, protocol):
        """How many requests of a protocol were answered."""
        return self._count(protocol) - self._answered[protocol]

    def _count(self, protocol):
        return self.api.metric("prediction_requests_total", protocol=protocol)

    def _logged(self, last):
        rows = self.history()
        return rows and rows[0]["prediction_id"] == last and rows


@pytest.fixture(scope="module")
def iris_api(trained, tmp_path_factory):
    with serving(trained, tmp_path_factory.mktemp("iris"), WEB_CONCURRENCY="1") as api:
        yield api


@pytest.fixture
def iris(iris_api):
    """An api that the file's tests share."""
    return Since(iris_api, ROW)


@pytest.fixture(scope="module")
def guarded(trained, tmp_path_factory):
    """An api with tokens that the file's tests share."""
    with serving(trained, tmp_path_factory.mktemp("guarded"), API_TOKEN="t" * 16, ADMIN_TOKEN="a" * 16) as api:
        yield api


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
    iris, client_python, heading, number, printed, users, keys, protocol
):
    said = "\n".join(run(client_python, example(heading, number, iris)))
    assert printed in said
    logged = eventually(iris.history)
    seen = [iris.api.get(f"/predictions/{row['prediction_id']}").json() for row in logged]
    assert sum("user" in row for row in seen) == users * len(seen)
    assert sum("id" in row for row in seen) == keys
    assert eventually(lambda: iris.requests_of(protocol)) == 1
    told = [{"prediction_id": row["prediction_id"], "actual": row["prediction"]} for row in logged]
    assert iris.api.post("/feedback", {"feedback": told}).json()["accepted"] == len(logged)


def test_boto3_signs_and_sends_the_token_that_the_page_adds(guarded, client_python):
    code = example("SageMaker", 0, guarded).partition("answer = ")
    token = example("SageMaker", 1, guarded).replace("the token", "t" * 16)
    [said] = run(client_python, f"{code[0]}{token}answer = {code[2]}")
    assert "setosa" in said


def train_adult(folder):
    """Two versions of a model with categories and numbers."""
    env = {**os.environ, "MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}
    table = ["--dataset", "tests/cases/adult.csv", "--target", "income", "--min-accuracy", "0.5"]
    subprocess.run([sys.executable, "-m", "app", "train", *table], cwd=ROOT, env=env, check=True, capture_output=True)


@pytest.fixture(scope="module")
def adult_api(pytestconfig, tmp_path_factory):
    made = made_once(pytestconfig, tmp_path_factory.getbasetemp(), "adult", train_adult)
    weights = {"MODEL_V1_WEIGHT": "1", "MODEL_V2_WEIGHT": "0"}
    with serving(made, tmp_path_factory.mktemp("adult"), WEB_CONCURRENCY="1", **weights) as api:
        yield api


@pytest.fixture
def adult(adult_api):
    """An api with a model that has categories, which the file's tests share: v1 answers all that is not forced."""
    return Since(adult_api, {"features": {"age": 67, "workclass": " State-gov", "hours": 58}})


# What each client sends: the same two people, by `url`; the last line that is printed are their predictions.
PEOPLE = """
import asyncio, json, sys
url = sys.argv[1]
people = [
    {"age": 67, "workclass": " State-gov", "hours": 58},
    {"age": 50, "workclass": " Self-emp", "hours": 26},
]
ages, classes, hours = ([each[name] for each in people] for name in ("age", "workclass", "hours"))
"""
AIO = """
import numpy as np
import tritonclient.http.aio as triton

async def ask():
    tensors = []
    for name, kind, values in (("hours", "FP32", hours), ("workclass", "BYTES", classes), ("age", "UINT8", ages)):
        dtype = {"FP32": np.float32, "UINT8": np.uint8, "BYTES": object}[kind]
        tensors.append(triton.InferInput(name, [2, 1], kind))
        tensors[-1].set_data_from_numpy(np.array(values, dtype).reshape(2, 1), binary_data=kind != "FP32")
    async with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        for options in ({}, {"request_compression_algorithm": "gzip", "response_compression_algorithm": "deflate"}):
            answer = await client.infer("adult", tensors, **options)
        wanted = [triton.InferRequestedOutput("predict_proba", class_count=1)]
        best = (await client.infer("adult", tensors, outputs=wanted)).as_numpy("predict_proba")
    names = [name.decode() for name in answer.as_numpy("predict")]
    assert [each[0].decode().split(":")[2] for each in best] == names, best
    return names

print(json.dumps(asyncio.run(ask())))
"""
KSERVE_V2 = """
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

columns = (("workclass", "BYTES", classes), ("age", "INT64", ages), ("hours", "FP64", hours))
request = InferRequest("adult", [InferInput(name, [2], kind, values) for name, kind, values in columns])
client = InferenceRESTClient(RESTConfig(protocol="v2"))
answer = asyncio.run(client.infer(url, request, model_name="adult"))
print(json.dumps(next(output.data for output in answer.outputs if output.name == "predict")))
"""
KSERVE_V1 = """
from kserve import InferenceRESTClient, RESTConfig

client = InferenceRESTClient(RESTConfig(protocol="v1"))
answer = asyncio.run(client.infer(url, {"instances": people}, model_name="adult"))
print(json.dumps(answer["predictions"]))
"""
BOTO3 = """
import boto3

keys = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
runtime = boto3.client("sagemaker-runtime", endpoint_url=url, region_name="us-east-1", **keys)
lines = [",".join(map(str, each.values())) for each in people]
headed = "\\n".join([",".join(people[0]), *lines])
found = [
    json.loads(runtime.invoke_endpoint(EndpointName="adult", ContentType=kind, Body=body)["Body"].read())["predictions"]
    for kind, body in (
        ("text/csv", "\\n".join(lines)),
        ("text/csv", headed),
        ("application/json", json.dumps({"instances": people})),
        ("application/json", json.dumps([[*each.values()] for each in people])),
    )
]
assert found == found[:1] * 4, found
print(json.dumps(found[0]))
"""
MLFLOW = """
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(url.rpartition(":")[2]))
frame = pd.DataFrame(people, index=["a", "b"]).astype({"workclass": "category"})
print(json.dumps(client.invoke(frame).get_predictions()[0].tolist()))
"""


@pytest.mark.parametrize(
    ("code", "protocol", "requests_of_it"),
    [
        (AIO, "oip_v2", 3),
        (KSERVE_V2, "oip_v2", 1),
        (KSERVE_V1, "kserve_v1", 1),
        (BOTO3, "sagemaker", 4),
        (MLFLOW, "mlflow", 1),
    ],
    ids=["tritonclient.http.aio", "kserve v2", "kserve v1", "boto3", "mlflow"],
)
def test_each_client_asks_a_model_with_categories(adult, client_python, code, protocol, requests_of_it):
    people = [{"age": 67, "workclass": " State-gov", "hours": 58}, {"age": 50, "workclass": " Self-emp", "hours": 26}]
    own = adult.api.post("/predict/batch", {"instances": people}).json()["predictions"]
    *_, said = run(client_python, PEOPLE + code, adult.url)
    assert json.loads(said) == [each["prediction"] for each in own]
    logged = eventually(lambda: len(found := adult.history()) == 2 * requests_of_it + 2 and found)
    assert [each["features"] for each in logged[:2]] == people[::-1]
    assert adult.requests_of(protocol) == requests_of_it


def test_a_data_frame_with_a_missing_number_is_refused_for_the_column(adult, client_python):
    frame = (
        "frame.loc['a', 'age'] = None\ntry:\n    client.invoke(frame)\nexcept Exception as error:\n    print(error)\n"
    )
    code = MLFLOW.partition("print")[0] + frame
    [said] = run(client_python, PEOPLE + code, adult.url)
    assert "feature 'age' must not be null" in said.replace('\\"', '"')


def test_the_flag_of_a_model_with_categories_is_the_version_that_all_get(adult, client_python):
    found = evaluated(client_python, adult, "adult", "", "u-1", "u-2")
    assert [each[:3] for each in found] == [["v1", "v1", "STATIC"]] * 2


TENSORS = {"age": ("INT64", 67), "workclass": ("BYTES", " State-gov"), "hours": ("FP64", 58.0)}


@pytest.mark.parametrize("options", [[], ["--binary-data"], ["--batch-size", "2"]])
def test_mlserver_sends_its_batches(pytestconfig, tmp_path_factory, tmp_path, adult, options):
    requirements = "bench/opponents/requirements-mlserver.lock"
    python = environment(pytestconfig, tmp_path_factory, "mlserver", requirements)
    inputs = [
        {"name": name, "shape": [1], "datatype": kind, "data": [value]} for name, (kind, value) in TENSORS.items()
    ]
    lines, answers = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines.write_text(f"{json.dumps({'inputs': inputs})}\n" * 2)
    where = ["-u", f"127.0.0.1:{adult.port}", "-m", "adult/versions/v2", "-i", lines, "-o", answers]
    command = [Path(python).with_name("mlserver"), "infer", *where, *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [each["model_version"] for each in found] == ["v2", "v2"]
    ids = {output["data"][0] for each in found for output in each["outputs"] if output["name"] == "prediction_id"}
    logged = eventually(lambda: len(rows := adult.history()) > 1 and rows)
    assert ids == {each["prediction_id"] for each in logged}


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


def test_triton_asks_a_model_with_categories_in_every_form_and_reads_its_errors(adult, client_python):
    *answers, version, model, column = run(client_python, TRITON, f"127.0.0.1:{adult.port}", "adult")
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


def test_users_get_the_versions_of_their_predictions_before_and_after_a_change(guarded, client_python):
    api = guarded
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


def test_the_client_understands_the_errors(guarded, client_python):
    [[value, *_, code]] = evaluated(client_python, guarded, "dark-mode", "t" * 16, "u-1")
    assert (value, code) == ("none", "FLAG_NOT_FOUND")
    [[_, _, _, code]] = evaluated(client_python, guarded, "iris", "t" * 16, "")
    assert code == "TARGETING_KEY_MISSING"
    [[value, _, _, code]] = evaluated(client_python, guarded, "iris", "wrong", "u-1")
    assert (value, code) == ("none", "GENERAL")


def test_the_example_of_the_page_is_an_exposure_with_a_reward(iris, client_python):
    run(client_python, example("OpenFeature", 0, iris))
    [entry] = eventually(iris.history)
    assert (entry["assignment"], entry["reward"], entry["propensity"]) == ("exposure", 1, 0.5)
