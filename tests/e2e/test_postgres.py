"""The service on PostgreSQL: it counts as on SQLite, and outlives its server."""

import shutil
import signal
import threading
from functools import partial

import psycopg
import pytest
import requests

from tests.e2e.api_process import ROW
from tests.postgres import PASSWORD
from tests.unit.store.stored_rows import log_at
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def on_postgres(start, watch, postgres_url):
    """Starts an api and a monitor whose store is a new one of the server. What needs a second connection fails."""
    own = {"DATABASE_URL": postgres_url, "DATABASE_CONNECTIONS": "1"}

    def begin(**options):
        return start(**own, **options), watch(**own)

    return begin


def labelled(api):
    answer = api.get("/experiment")
    return sum(variant["labelled"] for variant in answer.json()["variants"]) if answer.ok else 0


def kept(url, query):
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query).fetchall()]


def test_predictions_and_feedback_are_in_the_experiment(on_postgres, postgres_url):
    api, _ = on_postgres()
    ids = [api.post("/predict", ROW).json()["prediction_id"] for _ in range(40)]
    feedback = [{"prediction_id": each, "actual": "setosa"} for each in ids]
    assert api.post("/feedback", {"feedback": feedback}).json() == {"accepted": 40, "duplicates": 0}
    assert api.post("/feedback", feedback[0]).json() == {"accepted": 0, "duplicates": 1}
    assert api.post("/feedback", {**feedback[0], "actual": "virginica"}).status_code == 409
    eventually(lambda: labelled(api) == 40)
    page = api.get("/predictions/history", params={"limit": 40}).json()["predictions"]
    assert [row["prediction_id"] for row in page] == sorted(ids, reverse=True)
    assert {row["actual"] for row in page} == {"setosa"}
    assert api.get("/health").json()["status"] == "healthy"


def test_two_hosts_follow_one_reload_and_the_second_monitor_leads_when_the_first_is_killed(
    start, watch, installation, postgres_url, tmp_path
):
    other = tmp_path / "other"
    folders = (installation, other)
    (installation / "models" / "v2").rename(tmp_path / "v2")
    shutil.copytree(installation, other)
    own = {"DATABASE_URL": postgres_url, "WEB_CONCURRENCY": "1", "ADMIN_TOKEN": "token-of-the-tests"}
    hosts = [start(folder, **own) for folder in folders]
    monitors = [watch(folder, DATABASE_URL=postgres_url) for folder in folders]
    for folder in folders:
        shutil.copytree(tmp_path / "v2", folder / "models" / "v2")
    report = hosts[0].post("/models/reload", headers={"Authorization": "Bearer token-of-the-tests"}).json()
    assert report["served"]["v2"]["change"] == "loaded"
    forced = {"X-Model-Version": "v2"}
    eventually(lambda: hosts[1].post("/predict", ROW, headers=forced).status_code == 200, 20)
    assert kept(postgres_url, "SELECT count(DISTINCT generation) FROM workers") == [1]
    users = [f"u{number}" for number in range(20)]
    answers = [[host.post("/predict", {**ROW, "user_id": user}).json() for user in users] for host in hosts]
    assert [each["model_version"] for each in answers[0]] == [each["model_version"] for each in answers[1]]
    eventually(lambda: any("monitor_follows" in monitor.log.read_text() for monitor in monitors))
    leader = next(monitor for monitor in monitors if "monitor_follows" not in monitor.log.read_text())
    leader.kill()
    # To the host that did not give the ids.
    labels = [{"prediction_id": each["prediction_id"], "actual": "setosa"} for each in answers[0]]
    assert hosts[1].post("/feedback", {"feedback": labels}).json()["accepted"] == len(users)
    eventually(lambda: labelled(hosts[1]) == len(users), 10)


def test_a_split_that_is_patched_reaches_every_worker(on_postgres):
    api, _ = on_postgres(ADMIN_TOKEN="token-of-the-tests")
    headers = {"Authorization": "Bearer token-of-the-tests"}
    patch = {"weights": {"v1": 0, "v2": 1}}
    assert requests.patch(f"{api.url}/config", json=patch, headers=headers, timeout=10).ok
    predict = partial(requests.post, f"{api.url}/predict", json=ROW, timeout=10)
    eventually(lambda: {predict().json()["model_version"] for _ in range(30)} == {"v2"})


