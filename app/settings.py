"""The settings, read once from the environment; no other module reads environment variables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.domain.contract import VERSION_NAME
from app.domain.experiment import GUARDRAIL_SLOW, LONGEST_WINDOW_S, MIN_DURATION_S, UNITS, normalised, slow_limit
from app.errors import InvalidRequest, SettingError
from app.scoring.cost import CostMatrix, cost_matrix
from app.scoring.table import METRICS

AUTO_DECIDE = ("off", "rollback", "promote", "both")
_WEIGHT_VARIABLE = re.compile(r"MODEL_([A-Z0-9_]+)_WEIGHT")
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DEFAULT_WEIGHTS = {"v1": 50.0, "v2": 50.0}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its type and default. `.env.example` explains each variable."""

    host: str = "127.0.0.1"
    api_port: int = 5000
    ui_port: int = 8501
    prometheus_port: int = 9090
    model_dir: Path = Path("models")
    data_dir: Path = Path("data")
    database_url: str | None = None
    shared_metrics: Path | None = None
    drain_file: Path | None = None
    workers: int = 2
    threads: int = 8
    queued_requests: int = 64
    api_url: str = "http://127.0.0.1:5000"
    public_api_url: str | None = None
    admin_token: str | None = None
    api_token: str | None = None
    weights: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(_DEFAULT_WEIGHTS))
    drift_threshold: float = 0.1
    auto_decide: str = "rollback"
    notify_webhook_url: str | None = None
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
        return self.database_url or f"sqlite:///{self.data_dir / 'bakeoff.sqlite'}"

    @property
    def metrics_dir(self) -> Path:
        """The directory in which the workers of one api share their metric values.

        Two apis on one `data_dir` need one each, or they would count into each other's files.
        """
        return self.shared_metrics or self.data_dir / "metrics"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings from `environ` (default: the process's). Raises `SettingError` that names the variable."""
        env = os.environ if environ is None else environ
        values = {
            field: parse(env, variable) for field, (variable, parse) in _VARIABLES.items() if _given(env, variable)
        }
        values["weights"] = _weights(env)
        values.setdefault("workers", os.cpu_count() or 1)
        values.setdefault("api_url", f"http://127.0.0.1:{values.get('api_port', 5000)}")
        return cls(**values)


def _given(env: Mapping[str, str], variable: str) -> bool:
    # Compose passes an unset variable on as an empty string.
    return env.get(variable, "").strip() != ""


def _weights(env: Mapping[str, str]) -> dict[str, float]:
    """The split of the environment: v1 and v2 have 50 unless set, other versions have weight only if set."""
    weights = dict(_DEFAULT_WEIGHTS)
    named = {}
    for variable in sorted(env):
        match = _WEIGHT_VARIABLE.fullmatch(variable)
        if match and _given(env, variable):
            version = match[1].lower()
            weights[version] = _number(env, variable, minimum=0)
            named[version] = variable
    try:
        normalised(weights)
    except InvalidRequest as error:
        culprit = ", ".join(named[version] for version in sorted(named)) or "MODEL_V1_WEIGHT"
        raise SettingError(culprit, error.message) from error
    return weights


def _number(env: Mapping[str, str], variable: str, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    text = env[variable].strip()
    try:
        value = float(text)
    except ValueError:
        raise SettingError(variable, f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise SettingError(variable, f"{text!r} is not a finite number")
    if not minimum <= value <= maximum:
        bound = f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
        raise SettingError(variable, f"{text} is not {bound}")
    return value


def _float(minimum: float = -math.inf, maximum: float = math.inf) -> Callable[[Mapping[str, str], str], float]:
    return lambda env, variable: _number(env, variable, minimum, maximum)


def _integer(minimum: int, maximum: int) -> Callable[[Mapping[str, str], str], int]:
    def parse(env: Mapping[str, str], variable: str) -> int:
        value = _number(env, variable, minimum, maximum)
        if value != int(value):
            raise SettingError(variable, f"{env[variable]!r} is not a whole number")
        return int(value)

    return parse


def _text(env: Mapping[str, str], variable: str) -> str:
    return env[variable].strip()


def _path(env: Mapping[str, str], variable: str) -> Path:
    return Path(env[variable].strip())


def _flag(env: Mapping[str, str], variable: str) -> bool:
    text = env[variable].strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise SettingError(variable, f"{text!r} is not a truth value: use true or false")


def _one_of(*choices: str, upper: bool = False) -> Callable[[Mapping[str, str], str], str]:
    def parse(env: Mapping[str, str], variable: str) -> str:
        text = env[variable].strip()
        text = text.upper() if upper else text.lower()
        if text not in choices:
            raise SettingError(variable, f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _some_of(*choices: str) -> Callable[[Mapping[str, str], str], tuple[str, ...]]:
    def parse(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
        names = [name.strip().lower() for name in env[variable].split(",") if name.strip()]
        for name in names:
            if name not in choices:
                raise SettingError(variable, f"{name[:64]!r} is not one of {', '.join(choices)}")
        return tuple(dict.fromkeys(names))

    return parse


def _span(env: Mapping[str, str], variable: str) -> float:
    """A span of time in seconds. Only 0 needs no unit."""
    text = env[variable].strip().lower()
    match = _SPAN.fullmatch(text)
    if match is None or (not match[2] and float(match[1])):
        raise SettingError(variable, f"{text!r} is not a number with s, m, h or d, such as 7d, and not 0")
    return float(match[1]) * _SECONDS.get(match[2], 1.0)


def _window(env: Mapping[str, str], variable: str) -> float | None:
    """A span of time in seconds, above 0; None for `none`."""
    if env[variable].strip().lower() == "none":
        return None
    seconds = _span(env, variable)
    if not 0 < seconds <= LONGEST_WINDOW_S:
        raise SettingError(
            variable, f"{env[variable].strip()!r} is not above 0 and at most {LONGEST_WINDOW_S / 86_400:g}d"
        )
    return seconds


def _slow_limit(env: Mapping[str, str], variable: str) -> str:
    try:
        slow_limit(env[variable])
    except InvalidRequest as error:
        raise SettingError(variable, error.message) from error
    return env[variable].strip().lower()


def _range(env: Mapping[str, str], variable: str) -> tuple[float, float] | None:
    text = env[variable].strip()
    if text.lower() == "none":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(
            variable, f"{text!r} is not two numbers separated by a comma, such as 0,1, and not none"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError(variable, f"{text!r}: the first number must be below the second, both finite")
    return low, high


def _cost_matrix(env: Mapping[str, str], variable: str) -> CostMatrix:
    """The matrix, written out as JSON or in a file."""
    text = env[variable].strip()
    try:
        return cost_matrix(text if text.startswith("{") else Path(text).read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(variable, f"{text[:200]!r} is neither JSON nor a file that can be read: {reason}") from error
    except InvalidRequest as error:
        raise SettingError(variable, error.message) from error


def _version(env: Mapping[str, str], variable: str) -> str:
    text = env[variable].strip()
    if not VERSION_NAME.fullmatch(text):
        raise SettingError(variable, f"{text!r} is not a version name (lower-case letters, digits and _)")
    return text


_PORT = _integer(1, 65535)
_VARIABLES: dict[str, tuple[str, Callable[[Mapping[str, str], str], Any]]] = {
    "host": ("HOST", _text),
    "api_port": ("API_PORT", _PORT),
    "ui_port": ("UI_PORT", _PORT),
    "prometheus_port": ("PROMETHEUS_PORT", _PORT),
    "model_dir": ("MODEL_DIR", _path),
    "data_dir": ("DATA_DIR", _path),
    "database_url": ("DATABASE_URL", _text),
    "shared_metrics": ("METRICS_DIR", _path),
    "drain_file": ("DRAIN_FILE", _path),
    "workers": ("WEB_CONCURRENCY", _integer(1, 256)),
    "threads": ("WEB_THREADS", _integer(1, 1024)),
    "queued_requests": ("MAX_QUEUED_REQUESTS", _integer(1, 100_000)),
    "api_url": ("API_URL", _text),
    "public_api_url": ("PUBLIC_API_URL", _text),
    "admin_token": ("ADMIN_TOKEN", _text),
    "api_token": ("API_TOKEN", _text),
    "drift_threshold": ("DRIFT_THRESHOLD", _float(0, 1)),
    "auto_decide": ("AUTO_DECIDE", _one_of(*AUTO_DECIDE)),
    "notify_webhook_url": ("NOTIFY_WEBHOOK_URL", _text),
    "labels_exogenous": ("LABELS_EXOGENOUS", _flag),
    "log_level": ("LOG_LEVEL", _one_of("DEBUG", "INFO", "WARNING", "ERROR", upper=True)),
    "log_format": ("LOG_FORMAT", _one_of("auto", "json", "text")),
    "experiment_metric": ("EXPERIMENT_METRIC", _one_of(*METRICS)),
    "experiment_metrics": ("EXPERIMENT_METRICS", _some_of(*METRICS)),
    "reward_range": ("REWARD_RANGE", _range),
    "reward_triggered": ("REWARD_TRIGGERED", _flag),
    "error_range": ("ERROR_RANGE", _range),
    "positive_class": ("POSITIVE_CLASS", _text),
    "cost_matrix": ("COST_MATRIX", _cost_matrix),
    "experiment_alpha": ("EXPERIMENT_ALPHA", _float(1e-6, 0.5)),
    "experiment_unit": ("EXPERIMENT_UNIT", _one_of(*UNITS)),
    "min_duration_s": ("EXPERIMENT_MIN_DURATION", _span),
    "reward_window_s": ("REWARD_WINDOW", _window),
    "guardrail_slow": ("GUARDRAIL_SLOW", _slow_limit),
    "equivalence_margin": ("EQUIVALENCE_MARGIN", _float(0)),
    "min_effect": ("MIN_EFFECT", _float(0)),
    "baseline": ("BASELINE", _version),
    "max_body_bytes": ("MAX_BODY_BYTES", _integer(1024, 128 * 1024 * 1024)),
    "max_batch_rows": ("MAX_BATCH_ROWS", _integer(1, 10_000_000)),
    "recorder_queue_rows": ("RECORDER_QUEUE_ROWS", _integer(1, 100_000_000)),
    "breaker_failures": ("BREAKER_FAILURES", _integer(1, 1000)),
    "breaker_open_s": ("BREAKER_OPEN_SECONDS", _float(0.1, 86400)),
}
