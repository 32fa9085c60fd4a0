"""What a running api answers, in small; the shapes are those of the HTTP contract."""

from datetime import UTC, datetime

NOW = datetime.now(UTC).isoformat()
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
ROW = (5.1, 3.5, 1.4, 0.2)


def feature(name, **changes):
    base = {"name": name, "source_name": f"{name} (cm)", "kind": "numeric"}
    return {**base, "minimum": 0.1, "maximum": 8.0, "median": 3.0, **changes}


def model(version, **changes):
    return {
        "version": version,
        "aliases": ["champion"] if version == "v1" else [],
        "serving": True,
        "routed": True,
        "created_at": "2026-11-20T12:00:00Z",
        "estimator": "RandomForestClassifier",
        "runtime": "onnx",
        "sha256": "ab" * 32,
        "contract": {
            "task": "classification",
            "target": "species",
            "features": [feature(name) for name in FEATURES],
            "classes": ["setosa", "versicolor", "virginica"],
        },
        "metrics": {"holdout": {"accuracy": 0.96, "confusion_matrix": [[1]]}},
        "parity": {"rows": 20000, "flips": 0, "settled": 3, "largest_difference": 1e-7, "holds": True},
        "examples": [list(ROW), [6.2, 2.9, 4.3, 1.3]],
        **changes,
    }


MODELS = {"models": [model("v1"), model("v2")], "aliases": {"champion": "v1"}, "refused": {}}
PREDICTION = {
    "prediction_id": "id-1",
    "prediction": "setosa",
    "class_id": 0,
    "confidence": 0.98,
    "probabilities": {"setosa": 0.98, "versicolor": 0.02, "virginica": 0.0},
    "model_version": "v1",
    "assignment": "weighted",
    "latency_ms": 0.12,
    "timestamp": "2026-11-20T12:00:00.123456Z",
}
HISTORY = {
    "predictions": [
        {
            "prediction_id": "id-0",
            "timestamp": "2026-11-20T11:00:00.000000Z",
            "features": dict(zip(FEATURES, ROW, strict=True)),
            "prediction": "setosa",
            "confidence": 0.9,
            "model_version": "v2",
            "assignment": "sticky",
            "actual": "virginica",
        }
    ],
    "next": None,
}
CONFIG = {
    "epoch": 3,
    "weights": {"v1": 0.5, "v2": 0.5},
    "champion": "v1",
    "auto_decide": "rollback",
    "policy": "weighted",
    "metric": "accuracy",
    "unit": "auto",
    "reward_window_s": None,
    "guardrail_slow": "1.5x+1ms",
    "min_duration_s": 604800.0,
}


def variant(version, **changes):
    base = {"version": version, "weight": 0.5, "requests": 500, "labelled": 400, "mean": 0.93, "interval": [0.9, 0.95]}
    base |= {"mean_all": 0.914, "interval_all": [0.88, 0.94]}
    return {**base, "latency_ms": {"p50": 0.1, "p95": 0.2, "p99": 0.4}, **changes}


COMPARISON = {
    "challenger": "v2",
    "method": "paired",
    "n": 12,
    "difference": 0.021,
    "interval": [-0.1, 0.2],
    "e_value": 2.0,
    "log_e": 0.69,
    "p_value": 0.5,
    "probability_better": 0.9,
    "verdict": "undecided",
    "remaining": [38.0, 900.0],
    "wins": 3,
    "losses": 1,
    "improvement": 0.021,
    "unit": "request",
    "units": 12,
    "distinct_rows": 4,
    "both_right": 7,
    "only_baseline": 1,
    "only_challenger": 3,
    "both_wrong": 1,
    "missing": 2,
    "unlabelled_disagreements": 5,
    "warnings": ["all 13 losses come from 2 rows"],
    "adjusted_log_e": 0.69,
    "gate_log_e": -1.0,
}
EXPERIMENT = {
    "id": "e-1",
    "started": "2026-11-20T12:00:00Z",
    "state": "running",
    "metric": "accuracy",
    "alpha": 0.05,
    "baseline": "v1",
    "variants": [variant("v1"), variant("v2")],
    "comparisons": [COMPARISON],
    "checks": [{"name": "sample_ratio", "ok": True, "p_value": 0.4}, {"name": "label_rate", "ok": None}],
    "guardrails": [{"name": "errors", "ok": False, "version": "v2", "detail": "9 of 10 were v2's"}],
    "recommendation": {"action": "continue", "version": None, "reason": "It is too early to tell."},
    "computed_at": NOW,
}
TIMELINE = {
    "experiment_id": "e-1",
    "points": [
        {"challenger": "v2", "n": n, "at": NOW, "difference": 0.02, "interval": [-0.5 / n, 0.5 / n], "log_e": n / 20}
        for n in range(1, 13)
    ],
}
AUDIT = {
    "entries": [
        {
            "seq": 1,
            "at": "2026-11-20T12:00:00.000000Z",
            "actor": "ann",
            "action": "configure",
            "note": "half and half",
            "changes": {"weights": {"before": {"v1": 1.0}, "after": {"v1": 0.5, "v2": 0.5}}},
        }
    ],
    "next": None,
}


