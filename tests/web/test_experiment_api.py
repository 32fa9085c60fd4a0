from hashlib import sha256

import msgspec
import pytest

from app.errors import StoreUnavailable
from app.tokens import Administrator
from tests.unit.services.control.deciders import BASE, MemoryReports, record, report
from tests.web import fakes

ADMIN = {"Authorization": "Bearer admin"}
NAMED = (("ann", b"of ann"), ("Bob Ø.", b"of bob"))


@pytest.fixture
def deciding(serve):
    return serve(admin_token="admin")[0]


def decide(client, headers=ADMIN, **body):
    return client.post("/experiment/decision", json=body, headers=headers)


def patch(client, headers=ADMIN, **body):
    return client.patch("/config", json=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "field"),
    [('{"alpha": 0.1, "alpha": 0.2}', "alpha"), ('{"cost_matrix": {"yes": {"no": 1}, "yes": {"no": 2}}}', "yes")],
)
def test_a_key_that_is_given_twice_is_refused(deciding, body, field):
    answer = deciding.patch("/config", data=body, headers=ADMIN)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (400, field)
    assert "is given twice" in answer.get_json()["error"]["message"]


def test_the_experiment_without_a_monitor_is_all_null_and_says_what_to_do(client):
    body = client.get("/experiment").get_json()
    assert (body["id"], body["state"], body["metric"], body["baseline"]) == ("e1", "running", "accuracy", "v1")
    assert [(v["version"], v["weight"], v["mean"]) for v in body["variants"]] == [("v1", 0.5, None), ("v2", 0.5, None)]
    assert body["comparisons"][0]["interval"] is None
    assert "bakeoff monitor" in body["recommendation"]["reason"]


def test_the_monitors_report_is_answered_whole(serve):
    client, _ = serve(reports=MemoryReports(report()))
    comparison = client.get("/experiment").get_json()["comparisons"][0]
    assert (comparison["e_value"], comparison["interval"], comparison["verdict"]) == (812.0, [0.01, 0.05], "better")


def test_without_a_store_the_experiment_is_503(serve):
    reports = MemoryReports()
    reports.error = StoreUnavailable("locked")
    client, _ = serve(reports=reports)
    answer = client.get("/experiment")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize(
    "path",
    [
        "/experiment/timeline?points=0",
        "/experiment/timeline?points=2001",
        "/experiment/timeline?points=x",
        "/experiments?limit=0",
        "/experiments?limit=1e3",
        "/audit?limit=1001",
        "/audit?before=0",
        "/audit?before=-1",
        "/audit?before=99999999999999999999",
    ],
)
def test_a_number_out_of_range_is_400_and_named(client, path):
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["field"] in path


@pytest.mark.parametrize(
    "path",
    [
        "/experiments?limit=1&limit=2",
        "/experiment/timeline?id=a&points=3&id=a",
        "/drift?version=v1&version=v2",
        "/config?experiment=a&experiment=b",
        "/drift/timeline?version=v1&version=v1",
        "/predictions/history?before=a&before=b",
        "/predictions/history?version=&version=v1",
    ],
)
def test_what_is_said_twice_is_400_and_named(client, path):
    answer = client.get(path)
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert "2 times" in error["message"]
    assert f"{error['field']}=" in path


def test_the_timeline_names_its_experiment(client):
    body = client.get("/experiment/timeline?points=1").get_json()
    assert (body["experiment_id"], [point["n"] for point in body["points"]]) == ("e1", [1])


def test_the_timeline_has_the_splits(client):
    [split] = client.get("/experiment/timeline").get_json()["splits"]
    assert (split["epoch"], split["source"], split["weights"]) == (3, "configure", {"v1": 0.5, "v2": 0.5})


def test_the_audit_log_can_be_that_of_one_experiment(deciding):
    decide(deciding, ADMIN, action="keep")
    decided = deciding.get("/audit").get_json()["entries"][0]["experiment_id"]
    assert len(deciding.get(f"/audit?experiment={decided}").get_json()["entries"]) == 1
    assert deciding.get("/audit?experiment=another").get_json()["entries"] == []


