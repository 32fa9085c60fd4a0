"""The settings, read once from the environment; no other module reads environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from app import environment
from app.domain.experiment import GUARDRAIL_SLOW, MIN_DURATION_S, UNITS, normalised
from app.errors import InvalidRequest, SettingError
from app.scoring.table import METRICS
from app.tokens import ADMINS_FILE, Administrator, Tokens, administrators, with_files

SERVERS = ("loop", "threads")
AUTO_DECIDE = ("off", "rollback", "promote", "both")
_WEIGHT_VARIABLE = re.compile(r"MODEL_([A-Z0-9_]+)_WEIGHT")
_DEFAULT_WEIGHTS = {"v1": 50.0, "v2": 50.0}
# Litestream checkpoints the log at 1,000 pages. If a commit of ours does so beside it, the copy that it restores can be
# corrupt. At 256 MiB one does: then Litestream has stopped, and the disk must not fill.
_PAGES_BESIDE_LITESTREAM = 65_536


class MlflowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The MLflow tracking server, what training is logged as there, and who logs it."""

    uri: str
    experiment: str
    model: str
    username: str | None = None
    password: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        """Without what is secret: the address may hold a password."""
        return f"MlflowSettings({self.experiment}, {self.model})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its type and default. `.env.example` explains each variable."""

    host: str = "127.0.0.1"
    published_on: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    admin_bind: tuple[str, int] | None = None
    admin_published_on: tuple[str, int] | None = None
    api_port: int = 5000
    ui_port: int = 8501
    prometheus_port: int = 9090
    model_dir: Path = Path("models")
    model_bucket: str | None = None
    aws: Mapping[str, str] = msgspec.field(default_factory=dict)
    model_name: str | None = None
    data_dir: Path = Path("data")
    deployment_key_file: Path | None = None
    database_url: str | None = None
    database_connections: int | None = None
    litestream_bucket: str | None = None
    archive_to: str | None = None
    keep_log_s: float | None = None
    shared_metrics: Path | None = None
    drain_file: Path | None = None
    server: str = "loop"
    workers: int = 2
    threads: int = 8
    queued_requests: int = 64
    api_url: str = "http://127.0.0.1:5000"
    public_api_url: str | None = None
    admin_token: str | None = None
    administrators: tuple[Administrator, ...] = ()
    trust_forwarded_for: bool = False
    api_token: str | None = None
    predict_token: str | None = None
    read_token: str | None = None
    feedback_token: str | None = None
    weights: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(_DEFAULT_WEIGHTS))
    drift_threshold: float = 0.1
    auto_decide: str = "rollback"
    notify_webhook_url: str | None = None
    mlflow_uri: str | None = None
    mlflow_experiment: str = "bakeoff"
    mlflow_model: str = "bakeoff"
    mlflow_username: str | None = None
    mlflow_password: str | None = None
    mlflow_token: str | None = None
    labels_exogenous: bool = False
    log_level: str = "INFO"
    log_format: str = "auto"
    experiment_metric: str | None = None
    experiment_metrics: tuple[str, ...] = ()
    reward_range: tuple[float, float] | None = (0.0, 1.0)
    reward_triggered: bool = False
    error_range: tuple[float, float] | None = None
    positive_class: str | None = None
    cost_matrix: Mapping[str, Mapping[str, float]] | None = None
    experiment_alpha: float = 0.05
    experiment_unit: str = "auto"
    reward_window_s: float | None = None
    guardrail_slow: str = GUARDRAIL_SLOW
    min_duration_s: float = MIN_DURATION_S
    equivalence_margin: float | None = None
    min_effect: float | None = None
    baseline: str | None = None
    max_body_bytes: int = 8 * 1024 * 1024
    max_batch_rows: int = 100_000
    recorder_queue_rows: int = 200_000
    breaker_failures: int = 3
    breaker_open_s: float = 60.0

    @property
    def store_url(self) -> str:
        """The URL of the store, for SQLAlchemy."""
        if self.database_url is not None:
            if self.database_connections is None or self.database_url.startswith("sqlite"):
                return self.database_url
            sign = "&" if "?" in self.database_url else "?"
            return f"{self.database_url}{sign}connections={self.database_connections}"
        query = f"?checkpoint_pages={_PAGES_BESIDE_LITESTREAM}" if self.litestream_bucket else ""
        return f"sqlite:///{self.data_dir / 'bakeoff.sqlite'}{query}"

    @property
    def registry(self) -> str:
        """Where the model registry is, for messages. `model_dir` is where it is read: on S3 a copy."""
        return self.model_bucket or str(self.model_dir)

    @property
    def key_file(self) -> Path:
        """Where the deployment's key is, or would be made."""
        return self.deployment_key_file or self.data_dir / "keys" / "deployment.key"

    @property
    def key_setting(self) -> str:
        """The variable that says where the deployment's key is, for messages."""
        return "DATA_DIR" if self.deployment_key_file is None else "DEPLOYMENT_KEY_FILE"

    @property
    def mlflow(self) -> MlflowSettings | None:
        """The MLflow tracking server that is told of trainings and promotions; None if none is set."""
        if self.mlflow_uri is None:
            return None
        return MlflowSettings(
            uri=self.mlflow_uri,
            experiment=self.mlflow_experiment,
            model=self.mlflow_model,
            username=self.mlflow_username,
            password=self.mlflow_password,
            token=self.mlflow_token,
        )

    @property
    def tokens(self) -> Tokens:
        """The tokens, and what each opens."""
        return Tokens(
            admin=self.admin_token,
            administrators=self.administrators,
            api=self.api_token,
            predict=self.predict_token,
            read=self.read_token,
            feedback=self.feedback_token,
        )

    @property
    def metrics_dir(self) -> Path:
        """The directory in which the workers of one api share their metric values.

        Two apis on one `data_dir` need one each, or they would count into each other's files.
        """
        return self.shared_metrics or self.data_dir / "metrics"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings from `environ` (default: the process's). Raises `SettingError` that names the variable."""
        env = with_files(os.environ if environ is None else environ)
        values = {
            field: parse(env, variable)
            for field, (variable, parse) in _VARIABLES.items()
            if environment.given(env, variable)
        }
        values["weights"] = _weights(env)
        if "keep_log_s" in values and "archive_to" not in values:
            raise SettingError(
                "KEEP_LOG", "say with ARCHIVE_TO where rows go that are older: a folder, or s3://BUCKET/PREFIX"
            )
        bucket = values.get("model_dir")
        if isinstance(bucket, str):
            values["model_dir"] = values.get("data_dir", Path("data")) / "registry"
            values |= {"model_bucket": bucket, "aws": {name: env[name] for name in env if name.startswith("AWS_")}}
        place = values.get("archive_to")
        if place is not None and environment.looks_remote(place) and not re.fullmatch(r"s3://[^/]+(/.*)?", str(place)):
            raise SettingError("ARCHIVE_TO", f"{place!r} is neither a folder nor s3://BUCKET/PREFIX")
        values.setdefault("workers", os.cpu_count() or 1)
        port = values.get("api_port", 5000)
        if values.get("admin_bind", ("", 0))[1] == port:
            raise SettingError("ADMIN_BIND", f"port {port} is API_PORT: give another one")
        values.setdefault("api_url", url_of(*values.get("admin_bind", ("127.0.0.1", port))))
        return cls(**values)


def url_of(host: str, port: int) -> str:
    """Where this host reaches what listens on that address."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 # nosec B104 - compared, not bound
    return f"http://{address_of(host, port)}"


def address_of(host: str, port: int) -> str:
    """`HOST:PORT`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _weights(env: Mapping[str, str]) -> dict[str, float]:
    """The split of the environment: v1 and v2 have 50 unless set, other versions have weight only if set."""
    weights = dict(_DEFAULT_WEIGHTS)
    named = {}
    for variable in sorted(env):
        match = _WEIGHT_VARIABLE.fullmatch(variable)
        if match and environment.given(env, variable):
            version = match[1].lower()
            weights[version] = environment.number(env, variable, minimum=0)
            named[version] = variable
    try:
        normalised(weights)
    except InvalidRequest as error:
        culprit = ", ".join(named[version] for version in sorted(named)) or "MODEL_V1_WEIGHT"
        raise SettingError(culprit, error.message) from error
    return weights


_PORT = environment.integer(1, 65535)
_VARIABLES: dict[str, tuple[str, Callable[[Mapping[str, str], str], Any]]] = {
    "host": ("HOST", environment.text_of),
    "published_on": ("PUBLISHED_ON", environment.hosts),
    "allowed_hosts": ("ALLOWED_HOSTS", environment.host_names),
    "admin_bind": ("ADMIN_BIND", environment.address),
    "admin_published_on": ("ADMIN_PUBLISHED_ON", environment.address),
    "api_port": ("API_PORT", _PORT),
    "ui_port": ("UI_PORT", _PORT),
    "prometheus_port": ("PROMETHEUS_PORT", _PORT),
    "model_dir": ("MODEL_DIR", environment.place),
    "model_name": ("MODEL_NAME", environment.model_name),
    "data_dir": ("DATA_DIR", environment.path),
    "deployment_key_file": ("DEPLOYMENT_KEY_FILE", environment.path),
    "database_url": ("DATABASE_URL", environment.text_of),
    "database_connections": ("DATABASE_CONNECTIONS", environment.integer(1, 100)),
    "litestream_bucket": ("LITESTREAM_BUCKET", environment.text_of),
    "archive_to": ("ARCHIVE_TO", environment.text_of),
    "keep_log_s": ("KEEP_LOG", environment.kept),
    "shared_metrics": ("METRICS_DIR", environment.path),
    "drain_file": ("DRAIN_FILE", environment.path),
    "server": ("SERVER", environment.one_of(*SERVERS)),
    "workers": ("WEB_CONCURRENCY", environment.integer(1, 256)),
    "threads": ("WEB_THREADS", environment.integer(1, 1024)),
    "queued_requests": ("MAX_QUEUED_REQUESTS", environment.integer(1, 100_000)),
    "api_url": ("API_URL", environment.text_of),
    "public_api_url": ("PUBLIC_API_URL", environment.text_of),
    "admin_token": ("ADMIN_TOKEN", environment.text_of),
    "administrators": (ADMINS_FILE, lambda env, variable: administrators(env[variable].strip())),
    "trust_forwarded_for": ("TRUST_FORWARDED_FOR", environment.flag),
    "api_token": ("API_TOKEN", environment.text_of),
    "predict_token": ("PREDICT_TOKEN", environment.text_of),
    "read_token": ("READ_TOKEN", environment.text_of),
    "feedback_token": ("FEEDBACK_TOKEN", environment.text_of),
    "drift_threshold": ("DRIFT_THRESHOLD", environment.real(0, 1)),
    "auto_decide": ("AUTO_DECIDE", environment.one_of(*AUTO_DECIDE)),
    "notify_webhook_url": ("NOTIFY_WEBHOOK_URL", environment.text_of),
    "mlflow_uri": ("MLFLOW_TRACKING_URI", environment.text_of),
    "mlflow_experiment": ("MLFLOW_EXPERIMENT_NAME", environment.text_of),
    "mlflow_model": ("MLFLOW_REGISTERED_MODEL_NAME", environment.text_of),
    "mlflow_username": ("MLFLOW_TRACKING_USERNAME", environment.text_of),
    "mlflow_password": ("MLFLOW_TRACKING_PASSWORD", environment.text_of),
    "mlflow_token": ("MLFLOW_TRACKING_TOKEN", environment.text_of),
    "labels_exogenous": ("LABELS_EXOGENOUS", environment.flag),
    "log_level": ("LOG_LEVEL", environment.one_of("DEBUG", "INFO", "WARNING", "ERROR", upper=True)),
    "log_format": ("LOG_FORMAT", environment.one_of("auto", "json", "text")),
    "experiment_metric": ("EXPERIMENT_METRIC", environment.one_of(*METRICS)),
    "experiment_metrics": ("EXPERIMENT_METRICS", environment.some_of(*METRICS)),
    "reward_range": ("REWARD_RANGE", environment.pair),
    "reward_triggered": ("REWARD_TRIGGERED", environment.flag),
    "error_range": ("ERROR_RANGE", environment.pair),
    "positive_class": ("POSITIVE_CLASS", environment.text_of),
    "cost_matrix": ("COST_MATRIX", environment.costs),
    "experiment_alpha": ("EXPERIMENT_ALPHA", environment.real(1e-6, 0.5)),
    "experiment_unit": ("EXPERIMENT_UNIT", environment.one_of(*UNITS)),
    "min_duration_s": ("EXPERIMENT_MIN_DURATION", environment.span),
    "reward_window_s": ("REWARD_WINDOW", environment.window),
    "guardrail_slow": ("GUARDRAIL_SLOW", environment.slow),
    "equivalence_margin": ("EQUIVALENCE_MARGIN", environment.real(0)),
    "min_effect": ("MIN_EFFECT", environment.real(0)),
    "baseline": ("BASELINE", environment.version),
    "max_body_bytes": ("MAX_BODY_BYTES", environment.integer(1024, 128 * 1024 * 1024)),
    "max_batch_rows": ("MAX_BATCH_ROWS", environment.integer(1, 10_000_000)),
    "recorder_queue_rows": ("RECORDER_QUEUE_ROWS", environment.integer(1, 100_000_000)),
    "breaker_failures": ("BREAKER_FAILURES", environment.integer(1, 1000)),
    "breaker_open_s": ("BREAKER_OPEN_SECONDS", environment.real(0.1, 86400)),
}
