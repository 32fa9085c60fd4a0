"""What the dashboard shows of answering, and of what carries it."""

from __future__ import annotations

from panels import Panel, Query, Row

_FAULTS = "unavailable|not_ready|overloaded|draining|store_unavailable|model_failed|internal|other"


def _quantile(share: float) -> str:
    buckets = "sum by (version, le) (rate(prediction_latency_seconds_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


MODEL = Row(
    "Model",
    (
        Panel(
            "Requests",
            "Predict requests a second that each version answered.",
            "reqps",
            (Query("sum by (version) (rate(model_version_requests_total[$__rate_interval]))", "{{version}}"),),
        ),
        Panel(
            "Requests without a prediction",
            "By reason; those that are the callers' own mistakes are among them.",
            "reqps",
            (Query('sum by (reason) (rate(prediction_errors_total{version="none"}[$__rate_interval]))', "{{reason}}"),),
        ),
        Panel(
            "Faults of the service",
            "Share of the requests that failed through no fault of the caller's. The budget is 0.1 %.",
            "percentunit",
            (
                Query(
                    f'sum(rate(prediction_errors_total{{version="none", reason=~"{_FAULTS}"}}[5m]))'
                    " / (sum(rate(prediction_requests_total[5m])) > 0)",
                    "faults",
                ),
            ),
            limit=0.001,
        ),
        Panel(
            "Failures of versions",
            "Times a version could not answer and another did, by version and reason; and in shadow.",
            "ops",
            (
                Query(
                    'sum by (version, reason) (rate(prediction_errors_total{version!="none"}[$__rate_interval]))',
                    "{{version}} {{reason}}",
                ),
                Query("sum by (version) (rate(shadow_errors_total[$__rate_interval]))", "{{version}} in shadow"),
            ),
        ),
        Panel(
            "Latency p50 and p95",
            "From the parsed request to the result.",
            "s",
            (Query(_quantile(0.5), "{{version}} p50"), Query(_quantile(0.95), "{{version}} p95")),
        ),
        Panel(
            "Latency p99",
            "From the parsed request to the result; above 250 ms for 5 minutes an alert is raised.",
            "s",
            (Query(_quantile(0.99), "{{version}} p99"),),
        ),
    ),
)

INFRASTRUCTURE = Row(
    "Infrastructure",
    (
        Panel(
            "Targets that answer",
            "Containers of each part that Prometheus reaches.",
            "none",
            (Query("sum by (job) (up)", "{{job}}"),),
            span=6,
        ),
        Panel(
            "Alerts that fire",
            "By severity; what each means and what to do is in docs/runbooks.md.",
            "none",
            (
                Query('count(ALERTS{alertstate="firing", severity="critical"}) or vector(0)', "critical"),
                Query('count(ALERTS{alertstate="firing", severity="warning"}) or vector(0)', "warning"),
            ),
            span=6,
        ),
        Panel("Workers", "Processes that serve.", "none", (Query("sum(api_workers)", "workers"),), span=6),
        Panel(
            "Edge",
            "Answers of the edge proxy a second, by class of status.",
            "reqps",
            (
                Query(
                    'sum by (code) (rate(haproxy_frontend_http_responses_total{proxy="clients"}[$__rate_interval]))',
                    "{{code}}",
                ),
            ),
            span=6,
        ),
        Panel(
            "Age of the monitor's state",
            "Seconds since it last had taken in all of the log; above 60 an alert is raised.",
            "s",
            (Query("min(model_drift_state_age_seconds)", "age"),),
            limit=60,
            span=6,
        ),
        Panel(
            "Recorder",
            "Rows that wait to be written; rows dropped, and rows logged without the other versions' answers.",
            "short",
            (
                Query("sum(recorder_queue_rows)", "waiting"),
                Query("sum(increase(predictions_dropped_total[5m]))", "dropped in 5 min"),
                Query("sum(increase(shadow_rows_shed_total[5m]))", "without shadow in 5 min"),
            ),
            span=6,
        ),
        Panel(
            "Turned away, failed, shut off",
            "Requests shed, writes the store did not take, and versions whose circuit breaker is open.",
            "short",
            (
                Query("sum(increase(requests_shed_total[5m]))", "shed in 5 min"),
                Query("sum(increase(store_write_failures_total[5m]))", "failed writes in 5 min"),
                Query("max by (version) (circuit_breaker_open)", "{{version}} open"),
            ),
            span=6,
        ),
        Panel(
            "Store",
            "The share of DATA_DIR's disk that is free, and whether the store takes a write (1).",
            "percentunit",
            (
                Query("min(data_disk_free_bytes / data_disk_size_bytes)", "free"),
                Query("min(store_writable)", "writable"),
            ),
            limit=0.1,
            span=6,
        ),
    ),
)