def part(level, **changes):
    base = {"level": level, "kind": "value", "requests": None, "labelled": 134, "n": 134, "baseline_mean": 0.97}
    base |= {"challenger_mean": 0.99, "improvement": 0.02, "interval": [-0.06, 0.1]}
    base |= {"both_right": 129, "only_baseline": 1, "only_challenger": 4, "both_wrong": 0}
    return {**base, **changes}


def of_classes(version, **changes):
    figures = {"precision": [1.0, None], "recall": [0.97, 0.96], "f1": [0.98, None]}
    return {"version": version, "confusion": [[130, 4], [0, 128]], "missing": [0, 0], **figures, **changes}


BREAKDOWN = {
    "baseline": "v1",
    "challenger": "v2",
    "by": "class",
    "metric": "accuracy",
    "higher_is_better": True,
    "exploratory": True,
    "alpha": 0.05,
    "note": "each labelled request counts",
    "features": ["petal_width", "colour"],
    "refused": {"comment": "is text"},
    "rows": [part("setosa"), part("versicolor", improvement=None, interval=None), part("(other)", labelled=0, n=0)],
    "all": part("all", interval=None, labelled=268),
    "classes": ["setosa", "versicolor"],
    "versions": [of_classes("v1"), of_classes("v2", missing=[0, 2])],
}
STREAM = {"score": 0.2, "evidence": 0.6, "missing": 0.0, "unseen": 0.0, "out_of_range": 0.1, "since": None}
DRIFT = {
    "version": "v1",
    "score": 0.2,
    "evidence": 1.0,
    "alarm": True,
    "alarms": 1,
    "since": "2026-11-20T12:00:00Z",
    "requests": 5012,
    "window": 500,
    "reference_rows": 120,
    "least_detectable_shift_sd": 0.4,
    "false_alarm_probability": {"requests": 10000, "at_most": 0.01},
    "features": [
        {
            **STREAM,
            "name": "petal_width",
            "kind": "numeric",
            "bins": [0, 1, 2],
            "reference": [0.5, 0.5],
            "live": [0.1, 0.8],
        },
        {
            **STREAM,
            "name": "colour",
            "kind": "categorical",
            "bins": ["red", "blue"],
            "reference": [0.4, 0.6],
            "live": None,
        },
    ],
    "joint": [{"name": "distance", "evidence": 0.3, "score": 0.1, "explanation": "How far rows are from the middle."}],
    "outputs": [
        {
            **STREAM,
            "name": "class",
            "kind": "categorical",
            "bins": ["a", "b"],
            "reference": [0.5, 0.5],
            "live": [0.5, 0.5],
        }
    ],
}
DRIFT_TIMELINE = {
    "version": "v1",
    "points": [
        {"requests": n, "timestamp": NOW, "score": n / 25000, "evidence": n / 5000, "alarm": n >= 5000}
        for n in range(20, 5001, 20)
    ],
    "alarm_evidence": 1.0,
    "false_alarm_probability": {"requests": 10000, "at_most": 0.01},
    "note": None,
}
RAMP = {
    "version": "v2",
    "steps": [0.01, 0.05, 0.25],
    "every_seconds": 3600,
    "step": 2,
    "next_step_at": "2026-11-20T13:00:00Z",
    "held": None,
}
HEALTH = {
    "status": "healthy",
    "models": {
        "v1": {"loaded": True, "circuit_breaker": "closed"},
        "v2": {"loaded": True, "circuit_breaker": "closed"},
    },
    "store": "ok",
    "monitor": {"state": "ok", "age_s": 1.5},
    "version": "0.1.0",
    "uptime_s": 4000.0,
}
METRICS = """# HELP prediction_requests_total Predict requests.
# TYPE prediction_requests_total counter
prediction_requests_total 120.0
model_version_requests_total{version="v1"} 70.0
model_version_requests_total{version="v2"} 50.0
prediction_errors_total{reason="model_failed",version="v1"} 2.0
prediction_latency_seconds_bucket{le="0.0001",version="v1"} 60.0
prediction_latency_seconds_bucket{le="0.001",version="v1"} 110.0
prediction_latency_seconds_bucket{le="+Inf",version="v1"} 120.0
"""
NORMAL = {
    "/models": MODELS,
    "/config": CONFIG,
    "/predict": PREDICTION,
    "/feedback": {"accepted": 1, "duplicates": 0},
    "/predictions/history": HISTORY,
    "/experiment": EXPERIMENT,
    "/experiment/timeline": TIMELINE,
    "/audit": AUDIT,
    "/drift": DRIFT,
    "/drift/timeline": DRIFT_TIMELINE,
    "/health": HEALTH,
    "/metrics": METRICS,
}
# What may be missing is missing, and what may be null is null.
PARTIAL = {
    "/models": {
        **MODELS,
        "models": [model("v1", metrics={}, parity={}, examples=[], aliases=[])],
        "refused": {"v9": "the signature is not this deployment's"},
    },
    "/predict": {key: PREDICTION[key] for key in ("prediction_id", "model_version", "assignment")}
    | {"prediction": 3.25},
    "/experiment": {
        **EXPERIMENT,
        "comparisons": [{"challenger": "v2", "method": "paired", "n": 3}],
        "checks": [],
        "guardrails": [],
        "computed_at": None,
    },
    "/health": {
        **HEALTH,
        "status": "degraded",
        "store": "the disk is full",
        "monitor": {"state": "absent", "age_s": None},
    },
}
