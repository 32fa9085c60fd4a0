"""The dashboard's rows about the experiment and about drift."""

from __future__ import annotations

from panels import Panel, Query, Row

EXPERIMENT = Row(
    "Experiment",
    (
        Panel(
            "Difference to the baseline",
            "How much better the challenger is than the baseline, with an always-valid confidence interval.",
            "none",
            (
                Query("max by (challenger) (experiment_difference)", "{{challenger}}"),
                Query("max by (challenger) (experiment_difference_low)", "{{challenger}} at least"),
                Query("max by (challenger) (experiment_difference_high)", "{{challenger}} at most"),
            ),
            lowest=None,
            span=6,
        ),
        Panel(
            "Evidence",
            "log10 of the e-value against no difference. A verdict is reached at the line “needed”; with several "
            "challengers later, because the evidence is then adjusted.",
            "none",
            (
                Query("log10(max by (challenger) (experiment_e_value))", "{{challenger}}"),
                Query("log10(max(experiment_e_value_needed))", "needed"),
            ),
            lowest=None,
            span=6,
        ),
        Panel(
            "Labelled answers",
            "Accepted feedback by the version that answered.",
            "short",
            (Query("max by (version) (experiment_feedback_total)", "{{version}}"),),
            span=6,
        ),
        Panel(
            "Units",
            "Units (users, keys, rows or requests) that voted on each challenger against the baseline, each once.",
            "short",
            (Query("max by (challenger) (experiment_units)", "{{challenger}}"),),
            span=6,
        ),
        Panel(
            "Missing answers",
            "Rows that a challenger was asked and failed to answer: they count against it.",
            "short",
            (Query("max by (challenger) (experiment_missing_answers)", "{{challenger}}"),),
            span=6,
        ),
        Panel(
            "Mean of the metric",
            "Mean of the experiment's metric over the labelled answers that each version served.",
            "none",
            (Query("max by (version) (experiment_labelled_mean)", "{{version}}"),),
            lowest=None,
            span=6,
        ),
        Panel(
            "Weights and traffic shares",
            "Each version's weight, and the share of the traffic that it answered.",
            "percentunit",
            (
                Query("max by (version) (experiment_weight)", "{{version}} weight"),
                Query(
                    "sum by (version) (rate(model_version_requests_total[5m]))"
                    " / on () group_left () (sum(rate(model_version_requests_total[5m])) > 0)",
                    "{{version}} answered",
                ),
            ),
            span=6,
        ),
        Panel(
            "Checks and guardrails",
            "1 means passed. A failed check stays failed until the next experiment begins.",
            "none",
            (
                Query("min(experiment_sample_ratio_ok)", "sample ratio"),
                Query("min(experiment_label_rate_ok)", "label rate"),
                Query("min by (version, guardrail) (experiment_guardrail_ok)", "{{version}} {{guardrail}}"),
            ),
            span=6,
        ),
    ),
)

DRIFT = Row(
    "Drift",
    (
        Panel(
            "Displaced traffic",
            "Lower bound on the share of recent traffic that is displaced against the champion's training data.",
            "percentunit",
            (Query("max(model_drift_score)", "all features"),),
            span=6,
        ),
        Panel(
            "Evidence of a change",
            "Evidence of a change in the inputs, their relation, the answers or the errors. At 1 it raises the alarm.",
            "none",
            (Query("max(model_drift_evidence)", "evidence"), Query("max(model_drift_alarm)", "alarm")),
            limit=1,
            span=6,
        ),
        Panel(
            "Streams that raised the alarm",
            "How many streams of each kind raised the standing alarm: inputs, joint (the relation of the inputs), "
            "outputs (the champion's answers) or errors. They count until the alarm is acknowledged or ends; "
            "GET /drift names them, with their evidence at that moment.",
            "short",
            (Query("max by (kind) (model_drift_alarm_streams)", "{{kind}}"),),
            span=6,
        ),
        Panel(
            "Displaced traffic by feature",
            "Lower bound on the displaced share for each single feature.",
            "percentunit",
            (Query("max by (feature) (model_feature_drift_score)", "{{feature}}"),),
            span=6,
        ),
    ),
)
