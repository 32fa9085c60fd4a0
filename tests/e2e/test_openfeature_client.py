"""OpenFeature's own client, unmodified, in an environment of its own: the example of docs/clients.md, and errors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.e2e.api_process import ROOT, ROW
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

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
def client_python(tmp_path_factory):
    """Python with the clients: `CLIENTS_PYTHON`, or a new environment."""
    if given := os.environ.get("CLIENTS_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("clients")
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = [python, "-m", "pip", "install", "-q", "-r", str(ROOT / "requirements-clients.txt")]
    done = subprocess.run(wanted, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT CHECKED: the clients cannot be installed: {done.stderr[-300:]}")
    return python


def run(python, code, *arguments):
    done = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def predicted(api, user):
    answer = requests.post(f"{api.url}/predict", json={**ROW, "user_id": user}, headers=KEY, timeout=10)
    return answer.json()["model_version"]


KEY = {"X-API-Key": "t" * 16}


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
        found = run(client_python, EVALUATE, api.url, "iris", "t" * 16, *users)
        assert [each[0] for each in found] == [predicted(api, user) for user in users]
        assert {tuple(each[2:]) for each in found} == {("SPLIT", None)}


def test_the_client_understands_the_errors(start, client_python):
    api = start(API_TOKEN="t" * 16)
    [[value, *_, code]] = run(client_python, EVALUATE, api.url, "dark-mode", "t" * 16, "u-1")
    assert (value, code) == ("none", "FLAG_NOT_FOUND")
    [[_, _, _, code]] = run(client_python, EVALUATE, api.url, "iris", "t" * 16, "")
    assert code == "TARGETING_KEY_MISSING"
    [[value, _, _, code]] = run(client_python, EVALUATE, api.url, "iris", "wrong", "u-1")
    assert (value, code) == ("none", "GENERAL")


def test_the_example_of_the_page_is_an_exposure_with_a_reward(start, client_python):
    api = start()
    page = (Path(ROOT) / "docs" / "clients.md").read_text()
    example = re.search(r"## OpenFeature.*?```python\n(.*?)```", page, re.DOTALL)[1]
    run(client_python, example.replace("http://localhost:5000", api.url))
    [entry] = requests.get(f"{api.url}/predictions/history", timeout=10).json()["predictions"]
    assert (entry["assignment"], entry["reward"], entry["propensity"]) == ("exposure", 1, 0.5)
