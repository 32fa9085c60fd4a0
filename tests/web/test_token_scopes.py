"""Which token opens which call: every call of the application has a line in the table."""

import pytest

from app.domain.decision import CORRECT, AuditEntry, Change
from app.services.control.decisions import AuditPage
from app.services.queries.history import HistoryPage
from app.services.queries.logged_answers import LoggedAnswer, detail_of, entry_of
from app.web.app import OPERATIONS
from tests.web.test_disagreements_route import Kept, listed
from tests.web.test_tokens import bearer, call

ADMIN = "administrative"
TABLE = {
    ("get", "/"): "open",
    ("post", "/predict"): "predict",
    ("post", "/predict/batch"): "predict",
    ("post", "/exposures"): "predict",
    ("post", "/ofrep/v1/evaluate/flags/{key}"): "predict",
    ("post", "/ofrep/v1/evaluate/flags"): "predict",
    ("get", "/predictions/history"): "read",
    ("get", "/predictions"): "read",
    ("get", "/predictions/{prediction_id}"): "read",
    ("post", "/feedback"): "feedback",
    ("get", "/experiment"): "read",
    ("get", "/experiment/timeline"): "read",
    ("get", "/experiment/{id}/disagreements"): "read",
    ("get", "/experiment/{id}/breakdown"): "read",
    ("post", "/experiment/decision"): ADMIN,
    ("get", "/experiments"): "read",
    ("get", "/experiments/{id}"): "read",
    ("get", "/audit"): "read",
    ("get", "/drift"): "read",
    ("get", "/drift/timeline"): "read",
    ("post", "/drift/acknowledge"): ADMIN,
    ("get", "/health"): "open",
    ("get", "/health/live"): "open",
    ("get", "/health/ready"): "open",
    ("get", "/config"): "read",
    ("patch", "/config"): ADMIN,
    ("get", "/models"): "read",
    ("get", "/models/{version}"): "read",
    ("post", "/models/reload"): ADMIN,
    ("post", "/model/reload"): ADMIN,
    ("get", "/model/info"): "read",
    ("get", "/metrics"): "open",
    ("post", "/invocations"): "predict",
    ("get", "/ping"): "open",
    ("get", "/version"): "open",
    ("get", "/v1/models"): "predict",
    ("get", "/v1/models/{model}"): "predict",
    ("post", "/v1/models/{model}:predict"): "predict",
    ("post", "/v1/models/{model}/versions/{version}:predict"): "predict",
    ("post", "/v1/models/{model}/labels/{label}:predict"): "predict",
    ("get", "/v2"): "open",
    ("get", "/v2/health/live"): "open",
    ("get", "/v2/health/ready"): "open",
    ("get", "/v2/models"): "predict",
    ("get", "/v2/models/{model}"): "predict",
    ("get", "/v2/models/{model}/versions/{version}"): "predict",
    ("get", "/v2/models/{model}/ready"): "predict",
    ("get", "/v2/models/{model}/versions/{version}/ready"): "predict",
    ("post", "/v2/repository/index"): "read",
    ("post", "/v2/repository/models/{model}/load"): ADMIN,
    ("post", "/v2/repository/models/{model}/unload"): ADMIN,
    ("post", "/v2/models/{model}/infer"): "predict",
    ("post", "/v2/models/{model}/versions/{version}/infer"): "predict",
    ("post", "/endpoints/{model}/invocations"): "predict",
    ("get", "/openapi.json"): "open",
    ("get", "/docs"): "open",
    ("get", "/docs/{file}"): "open",
}
SCOPES = ("predict", "read", "feedback")
TOKENS = {f"{scope}_token": f"the-token-of-{scope}" for scope in SCOPES}
ALL = {**TOKENS, "api_token": "the-token-of-all", "admin_token": "the-token-of-admin"}
ID = "e" * 64
GUARDED = [op for op in OPERATIONS if op.access in SCOPES]


def test_every_call_has_its_scope_here():
    assert {(operation.method, operation.path): operation.access for operation in OPERATIONS} == TABLE


@pytest.mark.parametrize("operation", GUARDED, ids=lambda op: f"{op.method} {op.path}")
@pytest.mark.parametrize("name", ALL)
def test_a_token_opens_its_own_scope_alone(serve, operation, name):
    client, _ = serve(disagreements=Kept(), **ALL)
    answer = call(client, operation, bearer(ALL[name]))
    opens = name in ("api_token", "admin_token", f"{operation.access}_token")
    assert (answer.status_code == 403) != opens
    assert answer.status_code != 401