def test_finished_experiments_stay_readable(serve):
    final = report(id="e0")
    ended = record(id="e0", ended_at_us=1_796_000_000_000_000, ended_by="keep", report=final)
    client, _ = serve(reports=MemoryReports(final, records=[record(), ended]))
    listed = client.get("/experiments").get_json()["experiments"]
    assert [(each["id"], each["state"], each["ended_by"]) for each in listed] == [
        ("e1", "running", None),
        ("e0", "ended", "keep"),
    ]
    assert client.get("/experiments/e0").get_json()["comparisons"][0]["n"] == 800
    assert client.get("/experiments/e9").get_json()["error"]["code"] == "unknown_experiment"


def test_the_terms_of_a_finished_experiment_stay_readable(serve):
    then = msgspec.structs.replace(BASE, epoch=2, experiment_id="e0", min_duration_s=60.0)
    client, _ = serve(reports=MemoryReports(records=[record(), record(id="e0", last=then)]))
    config = client.get("/config?experiment=e0").get_json()
    assert (config["epoch"], config["experiment_id"], config["min_duration_s"]) == (2, "e0", 60.0)
    assert client.get("/config?experiment=e1").get_json() == client.get("/config").get_json()
    assert client.get("/config?experiment=e9").get_json()["error"]["code"] == "unknown_experiment"


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"Authorization": "Bearer no"}, 403)])
def test_deciding_needs_the_administrators_token(deciding, headers, status):
    assert decide(deciding, headers, action="keep").status_code == status
    assert patch(deciding, headers, weights={"v1": 1}).status_code == status