def test_an_api_that_starts_without_the_server_is_ready_once_it_has_read_what_was_decided(
    start, postgres_server, postgres_url
):
    own = {"DATABASE_URL": postgres_url, "WEB_CONCURRENCY": "1", "ADMIN_TOKEN": "token-of-the-tests"}
    first = start(**own)
    headers = {"Authorization": "Bearer token-of-the-tests"}
    decided = requests.patch(f"{first.url}/config", json={"weights": {"v1": 1, "v2": 0}}, headers=headers, timeout=10)
    assert decided.ok
    first.stop()
    postgres_server.stop(signal.SIGINT)
    api = start(ready=False, **own).wait_until()
    readiness = [api.get(path) for path in ("/health/ready", "/health/ready?of=predictions")]
    assert [answer.status_code for answer in readiness] == [503, 503]
    assert "has not read the configuration" in readiness[1].json()["error"]["message"]
    postgres_server.start()
    api.wait_until("/health/ready?of=predictions")
    assert {api.post("/predict", ROW).json()["model_version"] for _ in range(20)} == {"v1"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_while_the_server_is_away_predictions_are_answered_and_nothing_acknowledged_is_lost(
    on_postgres, postgres_server, postgres_url, how
):
    api, _ = on_postgres()
    refused, acknowledged, served, stop = [], [], [], threading.Event()

    def play():
        while not stop.is_set():
            answer = requests.post(f"{api.url}/predict", json=ROW, timeout=5)
            if not answer.ok:
                refused.append(answer.text)
                continue
            sent = answer.json()["prediction_id"]
            served.append(sent)
            feedback = {"prediction_id": sent, "actual": "setosa"}
            if requests.post(f"{api.url}/feedback", json=feedback, timeout=30).ok:
                acknowledged.append(sent)

    players = [threading.Thread(target=play) for _ in range(3)]
    for player in players:
        player.start()
    eventually(lambda: len(acknowledged) > 20)
    postgres_server.stop(how)
    before = len(served)
    eventually(lambda: len(served) > before + 50)
    eventually(lambda: api.get("/health").json()["status"] == "degraded")  # what was found is good for a second
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health/ready?of=predictions").status_code == 200
    postgres_server.start()
    again = len(acknowledged)
    eventually(lambda: len(acknowledged) > again + 20)
    stop.set()
    for player in players:
        player.join()
    assert refused == []
    assert set(acknowledged) <= set(kept(postgres_url, "SELECT prediction_id FROM feedback"))
    # A crash may take the last moments of what nobody was promised.
    if how == signal.SIGINT:
        eventually(lambda: set(served) == {row.prediction_id for row in log_at(postgres_url)})
    eventually(lambda: labelled(api) >= len(acknowledged))
    assert PASSWORD not in api.log_text()


def test_an_api_that_starts_before_its_server_serves_and_counts_from_when_it_is_there(
    start, watch, postgres_server, postgres_url
):
    postgres_server.stop()
    monitor = watch(DATABASE_URL=postgres_url)
    api = start(DATABASE_URL=postgres_url, ready=False).wait_until("/health/live")
    assert api.post("/predict", ROW).ok
    assert api.post("/feedback", {"prediction_id": "x" * 64, "actual": 0}).status_code in (404, 503)
    postgres_server.start()
    api.wait_until("/health/ready")
    eventually(lambda: api.get("/config").json()["epoch"] == 1)
    sent = eventually(lambda: [api.post("/predict", ROW).json()["prediction_id"] for _ in range(20)])
    assert api.post("/feedback", {"prediction_id": sent[-1], "actual": 0}).ok
    eventually(lambda: labelled(api) == 1)
    assert monitor.process.poll() is None
    assert PASSWORD not in api.log_text() + monitor.log.read_text()


def test_of_two_monitors_one_waits_and_takes_over_when_the_other_is_killed(on_postgres, watch, postgres_url):
    api, first = on_postgres()
    eventually(lambda: api.get("/health").json()["monitor"]["state"] == "ok")
    second = watch(DATABASE_URL=postgres_url)
    second.log = second.folder / "monitor.log"
    eventually(lambda: "monitor_follows" in second.log.read_text())
    first.kill()
    sent = api.post("/predict", ROW).json()["prediction_id"]
    assert api.post("/feedback", {"prediction_id": sent, "actual": 0}).ok
    eventually(lambda: labelled(api) == 1)