@pytest.mark.parametrize("operation", GUARDED, ids=lambda op: f"{op.method} {op.path}")
@pytest.mark.parametrize("only", SCOPES)
def test_a_scope_without_a_token_stays_open(serve, operation, only):
    client, _ = serve(disagreements=Kept(), **{f"{only}_token": TOKENS[f"{only}_token"]})
    assert (call(client, operation).status_code == 401) == (operation.access == only)


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op.access == ADMIN], ids=lambda op: op.path)
@pytest.mark.parametrize("name", [*TOKENS, "api_token"])
def test_no_scope_opens_administration(serve, operation, name):
    client, _ = serve(**ALL)
    answer = call(client, operation, bearer(ALL[name]))
    assert (answer.status_code, "ADMIN_TOKEN" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 401, "needs the scope feedback: send the header Authorization: Bearer <token> with FEEDBACK_TOKEN"),
        (bearer("nobody's"), 403, "the token is wrong: this call needs the scope feedback, which FEEDBACK_TOKEN opens"),
        (bearer("the-token-of-read"), 403, "the token is of another scope: this call needs the scope feedback"),
    ],
)
def test_a_refusal_names_the_scope_and_what_opens_it(serve, headers, status, said):
    client, _ = serve(read_token="the-token-of-read", feedback_token="the-token-of-feedback")
    answer = client.post("/feedback", json={}, headers=headers)
    assert answer.status_code == status
    assert said in answer.get_json()["error"]["message"]


class OneAnswer:
    """A log with one prediction."""

    row = LoggedAnswer(ID, 0, "v1", "weighted", "[1.0,2.0,3.0,4.0]", '{"v1":{"c":0}}', own_key="order-1")

    def page(self, *_):
        return HistoryPage((entry_of(self.row, None),), ID)

    def one(self, _name):
        return detail_of(self.row, None)


class OneCorrection:
    """An audit log with the correction of one outcome."""

    def audit(self, *_):
        changes = {f"actual of {ID}": Change("no", "yes")}
        return AuditPage((AuditEntry(seq=1, at="", actor="ann", action=CORRECT, changes=changes),), None)


def audited(serve, monkeypatch, token, **settings):
    client, services = serve(**settings)
    monkeypatch.setattr(type(services.decisions), "audit", OneCorrection.audit)
    return client.get("/audit", headers=bearer(ALL[token])).text


def test_the_audit_log_names_a_corrected_prediction_as_the_history_does(serve, monkeypatch):
    known = {"read_token": ALL["read_token"], "admin_token": ALL["admin_token"]}
    assert f'actual of {ID[:36]}"' in audited(serve, monkeypatch, "read_token", **known)
    assert f'actual of {ID}"' in audited(serve, monkeypatch, "admin_token", **known)


READS = ("/predictions/history", "/predictions?id=order-1", f"/predictions/{ID}", "/experiment/{id}/disagreements")


def read(serve, path, accept="application/json", token="read_token", **settings):
    client, services = serve(history=OneAnswer(), disagreements=Kept(listed(own_key="order-1")), **settings)
    headers = {**(bearer(ALL[token]) if token else {}), "Accept": accept}
    return client.get(path.format(id=services.live.configuration.experiment_id), headers=headers).text


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("path", READS)
def test_readers_get_nothing_that_open_feedback_accepts(serve, path, accept):
    text = read(serve, path, accept, read_token=ALL["read_token"])
    assert ID[:36] in text
    assert ID[:37] not in text
    assert "order-1" not in text


@pytest.mark.parametrize(
    ("token", "settings"),
    [
        (None, {}),
        (None, {"feedback_token": ALL["feedback_token"]}),
        ("read_token", {"read_token": ALL["read_token"], "feedback_token": ALL["feedback_token"]}),
        ("read_token", {"read_token": ALL["read_token"], "api_token": ALL["api_token"]}),
        ("api_token", {"api_token": ALL["api_token"]}),
        ("admin_token", {"read_token": ALL["read_token"], "admin_token": ALL["admin_token"]}),
    ],
)
@pytest.mark.parametrize("path", READS)
def test_ids_are_whole_where_feedback_is_held_or_everything_is_open(serve, path, token, settings):
    text = read(serve, path, token=token, **settings)
    assert ID in text
    assert "order-1" in text
