"""The tables of an experiment as rows of words: those of the page and of the report that is sent. Pure."""

from __future__ import annotations

import json

from app.ui.experiment_records import (
    ApiAuditEntry,
    ApiCheck,
    ApiComparison,
    ApiExperiment,
    ApiMetric,
    ApiMetricComparison,
    ApiVariant,
)
from app.ui.findings import REWARD, VERDICTS, check_state, left_in_words
from app.ui.wording import UNKNOWN, Scale, as_sentence, mark, moment, number, p_value, part, readable, scale_of, share

Row = dict[str, object]


def challengers(report: ApiExperiment) -> list[Row]:
    """Each challenger against the baseline: verdict, improvement with its interval, and labels left."""
    scale, level = scale_of(report.metric), share(1 - report.alpha, 0)
    return [
        {
            "challenger": each.challenger,
            "verdict": VERDICTS.get(each.verdict, readable(each.verdict)),
            "improvement": scale.change(each.difference, each.interval),
            f"{level} interval": scale.changes(each.interval),
            "labels left": _left(each),
            "outcomes": number(each.n),
        }
        for each in report.comparisons
    ]


def _left(each: ApiComparison) -> str:
    if each.verdict != "undecided":
        return "decided"
    low, high = each.remaining or (None, None)
    return UNKNOWN if low is None else left_in_words(low, high, each.unit).replace(" more", "")


def means(report: ApiExperiment) -> list[Row]:
    """Each version's mean over all labelled rows, where that is known, beside that over the answers it served."""
    known_all = any(variant.mean_all is not None for variant in report.variants)
    return [_means_row(variant, scale_of(report.metric), known_all) for variant in report.variants]


def _means_row(variant: ApiVariant, scale: Scale, known_all: bool) -> dict[str, object]:
    of_all = {
        "all labelled rows": scale.mean(variant.mean_all, variant.interval_all),
        "interval": scale.means(variant.interval_all),
    }
    served = {
        "as served": scale.mean(variant.mean, variant.interval),
        "interval as served": scale.means(variant.interval),
    }
    return {"version": variant.version, **(of_all if known_all else {}), **served}


def some_lack(report: ApiExperiment) -> bool:
    """Whether some requests lack a column that a version reads."""
    return any(variant.answerable_share not in (None, 1) for variant in report.variants)


def versions(report: ApiExperiment) -> list[Row]:
    """Each version with its requests, outcomes, errors and latency."""
    return [_variant_row(variant, report.metric == REWARD, some_lack(report)) for variant in report.variants]


def _variant_row(variant: ApiVariant, rewarded: bool, some_lack: bool) -> dict[str, object]:
    latency = variant.latency_ms
    return {
        "version": variant.version,
        "requests": variant.requests,
        **({"could take part": part(variant.answerable_share)} if some_lack else {}),
        **({"rewards": variant.rewards} if rewarded else {"labelled (served)": variant.labelled}),
        "errors": variant.errors,
        "p50 / p95 / p99 in ms": " / ".join(number(value, 3) for value in (latency.p50, latency.p95, latency.p99)),
    }


def checks(report: ApiExperiment) -> list[Row]:
    """Each check and guardrail with its state."""
    kinds = (("check", report.checks), ("guardrail", report.guardrails))
    return [_check_row(kind, check, report) for kind, of_kind in kinds for check in of_kind]


def _check_row(kind: str, check: ApiCheck, report: ApiExperiment) -> dict[str, object]:
    state = check_state(check, report)
    p = None if state is None else check.p_value
    return {
        "name": f"{readable(check.name)} of {check.version}" if check.version else readable(check.name),
        "kind": kind,
        "state": mark(state),
        "p-value": UNKNOWN if p is None else p_value(p).removeprefix("p ").removeprefix("= "),
        "detail": check.detail or UNKNOWN,
    }


def secondary(challenger: str, report: ApiExperiment) -> list[Row]:
    """The secondary metrics of a challenger, with means, improvement and interval. They decide nothing."""
    return [_metric_row(each, challenger, report.baseline or "") for each in report.metrics]


def secondary_notes(challenger: str, report: ApiExperiment) -> list[str]:
    """What limits their figures, in Markdown."""
    return [note for each in report.metrics for note in _notes(each, challenger)]


def _metric_row(metric: ApiMetric, challenger: str, baseline: str) -> dict[str, object]:
    compared, scale = _compared(metric, challenger), scale_of(metric.metric)
    lower = "" if metric.higher_is_better else " (lower is better)"
    return {
        "metric": f"{_named(metric)}{lower}",
        baseline: _mean(metric, baseline),
        challenger: _mean(metric, challenger),
        "improvement": scale.change(compared.improvement, compared.interval),
        "interval": scale.changes(compared.interval),
        "outcomes": compared.n,
        "votes": compared.units,
    }


def _compared(metric: ApiMetric, challenger: str) -> ApiMetricComparison:
    of_it = (each for each in metric.comparisons if each.challenger == challenger)
    return next(of_it, ApiMetricComparison(challenger=challenger))


def _mean(metric: ApiMetric, version: str) -> str:
    for each in metric.variants:
        if each.version == version:
            return scale_of(metric.metric).mean(each.mean if each.mean_all is None else each.mean_all)
    return UNKNOWN


def _notes(metric: ApiMetric, challenger: str) -> list[str]:
    """What limits the figures of a metric."""
    name = _named(metric)
    notes = [f"**{name}** cannot be computed at present: {as_sentence(metric.error)}"] if metric.error else []
    if metric.processed < 1:
        notes.append(f"**{name}** is still being computed: {part(metric.processed)} of the log is counted.")
    return notes + [f"**{name}**: {as_sentence(warning)}" for warning in _compared(metric, challenger).warnings]


def _named(metric: ApiMetric) -> str:
    return metric.described or readable(metric.metric)


def decision(entry: ApiAuditEntry) -> Row:
    """Who decided what, when and why."""
    return {
        "when": moment(entry.at),
        "who": entry.actor,
        "what": entry.action,
        "version": entry.version or UNKNOWN,
        "note": entry.note or UNKNOWN,
        "changed": "; ".join(_change(name, change) for name, change in entry.changes.items()) or UNKNOWN,
    }


def _change(name: str, change: object) -> str:
    if isinstance(change, dict) and "after" in change:
        return f"{name}: {_shortened(change.get('before'))} → {_shortened(change['after'])}"
    return f"{name}: {_shortened(change)}"


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
