"""The tables of an experiment as rows of words: those of the page and of the report that is sent. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.tables.counts import as_sentence, counted
from app.ui.events import shares, what_of
from app.ui.experiment_records import (
    ApiCheck,
    ApiComparison,
    ApiExperiment,
    ApiMetric,
    ApiMetricComparison,
    ApiPoint,
    ApiVariant,
)
from app.ui.findings import REWARD, VERDICTS, Fact, check_state, left_in_words
from app.ui.records import ApiAuditEntry, ApiConfiguration
from app.ui.wording import (
    UNKNOWN,
    Scale,
    chance,
    duration,
    mark,
    moment,
    number,
    odds,
    p_value,
    part,
    readable,
    scale_of,
    share,
)

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
            "labels left": _left(each, report),
            "outcomes": each.n,
        }
        for each in report.comparisons
    ]


def _left(each: ApiComparison, report: ApiExperiment) -> str:
    if each.verdict != "undecided":
        return "verdict reached"
    if report.ended is not None:
        return "ended"
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
        "what": what_of(entry),
        "reason": entry.note or UNKNOWN,
        "changed": "; ".join(_change(name, change) for name, change in entry.changes.items()) or UNKNOWN,
    }


def _change(name: str, change: object) -> str:
    said = {"weights": "target share", "experiment_id": "experiment"}.get(name, readable(name))
    if isinstance(change, dict) and "after" in change:
        return f"{said}: {_value(name, change.get('before'))} → {_value(name, change['after'])}"
    return f"{said}: {_shortened(change)}"


def _value(name: str, value: object) -> str:
    if name == "weights" and isinstance(value, dict):
        return shares(value)
    if name == "ramp" and isinstance(value, dict):
        step, steps = value.get("step"), value.get("steps")
        where = f" at step {step + 1} of {len(steps)}" if isinstance(step, int) and isinstance(steps, list) else ""
        return f"{value.get('version')}{where}{', waiting' if value.get('held') else ''}"
    return "none" if value is None else _shortened(value)


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def figures(each: ApiComparison, report: ApiExperiment) -> list[Fact]:
    """Name, value and note of the verdict, the improvement, the evidence and the chance to be better."""
    scale = scale_of(report.metric)
    found = [
        ("Verdict", VERDICTS.get(each.verdict, readable(each.verdict)), p_value(each.p_value)),
        (
            f"Improvement in {readable(report.metric)}",
            scale.change(each.difference, each.interval),
            scale.changes(each.interval),
        ),
        ("Evidence now", odds(each.present_log_e), f"decision at {number(1 / report.alpha, 3)} to 1"),
    ]
    if each.wins is None:
        # Of losses the api gives the chance to win most rows, which says nothing of the mean.
        votes = number(each.units if each.units is not None else each.n)
        return [*found, ("Votes", votes, f"of {counted(each.n, 'outcome')}")]
    tally = f"votes: {number(each.wins)} won, {number(each.losses)} lost"
    return [*found, (f"Probability {each.challenger} is better", chance(each.probability_better), tally)]


def square(each: ApiComparison, baseline: str) -> list[tuple[str, int | None]]:
    """On how many labelled rows both were right, the baseline alone, the challenger alone, and neither."""
    return [
        ("Both right", each.both_right),
        (f"Only {baseline} right", each.only_baseline),
        (f"Only {each.challenger} right", each.only_challenger),
        ("Both wrong", each.both_wrong),
    ]


def other_counts(each: ApiComparison) -> dict[str, str]:
    """What else to know of the rows, as far as it is known."""
    counts = {
        "different rows among the wins and losses": each.distinct_rows,
        f"rows that {each.challenger} failed to answer": each.missing,
        "disagreements without a label": each.unlabelled_disagreements,
    }
    return {name: number(count) for name, count in counts.items() if count is not None}


def assumptions(each: ApiComparison, report: ApiExperiment) -> list[str]:
    """The method of a comparison, what its interval promises, and what is assumed: a sentence each."""
    said = [f"Method: {readable(each.method)}{', approximate' if each.asymptotic else ''}.", _level(report)]
    if report.metric == REWARD:
        waiting = counted(each.unjoined, "reward")
        said.append(f"{counted(each.n, 'answer')} entered; without its row in the log yet: {waiting}.")
    else:
        said.append(
            f"{counted(each.n, 'labelled outcome')} entered; {counted(each.unjoined, 'label')} did not, because the "
            "answer of one of the two versions is unknown."
        )
    if each.worst_case is not None:
        within = scale_of(report.metric).changes(each.worst_case)
        said.append(f"Whichever requests were labelled, the improvement over all requests is within {within}.")
    return said + [as_sentence(f"Automatic promotion is blocked: {assumption}") for assumption in each.assumptions]


def _level(report: ApiExperiment) -> str:
    """What the interval promises."""
    several = len(report.comparisons)
    joint = f", for the {several} challengers together" if several > 1 else ""
    return (
        "Improvement: positive is good for the challenger, whatever the metric. Its interval misses the truth at any "
        f"time with a probability of at most {share(report.alpha)}{joint}."
    )


def improvement_description(points: Sequence[ApiPoint], challenger: str, baseline: str, scale: Scale) -> str:
    """The newest point as a sentence."""
    last = points[-1]
    return (
        f"Improvement of {challenger} over {baseline}: after {counted(last.n, 'vote')} it is "
        f"{scale.change(last.difference, last.interval)}, with the interval {scale.changes(last.interval)}."
    )


def terms_of(config: ApiConfiguration) -> str:
    """Whose outcomes vote, when a reward counts, which answers are slow, and when a promotion may be automatic."""
    # Experiments that a release without units began have no unit, and go on without one.
    unit = config.unit or "none (each request votes; begin a new experiment to change it)"
    least = scale_of(config.metric).change(config.min_effect).lstrip("+")
    parts = [f"unit: {unit}", *([f"least effect: {least}"] if config.min_effect is not None else [])]
    if config.metric == REWARD:
        parts.append(f"reward window: {duration(config.reward_window_s) if config.reward_window_s else 'none'}")
    else:
        parts.append(f"labels declared independent of the answer: {'yes' if config.labels_exogenous else 'no'}")
    wait = f"not before {duration(config.min_duration_s)}" if config.min_duration_s else "without a minimum duration"
    wait = "off" if config.auto_decide in ("off", "rollback") else wait
    return f"Terms · {' · '.join(parts)} · slow answers: {slow(config.guardrail_slow)} · automatic promotion: {wait}"


def slow(limit: str) -> str:
    """GUARDRAIL_SLOW in words."""
    return "not watched" if limit == "off" else f"above {limit} (x: the baseline's 95th percentile)"
