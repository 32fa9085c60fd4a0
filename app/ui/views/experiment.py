"""The Experiment page: what the outcomes show so far, the recommendation, the controls to act on it, the audit log."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any

import pandas as pd
import streamlit as st

from app.ui.charts import traffic
from app.ui.charts.drawing import beside
from app.ui.experiment_records import ApiAudit, ApiAuditEntry, ApiCheck, ApiExperiment, ApiVariant
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.records import ApiConfiguration
from app.ui.states import known, refreshed, snapshots_of
from app.ui.transport import ApiDown
from app.ui.views import comparison, decision, differences, ramp
from app.ui.wording import (
    UNKNOWN,
    as_sentence,
    duration,
    interval,
    lower_is_better,
    mark,
    moment,
    number,
    p_value,
    part,
    readable,
    seconds_since,
    share,
)


def show_audit(audit: ApiAudit) -> None:
    """Who decided what, when and why."""
    if not audit.entries:
        st.caption("No decisions yet.")
        return
    st.dataframe(
        pd.DataFrame([_audit_row(entry) for entry in audit.entries]),
        hide_index=True,
        alt="Decisions, newest first.",
        column_config={"note": st.column_config.TextColumn(width="large")},
    )


def _audit_row(entry: ApiAuditEntry) -> dict[str, object]:
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


NAMES = ("experiment", "timeline", "audit", "config", "health", "models")
STALE_S = 30.0
# The experiment that the parts below the live one are of.
SHOWN = "experiment-shown"
ACTIONS = {
    "continue": ("info", ":material/hourglass_empty:", "Keep running"),
    "promote": ("success", ":material/flag:", "Promote"),
    "keep": ("success", ":material/anchor:", "Keep"),
    "rollback": ("error", ":material/undo:", "Roll back"),
    "investigate": ("warning", ":material/search:", "Investigate"),
}


def show() -> None:
    """The whole page."""
    # The live part redraws on its own; the controls below it must keep their state while someone uses them.
    st.title("Experiment")
    experiment, _, audit, config, _, models = refreshed("experiment", NAMES)
    st.session_state[SHOWN] = None if experiment.value is None else experiment.value.id
    decision.offer(config.value, experiment.value)
    live()
    if experiment.value is None and isinstance(experiment.failure, ApiDown):
        return
    if experiment.value is not None:
        differences.show(experiment.value, models.value)
    decision.changes(config.value)
    _audit(audit)


@st.fragment(run_every=TICK_S)
def live() -> None:
    """The figures, which redraw themselves; the whole page where they are of another experiment than the rest of it."""
    experiment, timeline, _, config, health, models = snapshots_of("experiment", NAMES)
    report = known(experiment, "The experiment", "experiment")
    if report is None:
        return
    if report.id != st.session_state.get(SHOWN):
        st.rerun()  # another experiment has begun: the parts below are of the former
    _monitor_age(health, report)
    _headline(report)
    # Each part is read on its own: right after a new experiment has begun, one may still be of the former.
    if config.value is not None and config.value.guardrail_slow and config.value.experiment_id in ("", report.id):
        st.caption(terms_of(config.value))
    if config.value is not None and config.value.ramp is not None:
        st.info(ramp.sentence_of(config.value.ramp), icon=":material/stairs:")
    _variants(report, models.value.retired() if models.value is not None else ())
    for each in report.comparisons:
        comparison.show(each, report, timeline)
    _checks(report)


def _monitor_age(snapshot: FeedSnapshot[Any], report: ApiExperiment) -> None:
    """Warn of an old report: the API can answer while the monitor, which makes the reports, is down."""
    monitor = snapshot.value.monitor if snapshot.value is not None else None
    if monitor is not None and monitor.state != "ok" and not _fresh(report):
        age = "has not run yet" if monitor.age_s is None else f"is {monitor.age_s:.0f} s behind"
        st.warning(
            f"**Stale figures.** The monitor {age}. Check that it is running, or start it with `bakeoff monitor`.",
            icon=":material/history:",
        )


def _fresh(report: ApiExperiment) -> bool:
    computed = seconds_since(report.computed_at, time.time())
    return computed is not None and computed < STALE_S


def _headline(report: ApiExperiment) -> None:
    advice = report.recommendation
    kind, icon, verb = ACTIONS.get(advice.action, ("info", ":material/info:", readable(advice.action)))
    what = f"{verb} {advice.version}" if advice.version else verb
    getattr(st, kind)(f"**{what}.** {as_sentence(advice.reason)}", icon=icon)
    st.caption(
        f"Experiment {report.id}, {_when(report)} · metric: {readable(report.metric)} · "
        f"baseline: {report.baseline or UNKNOWN} · error rate {share(report.alpha)} over the whole experiment, however "
        f"often you look · computed {moment(report.computed_at)}"
    )


def _when(report: ApiExperiment) -> str:
    if report.ended is None:
        return f"running since {moment(report.started)}"
    return f"ran from {moment(report.started)} to {moment(report.ended)}"


def terms_of(config: ApiConfiguration) -> str:
    """Whose outcomes vote, when a reward counts, which answers are slow, and when a promotion may be automatic."""
    # Experiments that a release without units began have no unit, and go on without one.
    unit = config.unit or "none (each request votes; begin a new experiment to change it)"
    parts = [f"unit: {unit}"]
    if config.metric == comparison.REWARD:
        parts.append(f"reward window: {duration(config.reward_window_s) if config.reward_window_s else 'none'}")
    else:
        parts.append(f"labels declared independent of the answer: {'yes' if config.labels_exogenous else 'no'}")
    wait = f"not before {duration(config.min_duration_s)}" if config.min_duration_s else "without a minimum duration"
    return f"Terms · {' · '.join(parts)} · slow answers: {slow(config.guardrail_slow)} · automatic promotion: {wait}"


def slow(limit: str) -> str:
    """GUARDRAIL_SLOW in words."""
    return "not watched" if limit == "off" else f"above {limit} (x: the baseline's 95th percentile)"


def _variants(report: ApiExperiment, retired: Collection[str]) -> None:
    st.subheader("Versions")
    if not report.variants:
        st.info("No version is in the experiment yet.", icon=":material/extension:")
        return
    frame = traffic.share_table(report.variants)
    percent = st.column_config.NumberColumn(format="percent")
    beside(
        traffic.share_drawing(frame), frame, traffic.share_description(frame), actual=percent, **{"target now": percent}
    )
    for version, reason in report.excluded.items():
        st.warning(f"**{version} takes no part.** {as_sentence(reason)}", icon=":material/block:")
    for version in (variant.version for variant in report.variants if variant.version in retired):
        st.info(
            f"**{version} is retired.** It gets no more requests; labels of its past predictions still count.",
            icon=":material/inventory_2:",
        )
    rewarded = report.metric == comparison.REWARD
    _means(report, rewarded)
    some_lack = any(variant.answerable_share not in (None, 1) for variant in report.variants)
    st.dataframe(
        pd.DataFrame([_variant_row(variant, rewarded, some_lack) for variant in report.variants]),
        hide_index=True,
        alt="Each version with its requests, outcomes, errors and latency.",
    )
    if some_lack:
        st.caption(
            "Could take part: the share of the requests that have every column that the version reads. Versions are "
            "compared only on the requests that both of them could have answered."
        )


def _means(report: ApiExperiment, rewarded: bool) -> None:
    """Each version's mean over all labelled rows beside that over the answers it served."""
    known_all = any(variant.mean_all is not None for variant in report.variants)
    st.dataframe(
        pd.DataFrame([_means_row(variant, known_all) for variant in report.variants]),
        hide_index=True,
        alt=f"Each version's mean {readable(report.metric)}.",
    )
    name = f"{readable(report.metric)}{' (lower is better)' if lower_is_better(report.metric) else ''}"
    if rewarded:
        st.caption(f"Mean {name} of the answers that the version served.")
    elif known_all:
        st.caption(
            f"Mean {name} over all labelled rows, also those that another version served. As served: over the labelled "
            f"rows that this version served.{_once(report)}"
        )


