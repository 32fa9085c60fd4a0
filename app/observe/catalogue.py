"""Every metric: its name, kind, labels, buckets and help. A test compares them with `docs/metrics.md`."""

from __future__ import annotations

from typing import Literal

import msgspec

from app import errors
from app.domain.prediction import OWN_PROTOCOL

Kind = Literal["counter", "gauge", "histogram"]
Across = Literal["livemax", "livesum"]

# ONNX answers a row in tens of microseconds and scikit-learn in milliseconds: the buckets must resolve both.
LATENCY_BUCKETS_S = (
    *(50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 750e-6),
    *(1e-3, 1.5e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

# Those of `app.web.protocols` that predict; a test compares.
PROTOCOLS = (OWN_PROTOCOL, "mlflow", "kserve_v1", "oip_v2", "sagemaker")
NO_VERSION = "none"
OTHER_REASON = "other"
CIRCUIT_OPEN = "circuit_open"
MODEL_FAILED = "model_failed"
# Closed sets: a label whose text a client or a model chooses would have unbounded series.
VERSION_REASONS = (MODEL_FAILED, CIRCUIT_OPEN)
REFUSAL_REASONS = (
    errors.InvalidRequest.code,
    errors.MalformedJson.code,
    errors.InvalidFeatures.code,
    errors.UnknownVersion.code,
    errors.UnknownModel.code,
    errors.UnsupportedMedia.code,
    errors.TooLarge.code,
    errors.Unauthorised.code,
    errors.Forbidden.code,
    errors.AdminDisabled.code,
    errors.Unavailable.code,
    errors.NotReady.code,
    errors.Overloaded.code,
    errors.Draining.code,
    errors.StoreUnavailable.code,
    errors.ModelFailed.code,
    errors.BakeoffError.code,
    OTHER_REASON,
)


class Definition(msgspec.Struct, frozen=True):
    """One metric. `across`: how the gauges of the live workers are combined; None unless workers set it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    across: Across | None = None


PREDICTION_REQUESTS = Definition(
    "prediction_requests_total", "counter", ("protocol",), "Predict requests, answered or rejected."
)
VERSION_REQUESTS = Definition(
    "model_version_requests_total", "counter", ("version",), "Predict requests answered by this version."
)
LATENCY = Definition(
    "prediction_latency_seconds",
    "histogram",
    ("version",),
    "Seconds from the parsed request to the result, by the version that answered.",
)
ERRORS = Definition(
    "prediction_errors_total",
    "counter",
    ("version", "reason"),
    'Failures of a version; version="none" counts requests that got no prediction.',
)
EXPOSURES = Definition(
    "exposures_total", "counter", ("version",), "Exposures to this version that callers reported by POST /exposures."
)
SHADOW_ERRORS = Definition(
    "shadow_errors_total", "counter", ("version",), "Failures of a version while it ran in shadow."
)
BREAKER_OPEN = Definition(
    "circuit_breaker_open",
    "gauge",
    ("version",),
    "1 while a worker's circuit breaker for this version is open.",
    "livemax",
)
MODEL_INFO = Definition(
    "model_info", "gauge", ("version", "sha256"), "1 for each loaded version, with its artefact's checksum.", "livemax"
)
SHED = Definition("requests_shed_total", "counter", (), "Requests rejected because the service was overloaded.")
WRONG_TOKENS = Definition("wrong_tokens_total", "counter", (), "Calls that were refused because their token was wrong.")
SHADOW_SHED = Definition(
    "shadow_rows_shed_total", "counter", (), "Rows logged without the shadow versions' answers because of load."
)
DROPPED = Definition(
    "predictions_dropped_total",
    "counter",
    (),
    "Answered predictions that were not recorded because the queue was full.",
)
STORE_FAILURES = Definition(
    "store_write_failures_total", "counter", (), "Failed writes from the recorder to the store; they are retried."
)
QUEUE_ROWS = Definition(
    "recorder_queue_rows", "gauge", (), "Answered rows waiting to be recorded, over all workers.", "livesum"
)
STATE_FAILURES = Definition(
    "monitor_state_failures_total", "counter", (), "Scrapes that could not read the monitor's state."
)
WORKERS = Definition("api_workers", "gauge", (), "Running worker processes.", "livesum")

STORE_WRITABLE = Definition("store_writable", "gauge", (), "1 if a trial write to the store succeeded at the scrape.")
DISK_FREE = Definition("data_disk_free_bytes", "gauge", (), "Bytes available on the file system of DATA_DIR.")
DISK_SIZE = Definition("data_disk_size_bytes", "gauge", (), "Size of the file system of DATA_DIR, in bytes.")
LAST_BACKUP = Definition(
    "last_backup_timestamp_seconds", "gauge", (), "When the last backup was completed, in seconds since 1970."
)
LAST_ARCHIVE = Definition(
    "last_archive_timestamp_seconds", "gauge", (), "When the log was last archived, in seconds since 1970."
)
LAST_RESTORE_DRILL = Definition(
    "last_restore_drill_timestamp_seconds",
    "gauge",
    (),
    "When a backup was last restored to prove that it can be, in seconds since 1970.",
)

WEIGHT = Definition(
    "experiment_weight", "gauge", ("version",), "Share of the traffic that the configuration gives to the version."
)
FEEDBACK = Definition(
    "experiment_feedback_total", "counter", ("version",), "Accepted outcomes, by the version that answered."
)
LABELLED_MEAN = Definition(
    "experiment_labelled_mean",
    "gauge",
    ("version",),
    "Mean of the experiment's metric over the labelled answers that the version served.",
)
E_VALUE = Definition(
    "experiment_e_value",
    "gauge",
    ("challenger",),
    "E-value against no difference, not adjusted for other challengers; +Inf if too large for a float.",
)
DIFFERENCE = Definition(
    "experiment_difference", "gauge", ("challenger",), "How much better the challenger is, in the metric's units."
)
DIFFERENCE_LOW = Definition(
    "experiment_difference_low", "gauge", ("challenger",), "Lower end of the confidence interval of the difference."
)
DIFFERENCE_HIGH = Definition(
    "experiment_difference_high", "gauge", ("challenger",), "Upper end of the confidence interval of the difference."
)
E_VALUE_NEEDED = Definition("experiment_e_value_needed", "gauge", (), "E-value at which a verdict is reached: 1/alpha.")
UNITS = Definition(
    "experiment_units", "gauge", ("challenger",), "Units that voted on the challenger against the baseline."
)
MISSING_ANSWERS = Definition(
    "experiment_missing_answers",
    "gauge",
    ("challenger",),
    "Rows of the experiment that the challenger was asked and failed to answer.",
)
SAMPLE_RATIO_OK = Definition(
    "experiment_sample_ratio_ok", "gauge", (), "0 once the actual split is proven to differ from the weights."
)
LABEL_RATE_OK = Definition(
    "experiment_label_rate_ok", "gauge", (), "0 once versions are proven to be labelled at different rates."
)
GUARDRAIL_OK = Definition(
    "experiment_guardrail_ok",
    "gauge",
    ("version", "guardrail"),
    "0 once the version is proven to exceed this guardrail.",
)
DRIFT_SCORE = Definition(
    "model_drift_score", "gauge", (), "Lower bound on the share of recent traffic that is displaced (0 to 1)."
)
FEATURE_DRIFT_SCORE = Definition(
    "model_feature_drift_score", "gauge", ("feature",), "Lower bound on the displaced share for one feature (0 to 1)."
)
DRIFT_EVIDENCE = Definition("model_drift_evidence", "gauge", (), "Evidence of a change; 1 raises the alarm (0 to 1).")
DRIFT_ALARM = Definition("model_drift_alarm", "gauge", (), "1 from a proven change until it is acknowledged.")
DRIFT_ALARM_STREAMS = Definition(
    "model_drift_alarm_streams",
    "gauge",
    ("kind",),
    "Streams that raised the standing alarm: inputs, joint (inputs together), outputs or errors.",
)
STATE_AGE = Definition(
    "model_drift_state_age_seconds", "gauge", (), "Seconds since the monitor last caught up with the log."
)
MONITOR_LAG_ROWS = Definition(
    "monitor_lag_rows", "gauge", (), "Predictions and outcomes in the log that the monitor has not processed."
)
MONITOR_LAG_SECONDS = Definition(
    "monitor_lag_seconds", "gauge", (), "Seconds that the oldest row has waited for the monitor; 0 without one."
)

COUNTED = (
    *(PREDICTION_REQUESTS, VERSION_REQUESTS, LATENCY, ERRORS, EXPOSURES, SHADOW_ERRORS, BREAKER_OPEN, MODEL_INFO),
    *(SHED, WRONG_TOKENS, SHADOW_SHED, DROPPED, STORE_FAILURES, QUEUE_ROWS, STATE_FAILURES, WORKERS),
)
HOST = (STORE_WRITABLE, DISK_FREE, DISK_SIZE, LAST_BACKUP, LAST_ARCHIVE, LAST_RESTORE_DRILL)
DERIVED = (
    *(WEIGHT, FEEDBACK, LABELLED_MEAN, DIFFERENCE, DIFFERENCE_LOW, DIFFERENCE_HIGH, E_VALUE, E_VALUE_NEEDED),
    *(UNITS, MISSING_ANSWERS, SAMPLE_RATIO_OK, LABEL_RATE_OK, GUARDRAIL_OK),
    *(DRIFT_SCORE, FEATURE_DRIFT_SCORE, DRIFT_EVIDENCE, DRIFT_ALARM, DRIFT_ALARM_STREAMS, STATE_AGE),
    *(MONITOR_LAG_ROWS, MONITOR_LAG_SECONDS),
)
ALL = COUNTED + HOST + DERIVED


def version_reason(reason: str) -> str:
    """The label for a version's failure; everything that it raised is `model_failed`."""
    return reason if reason in VERSION_REASONS else MODEL_FAILED


def refusal_reason(code: str) -> str:
    """The label for an error's code; `other` if it is not in `REFUSAL_REASONS`."""
    return code if code in REFUSAL_REASONS else OTHER_REASON
