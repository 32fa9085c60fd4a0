"""What the dashboard shows of the experiment and of drift."""

from __future__ import annotations

from panels import Panel, Query, Row

EXPERIMENT = Row(
    "Experiment",
    (
        Panel(
            "Difference to the baseline",
            "How much better the challenger is, with the confidence interval that holds at every moment.",
            "none",
            (
                Query("max by (challenger) (experiment_difference)", "{{challenger}}"),
                Query("max by (challenger) (experiment_difference_low)", "{{challenger}} at least"),
                Query("max by (challenger) (experiment_difference_high)", "{{challenger}} at most"),
            ),
            lowest=None,
        ),
        Panel(
            "Evidence",
            "Decimal logarithm of the evidence against each challenger being no better; a verdict falls at the line.",
            "none",
            (
                Query("log10(max by (challenger) (experiment_e_value))", "{{challenger}}"),
                Query("log10(max(experiment_e_value_needed))", "needed"),
            ),
            lowest=None,
        ),
        Panel(
            "Labelled answers",
            "Accepted outcomes, by the version that answered.",
            "short",
            (Query("max by (version) (experiment_feedback_total)", "{{version}}"),),
        ),
        Panel(
            "Mean of the metric",
            "Over the labelled answers of each version.",
            "none",
            (Query("max by (version) (experiment_labelled_mean)", "{{version}}"),),
            lowest=None,
        ),
        Panel(
            "Weights and what became of them",
            "The share of the traffic that each version is given, and the share that it answered.",
            "percentunit",
            (
                Query("max by (version) (experiment_weight)", "{{version}} weight"),
                Query(
                    "sum by (version) (rate(model_version_requests_total[5m]))"
                    " / on () group_left () (sum(rate(model_version_requests_total[5m])) > 0)",
                    "{{version}} answered",
                ),
            ),
        ),
        Panel(
            "Checks and guardrails",
            "1 while it holds. A check that failed once does not recover before the next experiment.",
            "none",
            (
                Query("min(experiment_sample_ratio_ok)", "sample ratio"),
                Query("min(experiment_label_rate_ok)", "label rate"),
                Query("min by (version, guardrail) (experiment_guardrail_ok)", "{{version}} {{guardrail}}"),
            ),
        ),
    ),
)

DRIFT = Row(
    "Drift",
    (
        Panel(
            "Displaced traffic",
            "Share of the traffic that lies elsewhere than the champion's training data, at least.",
            "percentunit",
            (Query("max(model_drift_score)", "all features"),),
        ),
        Panel(
            "Evidence of a change",
            "How near the proof of a change is: an alarm is raised at 1, and stands until it is acknowledged.",
            "none",
            (Query("max(model_drift_evidence)", "evidence"), Query("max(model_drift_alarm)", "alarm")),
            limit=1,
        ),
        Panel(
            "Displaced traffic by feature",
            "The same for each feature by itself.",
            "percentunit",
            (Query("max by (feature) (model_feature_drift_score)", "{{feature}}"),),
        ),
    ),
)