def _once(report: ApiExperiment) -> str:
    """Why the comparison is not the difference of the two means, where it is not."""
    if all(each.units is None or each.units >= each.n for each in report.comparisons):
        return ""
    return (
        " Some units (users, own keys or rows) come again. The means have all their rows; the interval and the "
        "comparison have one vote of each. So the improvement need not be the difference of the means, and the mean as "
        "served has no interval."
    )


def _means_row(variant: ApiVariant, known_all: bool) -> dict[str, object]:
    of_all = {"all labelled rows": number(variant.mean_all), "interval": _range(variant.interval_all)}
    served = {"as served": number(variant.mean), "interval as served": _range(variant.interval)}
    return {"version": variant.version, **(of_all if known_all else {}), **served}


def _range(pair: tuple[float, float] | None) -> str:
    return interval(pair).replace("+", "")


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


def _checks(report: ApiExperiment) -> None:
    st.subheader("Checks and guardrails")
    rows = [_check_row("check", check) for check in report.checks]
    rows += [_check_row("guardrail", rail) for rail in report.guardrails]
    if not rows:
        st.caption("No check has started yet.")
        return
    # In pixels: the details get what is left, so that they are not cut off.
    widths = {"name": 150, "kind": 80, "state": 130, "p-value": 75}
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        alt="Each check and guardrail with its state.",
        column_config={name: st.column_config.TextColumn(width=width) for name, width in widths.items()},
    )


def _check_row(kind: str, check: ApiCheck) -> dict[str, object]:
    return {
        "name": f"{readable(check.name)} of {check.version}" if check.version else readable(check.name),
        "kind": kind,
        "state": mark(check.ok),
        "p-value": UNKNOWN if check.p_value is None else p_value(check.p_value).removeprefix("p ").removeprefix("= "),
        "detail": check.detail or UNKNOWN,
    }


def _audit(snapshot: FeedSnapshot[ApiAudit]) -> None:
    st.subheader("Decisions")
    audit = known(snapshot, "The audit log", "audit")
    if audit is not None:
        show_audit(audit)
