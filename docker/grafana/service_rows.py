"""The dashboard's rows about serving predictions and about the infrastructure."""

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
            "Predict requests per second, by the version that answered.",
            "reqps",
            (Query("sum by (version) (rate(model_version_requests_total[$__rate_interval]))", "{{version}}"),),
            span=6,
        ),
        Panel(
            "Requests by protocol",
            "Predict requests per second, answered or rejected, by the protocol of the call.",
            "reqps",
            (Query("sum by (protocol) (rate(prediction_requests_total[$__rate_interval]))", "{{protocol}}"),),
            span=6,
        ),
        Panel(
            "Requests without a prediction",
            "By reason; includes client errors.",
            "reqps",
            (Query('sum by (reason) (rate(prediction_errors_total{version="none"}[$__rate_interval]))', "{{reason}}"),),
            span=6,
        ),
        Panel(
            "Service errors",
            "Share of requests that failed because of the service. The error budget is 0.1 %.",
            "percentunit",
            (
                Query(
                    f'sum(rate(prediction_errors_total{{version="none", reason=~"{_FAULTS}"}}[5m]))'
                    " / (sum(rate(prediction_requests_total[5m])) > 0)",
                    "faults",
                ),
            ),
            limit=0.001,
            span=6,
        ),
        Panel(
            "Failures by version",
            "Failed predictions for which another version answered, by version and reason; and failures in shadow.",
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
            "From the parsed request to the result. LatencyHigh fires after 5 minutes above 250 ms.",
            "s",
            (Query(_quantile(0.99), "{{version}} p99"),),
        ),
    ),
)

INFRASTRUCTURE = Row(
    "Infrastructure",
    (
        Panel(
            "Targets up",
            "Containers of each service that Prometheus can scrape.",
            "none",
            (Query("sum by (job) (up)", "{{job}}"),),
            span=6,
        ),
        Panel(
            "Firing alerts",
            "By severity. docs/runbooks.md says what each one means and what to do.",
            "none",
            (
                Query('count(ALERTS{alertstate="firing", severity="critical"}) or vector(0)', "critical"),
                Query('count(ALERTS{alertstate="firing", severity="warning"}) or vector(0)', "warning"),
            ),
            span=6,
        ),
        Panel(
            "Workers",
            "Worker processes of all api containers.",
            "none",
            (Query("sum(api_workers)", "workers"),),
            span=6,
        ),
        Panel(
            "Edge proxy",
            "Responses per second, by status class.",
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
            "Time since the monitor last finished processing the log. Above 60 s, MonitorStale fires.",
            "s",
            (Query("min(model_drift_state_age_seconds)", "age"),),
            limit=60,
            span=6,
        ),
        Panel(
            "Rows that the monitor has not processed",
            "Predictions and outcomes in the log behind the monitor, which reports are without.",
            "short",
            (Query("min(monitor_lag_rows)", "rows"),),
            span=6,
        ),
        Panel(
            "Lag of the monitor",
            "How long the oldest of these rows has waited.",
            "s",
            (Query("min(monitor_lag_seconds)", "oldest row"),),
            limit=60,
            span=6,
        ),
        Panel(
            "Age of backup and archive",
            "Time since the last backup, archive and restore drill. One that was never made has no line.",
            "s",
            (
                Query("time() - max(last_backup_timestamp_seconds)", "backup"),
                Query("time() - max(last_archive_timestamp_seconds)", "archive"),
                Query("time() - max(last_restore_drill_timestamp_seconds)", "restore drill"),
            ),
            span=6,
        ),
        Panel(
            "Recorder",
            "Queued rows, dropped rows, and rows logged without shadow predictions.",
            "short",
            (
                Query("sum(recorder_queue_rows)", "waiting"),
                Query("sum(increase(predictions_dropped_total[5m]))", "dropped in 5 min"),
                Query("sum(increase(shadow_rows_shed_total[5m]))", "without shadow in 5 min"),
            ),
            span=6,
        ),
        Panel(
            "Load shedding and failures",
            "Shed requests, failed writes to the store, and versions with an open circuit breaker.",
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
            "Free share of DATA_DIR's disk, and whether the store accepts writes (1 = yes).",
            "percentunit",
            (
                Query("min(data_disk_free_bytes / data_disk_size_bytes)", "free"),
                Query("min(store_writable)", "writable"),
            ),
            limit=0.1,
            span=12,
        ),
    ),
)
