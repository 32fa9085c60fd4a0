"""Labels by the caller's own keys, by HTTP and by `bakeoff feedback`, with a real server of two workers."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from app.store.deployment import DeploymentKey
from app.store.engine import Database
from app.store.keys import load_or_create
from tests.e2e.api_process import ROOT, ROW
from tests.waiting import eventually

CSV = {"Content-Type": "text/csv"}


FAILING = ("gunicorn", "--config", "docker/gunicorn.conf.py", "tests.e2e.failing_api:create()")
ADMIN = {"Authorization": "Bearer of-the-administrator", "X-Actor": "ann"}


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request, start, watch):
    return served(request, start, watch)


@pytest.fixture(params=["sqlite", "postgresql"])
def administered(request, start, watch):
    return served(request, start, watch, ADMIN_TOKEN="of-the-administrator")


def served(request, start, watch, **options):
    if request.param == "postgresql":
        options["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    api = start(**options)
    watch(**options)
    return api


def predict(api, key, **options):
    return api.post("/predict", {**ROW, "id": key}, **options).json()["prediction_id"]


def labelled(api):
    return sum(variant["labelled"] for variant in api.get("/experiment").json()["variants"])


def test_feedback_by_key_right_after_the_answer_finds_its_prediction(api):
    for number in range(40):
        sent = predict(api, f"order-{number}")
        told = api.post("/feedback", {"id": f"order-{number}", "actual": "setosa"})
        assert told.json() == {"accepted": 1, "duplicates": 0, "prediction_id": sent}
    eventually(lambda: labelled(api) == 40)


def test_once_another_key_is_accepted_a_process_with_the_former_one_takes_no_label(start, installation):
    api = start(WEB_CONCURRENCY="1")
    sent = predict(api, "order-1")
    with closing(Database(f"sqlite:///{installation / 'data' / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, "ab" * 16).accept()
        api.wait_until("/health/ready?of=predictions", 503)
        refused = api.post("/feedback", {"prediction_id": sent, "actual": "setosa"})
        assert (refused.status_code, "key of this process" in refused.json()["error"]["message"]) == (503, True)
        assert api.post("/exposures", {"user_id": "ann"}).status_code == 503
        assert api.post("/predict", {**ROW, "user_id": "ann"}).json()["assignment"] == "fallback"
        DeploymentKey(database, load_or_create(installation / "data").fingerprint).accept()
        api.wait_until("/health/ready")
    assert api.post("/feedback", {"prediction_id": sent, "actual": "setosa"}).json()["accepted"] == 1


def test_a_key_that_is_used_twice_stays_with_its_first_prediction_that_counts(api):
    forced = predict(api, "order-1", headers={"X-Model-Version": "v2"})
    first, again = predict(api, "order-1"), predict(api, "order-1")
    assert api.post("/feedback", {"id": "order-1", "actual": "setosa"}).json()["prediction_id"] == first
    assert api.post("/feedback", {"id": "order-1", "actual": "setosa"}).json()["duplicates"] == 1
    assert api.post("/feedback", {"id": "order-1", "actual": "virginica"}).status_code == 409
    assert api.get("/predictions?id=order-1").json()["prediction_id"] == first
    found = api.get("/predictions/history?id=order-1").json()["predictions"]
    assert [each["prediction_id"] for each in found] == [again, first, forced]


def test_a_key_whose_chosen_version_failed_takes_its_label_for_the_fallback_and_tells_of_the_failure(start, watch):
    equal = {"MODEL_V1_WEIGHT": "1", "MODEL_V2_WEIGHT": "1", "BREAKER_FAILURES": "1000", "AUTO_DECIDE": "off"}
    api = start(serve=FAILING, **equal)
    watch(**equal)
    sent = {key: predict(api, key) for key in [f"order-{number}" for number in range(60)]}
    again = predict(api, "order-0")
    told = {key: api.post("/feedback", {"id": key, "actual": "setosa"}).json() for key in sent}
    assert told == {key: {"accepted": 1, "duplicates": 0, "prediction_id": first} for key, first in sent.items()}
    assert again != sent["order-0"]
    seen = [api.get(f"/predictions?id={key}").json() for key in sent]
    fell_back = [each for each in seen if each["assignment"] == "fallback"]
    assert 0 < len(fell_back) < 60
    assert all((each["chosen"], each["model_version"], each["failed"]) == ("v2", "v1", ["v2"]) for each in fell_back)
    eventually(lambda: labelled(api) == 60)
    assert api.get("/experiment").json()["recommendation"]["action"] == "rollback"


def test_a_file_with_everything_that_can_be_wrong(api, tmp_path):
    sent = api.post("/predict/batch", {"instances": [ROW["features"]] * 10, "ids": [f"k{at}" for at in range(10)]})
    assert sent.status_code == 200
    lines = [f"k{at},setosa," for at in range(7)]
    lines += [
        "nobody,setosa,",
        "k7,setosa,0.5",
        "k0,virginica,",
        "k0,setosa,",
        "k8,tulip,",
        "k9,,0.25",
        "k9,,",
        "k1,a,b,c",
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["id,actual,reward", *lines]) + "\n")
    refused = api.session.post(f"{api.url}/feedback", data=path.read_bytes(), headers=CSV, timeout=20)
    assert (refused.status_code, refused.json()["error"]["message"][:8]) == (404, "line 9: ")
    assert labelled(api) == 0
    status, report = by_command(api, path)
    assert (status, report["accepted"], report["duplicates"], report["without_label"]) == (1, 10, 1, 1)
    found = [(each["line"], each["status"]) for each in report["refused"]]
    assert found == [(9, "unknown"), (11, "contradicts"), (13, "invalid"), (16, "invalid")]
    again, known = by_command(api, path)
    assert (again, known["accepted"], known["duplicates"]) == (1, 0, 11)
    eventually(lambda: labelled(api) == 8)


def test_an_outcome_is_corrected_by_key_and_in_a_list_of_which_each_item_has_its_status(administered):
    api = administered
    ids = {key: predict(api, key) for key in ("c1", "c2", "c3")}
    items = [{"id": key, "actual": "setosa"} for key in ids]
    assert api.post("/feedback", {"feedback": items}, headers=ADMIN).json()["accepted"] == 3
    one = api.post("/feedback", {"id": "c1", "actual": "virginica", "correct": True}, headers=ADMIN)
    assert one.json() == {"accepted": 1, "duplicates": 0, "corrected": 1, "prediction_id": ids["c1"]}
    refused = api.post("/feedback", {"id": "c2", "actual": "virginica", "correct": True})
    assert refused.status_code == 401
    lines = ["id,actual", "c2,virginica", "c3,setosa", "nobody,setosa", "c1,tulip"]
    several = api.session.post(
        f"{api.url}/feedback?partial=true&correct=true",
        data="\n".join(lines).encode(),
        headers={**CSV, **ADMIN},
        timeout=20,
    ).json()
    assert [each["status"] for each in several["items"]] == ["accepted", "duplicate", "unknown", "invalid"]
    assert (several["accepted"], several["corrected"]) == (1, 1)
    eventually(lambda: api.get("/experiment").json().get("corrections") == 2)
    found = {key: api.get(f"/predictions?id={key}").json() for key in ids}
    assert {key: each["actual"] for key, each in found.items()} == {
        "c1": "virginica",
        "c2": "virginica",
        "c3": "setosa",
    }
    assert [(each["before"], each["after"], each["by"]) for each in found["c1"]["corrections"]] == [
        ("setosa", "virginica", "ann")
    ]
    assert [entry["action"] for entry in api.get("/audit").json()["entries"]][:2] == ["correct"] * 2


def by_command(api, path):
    words = [sys.executable, "-m", "app", "feedback", str(path), "--json"]
    env = {**os.environ, "API_URL": api.url}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)
