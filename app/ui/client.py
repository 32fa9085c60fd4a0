"""The API as typed calls. Each raises the errors of `app.ui.transport`; reads are retried, writes never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from app.ui.experiment_records import ApiDrift, ApiDriftTimeline, ApiExperiment, ApiTimeline
from app.ui.records import (
    ApiAudit,
    ApiBatchPrediction,
    ApiConfiguration,
    ApiHealth,
    ApiHistoryPage,
    ApiModels,
    ApiPrediction,
    ApiReceipt,
)
from app.ui.row_records import ApiBreakdown, ApiDisagreements, ApiExperiments
from app.ui.transport import ApiConnection, NotUnderstood, Reply, Transport, decoded, failure_of

Record = TypeVar("Record")
Row = Mapping[str, object] | Sequence[object]


class ApiClient:
    """The calls that the pages make."""

    def __init__(self, connection: ApiConnection) -> None:
        self.public_url = connection.public_url or connection.url
        self.predicting_with = connection.predicting_with
        self._http = Transport(connection)

    def models(self) -> ApiModels:
        """The versions in the model registry."""
        return self._read("/models", ApiModels)

    def configuration(self) -> ApiConfiguration:
        """The active configuration."""
        return self._read("/config", ApiConfiguration)

    def configuration_of(self, experiment: str) -> ApiConfiguration:
        """The last configuration of any experiment, with its terms; from a release without it, that of now."""
        return self._read("/config", ApiConfiguration, {"experiment": experiment})

    def experiment(self) -> ApiExperiment:
        """The running experiment's report."""
        return self._read("/experiment", ApiExperiment)

    def timeline(self) -> ApiTimeline:
        """The running experiment's timeline: up to 200 points for each comparison."""
        return self._read("/experiment/timeline", ApiTimeline, {"points": 200})

    def experiments(self) -> ApiExperiments:
        """The newest 100 experiments."""
        return self._read("/experiments", ApiExperiments)

    def past_experiment(self, experiment: str) -> ApiExperiment:
        """The report of any experiment; of one that has ended it is the final one."""
        return self._read(f"/experiments/{quote(experiment, safe='')}", ApiExperiment)

    def past_timeline(self, experiment: str) -> ApiTimeline:
        """The timeline of any experiment."""
        return self._read("/experiment/timeline", ApiTimeline, {"points": 200, "id": experiment})

    def breakdown(self, experiment: str, asked: Mapping[str, object]) -> ApiBreakdown:
        """A comparison by class or by a feature; `asked` are the parameters of the call."""
        return self._read(_of_experiment(experiment, "breakdown"), ApiBreakdown, asked)

    def disagreements(self, experiment: str, asked: Mapping[str, object]) -> ApiDisagreements:
        """A page of the rows that two versions answered differently; `asked` are the parameters of the call."""
        return self._read(_of_experiment(experiment, "disagreements"), ApiDisagreements, asked)

    def disagreements_csv(self, experiment: str, asked: Mapping[str, object]) -> bytes:
        """The same page as a table for a spreadsheet."""
        path = _of_experiment(experiment, "disagreements")
        reply = self._http.read(path, asked, accept="text/csv")
        if reply.status != 200:
            raise failure_of(reply, path)
        return reply.body

    def audit(self) -> ApiAudit:
        """The newest 50 decisions."""
        return self._read("/audit", ApiAudit, {"limit": 50})

    def audit_of(self, experiment: str) -> ApiAudit:
        """The newest 200 decisions on one experiment, with the evidence of then."""
        return self._read("/audit", ApiAudit, {"limit": 200, "experiment": experiment})

    def drift(self) -> ApiDrift:
        """The traffic against the champion's training data."""
        return self._read("/drift", ApiDrift)

    def drift_timeline(self) -> ApiDriftTimeline:
        """The champion's drift timeline: up to 200 points."""
        return self._read("/drift/timeline", ApiDriftTimeline, {"points": 200})

    def history(self, limit: int = 50) -> ApiHistoryPage:
        """The newest served predictions."""
        return self._read("/predictions/history", ApiHistoryPage, {"limit": limit})

    def health(self) -> ApiHealth:
        """The service's state, also when it is unhealthy (503)."""
        reply = self._http.read("/health")
        if reply.status == 503:
            try:
                return _typed(reply, "/health", ApiHealth)
            except NotUnderstood:
                raise failure_of(reply, "/health") from None
        return _result(reply, "/health", ApiHealth)

    def metrics(self) -> str:
        """The metrics in Prometheus' text format."""
        reply = self._http.read("/metrics")
        if reply.status != 200:
            raise failure_of(reply, "/metrics")
        return reply.body.decode("utf-8", "replace")

    def check_token(self, token: str) -> None:
        """Whether the administrative token is accepted (`CallRefused`, 403, where not): a patch of nothing."""
        self._write("PATCH", "/config", {}, dict, token=token)

    def predict(
        self, features: Row, version: str | None = None, user_id: str | None = None, *, counts: bool = True
    ) -> ApiPrediction:
        """The answer to one row. With a forced `version`, or without `counts`, it is no evidence."""
        body, headers = asking(features, version, user_id, counts=counts)
        sent = {name: _as_sent(value) for name, value in headers.items()}
        return self._write("POST", "/predict", body, ApiPrediction, headers=sent)

    def predict_batch(
        self, rows: Sequence[Row], version: str | None = None, *, counts: bool = True
    ) -> ApiBatchPrediction:
        """The answers to rows in their order; `version` and `counts` as for one."""
        headers = {**forcing(version), **marking(counts)}
        return self._write("POST", "/predict/batch", {"instances": rows}, ApiBatchPrediction, headers=headers)

    def feedback(self, prediction_id: str, actual: str | float) -> ApiReceipt:
        """Send the true label; the outcome is durable once this returns."""
        return self._write("POST", "/feedback", {"prediction_id": prediction_id, "actual": actual}, ApiReceipt)

    def send_labels(self, csv: bytes) -> ApiReceipt:
        """Send outcomes in CSV: each that can be is accepted, and the receipt says what became of every one."""
        return _result(self._http.send_csv("/feedback?partial=true", csv), "/feedback", ApiReceipt)

    def send_outcomes(self, labels: Sequence[tuple[str, str | float]]) -> ApiReceipt:
        """Send labels by prediction id; the receipt says what became of every one."""
        items = [{"prediction_id": key, "actual": label} for key, label in labels]
        return self._write("POST", "/feedback?partial=true", {"feedback": items}, ApiReceipt)

    def decide(self, token: str, action: str, version: str | None, note: str, actor: str | None = None) -> None:
        """Promote, roll back or keep."""
        body = {"action": action, "note": note, **({"version": version} if version else {})}
        self._write("POST", "/experiment/decision", body, dict, token=token, headers=signed(actor))

    def change_split(
        self, token: str, weights: Mapping[str, float], epoch: int, note: str, actor: str | None = None
    ) -> None:
        """Set the split, unless somebody changed the configuration since `epoch` (`CallRefused`, 409)."""
        body = {"weights": dict(weights), "epoch": epoch, "note": note}
        self._write("PATCH", "/config", body, dict, token=token, headers=signed(actor))

    def begin_experiment(
        self, token: str, terms: Mapping[str, object], epoch: int, note: str, actor: str | None = None
    ) -> None:
        """End the running experiment and begin another with `terms`, unless somebody changed the configuration."""
        body = {"new_experiment": True, **terms, "epoch": epoch, "note": note}
        self._write("PATCH", "/config", body, dict, token=token, headers=signed(actor))

    def start_ramp(
        self,
        token: str,
        version: str,
        steps: Sequence[float],
        every_seconds: int,
        epoch: int,
        note: str,
        actor: str | None = None,
    ) -> None:
        """Raise the share of `version` by `steps`, unless somebody changed the configuration since `epoch`."""
        ramp = {"version": version, "steps": list(steps), "every_seconds": every_seconds}
        body = {"ramp": ramp, "epoch": epoch, "note": note}
        self._write("PATCH", "/config", body, dict, token=token, headers=signed(actor))

    def end_ramp(self, token: str, note: str, actor: str | None = None) -> None:
        """End the running ramp; the split stays at its present step. A stop is for any revision."""
        body = {"ramp": None, "note": note}
        self._write("PATCH", "/config", body, dict, token=token, headers=signed(actor))

    def acknowledge_drift(self, token: str) -> None:
        """Acknowledge the drift alarm; the detector starts again."""
        self._write("POST", "/drift/acknowledge", {}, dict, token=token)

    def _read(self, path: str, kind: type[Record], query: Mapping[str, object] | None = None) -> Record:
        return _result(self._http.read(path, query), path, kind)

    def _write(self, method: str, path: str, body: object, kind: type[Record], **options: Any) -> Record:
        return _result(self._http.write(method, path, body, **options), path, kind)


