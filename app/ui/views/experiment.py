"""The Experiment page: what the outcomes show so far, the recommendation, the controls to act on it, the audit log."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import streamlit as st

from app.tables.counts import counted
from app.ui import tables
from app.ui.client import ApiClient
from app.ui.events import ending_of
from app.ui.experiment_records import ApiExperiment
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.findings import points_of
from app.ui.records import ApiConfiguration, ApiModels
from app.ui.row_records import ApiExperimentEntry
from app.ui.sent_report import Sources, html_of
from app.ui.session import asked_once, client, feed
from app.ui.states import known, refreshed, snapshots_of
from app.ui.transport import ApiDown
from app.ui.views import challengers, comparison, decision, differences, headline, ramp, versions
from app.ui.views import timeline as happened
from app.ui.wording import UNKNOWN, moment, seconds_since

NAMES = ("experiment", "timeline", "audit", "config", "health", "models", "drift", "decisions")
STALE_S = 30.0
# Below this nobody decides otherwise for it.
LAG_SHOWN_S = 10.0
ID = "id"
# What ends an experiment, where it is not said by its name.
_ENDED_BY = {"configure": "a new experiment"}
# What the parts that do not redraw themselves are of.
SHOWN = "experiment-shown"


def show() -> None:
    """The whole page."""
    # The live parts redraw on their own; the controls between and below them must keep their state meanwhile.
    st.title("Experiment")
    experiment, _, audit, config, _, models, *_ = refreshed("experiment", NAMES)
    report: ApiExperiment | None = experiment.value
    wanted = _picked(report)
    if wanted is not None:
        _past(wanted, models.value)
        return
    st.session_state[SHOWN] = shown(report, config.value)
    answer()
    if report is None and isinstance(experiment.failure, ApiDown):
        return
    decision.offer(config.value, report)
    if report is not None:
        _to_send(report)
    live()
    if report is not None:
        differences.show(report, models.value)
        below()
        over_time()
    decision.changes(config.value, models.value)
    decision.audit(audit)


def _picked(report: ApiExperiment | None) -> str | None:
    """The id of the other experiment that the address names; None for the running one. A list chooses one."""
    wanted = st.query_params.get(ID)
    running = None if report is None else report.id
    snapshot = asked_once(("experiments", client().public_url, running), client().experiments, "the experiments")
    listed = {} if snapshot.value is None else {each.id: each for each in snapshot.value.experiments}
    if len(listed) > 1:
        place = list(listed).index(wanted) if wanted in listed else None if wanted else 0
        st.selectbox(
            "Which experiment",
            list(listed),
            index=place,
            format_func=lambda name: _entry(listed[name]),
            key=f"experiment-picked-{wanted or running}",
            on_change=lambda: _pick(st.session_state[f"experiment-picked-{wanted or running}"], running),
            label_visibility="collapsed",
        )
    return wanted if wanted and wanted != running else None


def _pick(name: str | None, running: str | None) -> None:
    for of_one in (headline.CHALLENGER, happened.EVENT):
        st.query_params.pop(of_one, None)
    if name is None or name == running:
        st.query_params.pop(ID, None)
    else:
        st.query_params[ID] = name


def _entry(each: ApiExperimentEntry) -> str:
    ended_by = each.ended_by or UNKNOWN
    when = "running" if each.ended is None else f"ended {moment(each.ended)} by {_ENDED_BY.get(ended_by, ended_by)}"
    others = ", ".join(version for version in each.versions if version != each.baseline)
    named = f"{each.name} · " if each.name else ""
    return f"{named}{moment(each.started)}: {others or 'none'} against {each.baseline or UNKNOWN} · {when} · {each.id}"


def _past(wanted: str, models: ApiModels | None) -> None:
    """The final report of an experiment that has ended; nothing can be decided on it."""
    api = client()
    place = api.public_url, wanted
    found = asked_once(("past", *place), partial(api.past_experiment, wanted), "the experiment")
    report = known(found, f"Experiment {wanted}", "past-experiment")
    st.button("Show the running experiment", on_click=_pick, args=(None, None), icon=":material/arrow_back:")
    if report is None:
        return
    timeline = asked_once(("past-timeline", *place), partial(api.past_timeline, wanted), "the timeline")
    each = headline.chosen(report)
    entries = asked_once(("past-audit", *place), partial(api.audit_of, wanted), "the decisions")
    ending = "" if entries.value is None else ending_of(report, entries.value.entries)
    headline.show(report, None, points_of(each, report, timeline.value), ending)
    _to_send(report)
    challengers.show(report)
    if each is not None:
        comparison.show(each, report, timeline)
    differences.show(report, models)
    versions.show(report, () if models is None else models.retired())
    happened.show(report, timeline.value, known(entries, "The audit log", "past-audit"), None)


def _to_send(report: ApiExperiment) -> None:
    """The report as a file, made when it is asked for."""
    st.download_button(
        "Report to send (HTML)",
        partial(document_of, client(), report.id),
        f"experiment-{report.id}.html",
        "text/html",
        icon=":material/download:",
        on_click="ignore",
        help="One file without anything from outside, to send or to print: what this page says, the terms, the checks "
        "and the decisions.",
    )


def document_of(api: ApiClient, experiment: str) -> str:
    """The report that is sent, of what the API says now. Raises the errors of `app.ui.transport`."""
    report = api.past_experiment(experiment)
    sources = Sources(
        report=report,
        timeline=api.past_timeline(experiment),
        audit=api.audit_of(experiment),
        config=api.configuration_of(experiment),
        drift=api.drift() if report.ended is None else None,
    )
    return html_of(sources, time.time())


def shown(report: ApiExperiment | None, config: ApiConfiguration | None) -> object:
    """What the parts that do not redraw themselves are of: the experiment, the challenger, what is advised, a split."""
    split = config is not None and bool(config.weights)
    if report is None:
        return None, split
    each = headline.chosen(report)
    return report.id, None if each is None else each.challenger, report.recommendation.action, split


def _report(experiment: FeedSnapshot[Any], config: FeedSnapshot[Any]) -> ApiExperiment | None:
    """The report, after the whole page is drawn again where it is of another one, or its controls were not known."""
    report: ApiExperiment | None = experiment.value
    if shown(report, config.value) != st.session_state.get(SHOWN):
        st.rerun()
    return report


@st.fragment(run_every=TICK_S)
def answer() -> None:
    """What to do, how sure that is, and what waiting costs; it redraws itself."""
    experiment, timeline, _, config, health, _, drift, _ = snapshots_of("experiment", NAMES)
    known(experiment, "The experiment", "experiment")
    report = _report(experiment, config)
    if report is None:
        return
    _monitor_age(health, report)
    headline.show(report, drift.value, points_of(headline.chosen(report), report, timeline.value))


@st.fragment(run_every=TICK_S)
def live() -> None:
    """The figures, which redraw themselves."""
    experiment, timeline, _, config, *_ = feed().snapshots(NAMES)
    report = _report(experiment, config)
    if report is None:
        return
    challengers.show(report)
    # Each part is read on its own: right after a new experiment has begun, one may still be of the former.
    if config.value is not None and config.value.guardrail_slow and config.value.experiment_id in ("", report.id):
        st.caption(tables.terms_of(config.value))
    if config.value is not None and config.value.ramp is not None:
        st.info(ramp.sentence_of(config.value.ramp), icon=":material/stairs:")
    each = headline.chosen(report)
    if each is not None:
        comparison.show(each, report, timeline)


@st.fragment(run_every=TICK_S)
def below() -> None:
    """The versions and the checks, which redraw themselves."""
    experiment, _, _, config, _, models, *_ = feed().snapshots(NAMES)
    report = _report(experiment, config)
    if report is None:
        return
    versions.show(report, models.value.retired() if models.value is not None else ())


@st.fragment(run_every=TICK_S)
def over_time() -> None:
    """Shares and events, which redraw themselves."""
    experiment, timeline, _, config, _, _, drift, decisions = feed().snapshots(NAMES)
    report = _report(experiment, config)
    if report is not None:
        happened.show(report, timeline.value, decisions.value, drift.value)


def _monitor_age(snapshot: FeedSnapshot[Any], report: ApiExperiment) -> None:
    """Warn of an old report: the API can answer while the monitor, which makes the reports, is down."""
    monitor = snapshot.value.monitor if snapshot.value is not None else None
    if monitor is not None and monitor.state not in ("ok", "unknown") and not _fresh(report):
        age = "has not run yet" if monitor.age_s is None else f"is {monitor.age_s:.0f} s behind"
        st.warning(
            f"**Stale figures.** The monitor {age}. Check that it is running, or start it with `bakeoff monitor`.",
            icon=":material/history:",
        )
    elif report.lag is not None and report.lag.seconds >= LAG_SHOWN_S:
        st.caption(f"The monitor is {report.lag.seconds:.0f} s behind ({counted(report.lag.rows)}).")


def _fresh(report: ApiExperiment) -> bool:
    computed = seconds_since(report.computed_at, time.time())
    return computed is not None and computed < STALE_S
