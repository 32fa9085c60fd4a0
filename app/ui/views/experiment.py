"""The Experiment page: what the outcomes show so far, the recommendation, the controls to act on it, the audit log."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import pandas as pd
import streamlit as st

from app.ui.charts import traffic
from app.ui.charts.drawing import beside
from app.ui.experiment_records import ApiCheck, ApiExperiment, ApiVariant
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.records import ApiConfiguration
from app.ui.session import feed
from app.ui.states import known, refreshed, snapshots_of
from app.ui.transport import ApiDown
from app.ui.views import challengers, comparison, decision, differences, headline, ramp
from app.ui.wording import (
    UNKNOWN,
    Scale,
    as_sentence,
    duration,
    lower_is_better,
    mark,
    number,
    p_value,
    part,
    readable,
    scale_of,
    seconds_since,
)

NAMES = ("experiment", "timeline", "audit", "config", "health", "models", "drift")
STALE_S = 30.0
# Below this nobody decides otherwise for it.
LAG_SHOWN_S = 10.0
# What the parts that do not redraw themselves are of.
SHOWN = "experiment-shown"


def show() -> None:
    """The whole page."""
    # The live parts redraw on their own; the controls between and below them must keep their state meanwhile.
    st.title("Experiment")
    experiment, _, audit, config, _, models, _ = refreshed("experiment", NAMES)
    report: ApiExperiment | None = experiment.value
    st.session_state[SHOWN] = _shown(report)
    answer()
    if report is None and isinstance(experiment.failure, ApiDown):
        return
    decision.offer(config.value, report)
    live()
    if report is not None:
        differences.show(report, models.value)
        versions()
    decision.changes(config.value)
    decision.audit(audit)


def _shown(report: ApiExperiment | None) -> object:
    """What the parts below the live ones are of: the experiment, the challenger, and what is advised."""
    if report is None:
        return None
    each = headline.chosen(report)
    return report.id, None if each is None else each.challenger, report.recommendation.action


def _report(experiment: FeedSnapshot[Any]) -> ApiExperiment | None:
    """The report, after the whole page is drawn again where it is of another one."""
    report: ApiExperiment | None = experiment.value
    if report is not None and _shown(report) != st.session_state.get(SHOWN):
        st.rerun()
    return report


@st.fragment(run_every=TICK_S)
def answer() -> None:
    """What to do, how sure that is, and what waiting costs; it redraws itself."""
    experiment, timeline, _, _, health, _, drift = snapshots_of("experiment", NAMES)
    known(experiment, "The experiment", "experiment")
    report = _report(experiment)
    if report is None:
        return
    _monitor_age(health, report)
    headline.show(report, drift.value, comparison.points_of(headline.chosen(report), report, timeline.value))


@st.fragment(run_every=TICK_S)
def live() -> None:
    """The figures, which redraw themselves."""
    experiment, timeline, _, config, _, _, _ = feed().snapshots(NAMES)
    report = _report(experiment)
    if report is None:
        return
    challengers.show(report)
    # Each part is read on its own: right after a new experiment has begun, one may still be of the former.
    if config.value is not None and config.value.guardrail_slow and config.value.experiment_id in ("", report.id):
        st.caption(terms_of(config.value))
    if config.value is not None and config.value.ramp is not None:
        st.info(ramp.sentence_of(config.value.ramp), icon=":material/stairs:")
    each = headline.chosen(report)
    if each is not None:
        comparison.show(each, report, timeline)


@st.fragment(run_every=TICK_S)
def versions() -> None:
    """The versions and the checks, which redraw themselves."""
    experiment, _, _, _, _, models, _ = feed().snapshots(NAMES)
    report = _report(experiment)
    if report is None:
        return
    _variants(report, models.value.retired() if models.value is not None else ())
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
    elif report.lag is not None and report.lag.seconds >= LAG_SHOWN_S:
        st.caption(f"The monitor is {report.lag.seconds:.0f} s behind ({report.lag.rows:,} rows).")


def _fresh(report: ApiExperiment) -> bool:
    computed = seconds_since(report.computed_at, time.time())
    return computed is not None and computed < STALE_S


def terms_of(config: ApiConfiguration) -> str:
    """Whose outcomes vote, when a reward counts, which answers are slow, and when a promotion may be automatic."""
    # Experiments that a release without units began have no unit, and go on without one.
    unit = config.unit or "none (each request votes; begin a new experiment to change it)"
    parts = [f"unit: {unit}"]
    if config.metric == headline.REWARD:
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
        traffic.share_drawing(frame),
        frame,
        traffic.share_description(frame),
        **{"actual share": percent, "target share": percent},
    )
    for version, reason in report.excluded.items():
        st.warning(f"**{version} takes no part.** {as_sentence(reason)}", icon=":material/block:")
    for version in (variant.version for variant in report.variants if variant.version in retired):
        st.info(
            f"**{version} is retired.** It gets no more requests; labels of its past predictions still count.",
            icon=":material/inventory_2:",
        )
    rewarded = report.metric == headline.REWARD
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
        pd.DataFrame([_means_row(variant, scale_of(report.metric), known_all) for variant in report.variants]),
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
    rows = [_check_row("check", check, report) for check in report.checks]
    rows += [_check_row("guardrail", rail, report) for rail in report.guardrails]
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


def _check_row(kind: str, check: ApiCheck, report: ApiExperiment) -> dict[str, object]:
    state = headline.check_state(check, report)
    p = None if state is None else check.p_value
    return {
        "name": f"{readable(check.name)} of {check.version}" if check.version else readable(check.name),
        "kind": kind,
        "state": mark(state),
        "p-value": UNKNOWN if p is None else p_value(p).removeprefix("p ").removeprefix("= "),
        "detail": check.detail or UNKNOWN,
    }