def test_a_decision_answers_with_its_entry_and_is_in_force(deciding):
    answer = decide(deciding, {**ADMIN, "X-Actor": "ann"}, action="promote", version="v2", note="cheaper").get_json()
    entry = answer["decision"]
    assert (entry["actor"], entry["action"], entry["version"], entry["note"]) == ("ann", "promote", "v2", "cheaper")
    assert (answer["config"]["champion"], answer["config"]["weights"]) == ("v2", {"v1": 0.0, "v2": 1.0})
    assert deciding.get("/config").get_json() == answer["config"]
    assert deciding.get("/audit").get_json() == {"entries": [entry], "next": None}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"action": "promote", "version": "v1"}, 409, "version"),
        ({"action": "promote", "version": "v9"}, 404, "version"),
        ({"action": "promote"}, 400, "version"),
        ({"action": "rollback"}, 409, None),
        ({"action": "keep", "version": "v2"}, 400, "version"),
        ({"action": "sing"}, 400, "action"),
        ({"action": 7}, 400, "action"),
        ({"action": "keep", "note": 7}, 400, "note"),
        ({"action": "keep", "note": "x" * 2001}, 400, "note"),
        ({"action": "keep", "versions": "v1"}, 400, "versions"),
        ({}, 400, "action"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_by_name(deciding, body, status, field):
    answer = decide(deciding, **body)
    assert answer.status_code == status
    assert answer.get_json()["error"].get("field") == field
    assert deciding.get("/audit").get_json()["entries"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"action":"keep","action":', b"[" * 9999])
def test_a_body_that_is_no_object_is_400(deciding, body):
    for method, path in (("POST", "/experiment/decision"), ("PATCH", "/config")):
        assert deciding.open(path, method=method, data=body, headers=ADMIN).status_code == 400


@pytest.mark.parametrize(
    ("sent", "actor"),
    [("ann", "ann"), ("Zoë".encode().decode("latin-1"), "Zoë"), (" ann ", "ann"), (None, "admin")],
)
def test_the_actor_is_who_the_header_says(deciding, sent, actor):
    environ = {"HTTP_AUTHORIZATION": "Bearer admin"} | ({"HTTP_X_ACTOR": sent} if sent else {})
    answer = deciding.post("/experiment/decision", json={"action": "keep"}, environ_overrides=environ)
    assert answer.get_json()["decision"]["actor"] == actor


@pytest.mark.parametrize("sent", ["", " ", "x" * 65, "a\tb", "\x80", "monitor"])
def test_an_actor_without_a_name_is_refused(deciding, sent):
    environ = {"HTTP_AUTHORIZATION": "Bearer admin", "HTTP_X_ACTOR": sent}
    answer = deciding.post("/experiment/decision", json={"action": "keep"}, environ_overrides=environ)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (400, "X-Actor")


@pytest.mark.parametrize(("token", "actor"), [("of ann", "ann"), ("of bob", "Bob Ø."), ("admin", "admin")])
def test_with_several_administrators_the_actor_is_the_one_of_the_token(serve, token, actor):
    administrators = tuple(Administrator(name, sha256(of).hexdigest()) for name, of in NAMED)
    client, _ = serve(admin_token="admin", administrators=administrators)
    answer = decide(client, {"Authorization": f"Bearer {token}", "X-Actor": "somebody else"}, action="keep")
    assert answer.get_json()["decision"]["actor"] == actor
    assert decide(client, {"Authorization": "Bearer of nobody", "X-Actor": "ann"}, action="keep").status_code == 403


def test_an_administrator_by_name_needs_no_token_of_all(serve):
    ann = Administrator("ann", sha256(b"of ann").hexdigest())
    client, _ = serve(administrators=(ann,), read_token="reader")
    assert decide(client, {"Authorization": "Bearer of ann"}, action="keep").get_json()["decision"]["actor"] == "ann"
    assert client.get("/config", headers={"Authorization": "Bearer of ann"}).status_code == 200
    assert client.get("/config", headers={"Authorization": "Bearer of bob"}).status_code == 403


def test_a_patch_answers_with_the_whole_configuration(deciding):
    body = patch(deciding, weights={"v2": 1, "v1": 3}).get_json()
    assert (body["weights"], body["epoch"], body["experiment_id"]) == ({"v1": 0.75, "v2": 0.25}, 4, "e1")
    assert deciding.get("/config").get_json() == body


def test_a_patch_that_changes_nothing_opens_no_epoch(deciding):
    assert patch(deciding, weights={"v1": 8, "v2": 8}).get_json()["epoch"] == 3
    assert deciding.get("/audit").get_json()["entries"] == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"weights": {"v1": "1"}}, 400, "weights"),
        ({"weights": {"v1": True}}, 400, "weights"),
        ({"weights": [1, 2]}, 400, "weights"),
        ({"weights": None}, 400, "weights"),
        ({"weights": {"v9": 1}}, 404, "weights"),
        ({"policy": "guess"}, 400, "policy"),
        ({"auto_decide": "perhaps"}, 400, "auto_decide"),
        ({"drift_threshold": 2}, 400, "drift_threshold"),
        ({"epoch": 99, "weights": {"v1": 1}}, 409, "epoch"),
        ({"alpha": 0.01}, 400, "alpha"),
        ({"alpha": 0.9, "new_experiment": True}, 400, "alpha"),
        ({"reward_range": [1], "new_experiment": True}, 400, "reward_range"),
        ({"champion": "v2"}, 400, "champion"),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused_by_name(deciding, body, status, field):
    answer = patch(deciding, **body)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (status, field)


def test_terms_begin_a_new_experiment(deciding):
    body = patch(deciding, alpha=0.01, metric="brier", new_experiment=True).get_json()
    assert (body["alpha"], body["metric"], body["experiment_id"] != "e1") == (0.01, "brier", True)


def test_requests_go_where_the_decision_says(deciding):
    decide(deciding, action="promote", version="v2")
    answer = deciding.post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]})
    assert answer.get_json()["model_version"] == "v2"


def test_nothing_can_be_decided_where_nothing_is_served(serve):
    client, _ = serve(fakes.loaded_models(), admin_token="admin")
    assert decide(client, action="promote", version="v1").status_code == 404