def _of_experiment(experiment: str, what: str) -> str:
    return f"/experiment/{quote(experiment, safe='')}/{what}"


def forcing(version: str | None) -> dict[str, str]:
    """The header that forces a version; empty when the split chooses."""
    return {"X-Model-Version": version} if version else {}


def marking(counts: bool) -> dict[str, str]:
    """The header that keeps a request out of experiment and drift; empty where it counts."""
    return {} if counts else {"X-Traffic-Kind": "synthetic"}


def asking(
    features: Row, version: str | None, user_id: str | None, *, counts: bool = True
) -> tuple[dict[str, object], dict[str, str]]:
    """The body and the headers of `POST /predict`. A feature called `user_id` leaves the header to name the user."""
    headers = {**forcing(version), **marking(counts)}
    body: dict[str, object] = {"features": features}
    if user_id:
        if "user_id" in features:
            headers["X-User-Id"] = user_id
        else:
            body["user_id"] = user_id
    return body, headers


def signed(actor: str | None) -> dict[str, str]:
    """The header that names the person who decides."""
    return {"X-Actor": _as_sent(actor)} if actor else {}


def _as_sent(header: str) -> str:
    # HTTP headers are bytes, which requests sends as Latin-1; the API reads them as UTF-8.
    return header.encode().decode("latin-1")


def _result(reply: Reply, path: str, kind: type[Record]) -> Record:
    if not 200 <= reply.status < 300:
        raise failure_of(reply, path)
    return _typed(reply, path, kind)


def _typed(reply: Reply, path: str, kind: type[Record]) -> Record:
    record: Record = decoded(reply, path, kind)
    return record
