"""The Health page: whether the service works, and its traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import streamlit as st

from app.tables.counts import counted
from app.ui import grid
from app.ui.charts import traffic
from app.ui.charts.drawing import drawn
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.records import ApiHealth, ApiModel, ApiModels, ApiVersionHealth
from app.ui.scrape import Scrape, quantile_s, rate_per_s
from app.ui.states import drawn_once, figure, known, refreshed, snapshots_of
from app.ui.transport import ApiDown
from app.ui.wording import UNKNOWN, clock, duration, moment, number, readable

NAMES = ("health", "metrics", "models")
_SCRAPES = "health.scrapes"
_MOST = 180
STATUS = {
    "healthy": ("success", ":material/check_circle:"),
    "degraded": ("warning", ":material/warning:"),
    "unhealthy": ("error", ":material/error:"),
}
_MONITOR = {"ok": "✔ up to date", "stale": "✖ behind", "absent": "✖ not running"}
BREAKERS = {"closed": "✔ closed: used", "open": "✖ open: not used", "half_open": "… half open: one trial request"}
FIGURES = ("accuracy", "f1", "log_loss", "brier", "rmse", "mae", "r2")


def show() -> None:
    """The whole page."""
    st.title("Health")
    refreshed("health", NAMES)
    _live()


@st.fragment(run_every=TICK_S)
def _live() -> None:
    health, metrics, models = snapshots_of("health", NAMES)
    report = known(health, "The state", "health")
    if report is not None:
        _state(report)
    elif isinstance(health.failure, ApiDown):
        return
    _traffic(metrics)
    registry = known(models, "The model registry", "models")
    if registry is not None:
        drawn_once(_versions, {} if report is None else report.models, registry)


def _state(report: ApiHealth) -> None:
    kind, icon = STATUS.get(report.status, ("warning", ":material/help:"))
    getattr(st, kind)(f"**The service is {report.status}.** {_why(report)}", icon=icon)
    store, monitor, uptime, release = st.columns(4)
    figure(store, "Store", "✔ working" if report.store == "ok" else "✖ failing")
    state = _MONITOR.get(report.monitor.state, UNKNOWN)
    figure(monitor, "Monitor", state, _age(report))
    figure(uptime, "Uptime", duration(report.uptime_s))
    figure(release, "Release", report.version or UNKNOWN)


def _age(report: ApiHealth) -> str:
    age_s = report.monitor.age_s
    if report.monitor.state == "unknown":
        return "unknown while the store is away"
    return "start it with `bakeoff monitor`" if age_s is None else f"{duration(age_s)} old"


def _why(report: ApiHealth) -> str:
    reasons = [f"{name}: {version.error}." for name, version in report.models.items() if version.error]
    reasons += [
        f"{name}: its circuit breaker is {version.circuit_breaker}."
        for name, version in report.models.items()
        if version.circuit_breaker not in (None, "closed")
    ]
    reasons += [] if report.store == "ok" else [f"The store: {report.store}."]
    return " ".join(reasons) or "Each version has answered a probe prediction."


def _traffic(snapshot: FeedSnapshot[Scrape]) -> None:
    st.subheader("Traffic")
    scrape = known(snapshot, "The metrics", "metrics")
    if scrape is None:
        return
    scrapes = _collected(scrape)
    requests, errors, p50, p95, p99 = st.columns(5)
    earlier = scrapes[-2] if len(scrapes) > 1 else None
    figure(requests, "Requests", number(scrape.requests), _rate(earlier, scrape, "requests"))
    figure(errors, "Errors", number(scrape.errors), _rate(earlier, scrape, "errors"))
    for column, level in ((p50, 0.5), (p95, 0.95), (p99, 0.99)):
        value = quantile_s(scrape, level)
        figure(column, f"p{100 * level:.0f}", UNKNOWN if value is None else f"{number(1000 * value, 3)} ms")
    dropped = f"; not logged: {counted(int(scrape.dropped), 'prediction')}" if scrape.dropped else ""
    st.caption(
        f"Totals of all workers since the API started, read at {clock(scrape.at)}{dropped}. "
        "Latency is measured by the server and interpolated between histogram buckets."
    )
    drawn_once(_rates, scrapes)


def _rates(scrapes: list[Scrape]) -> None:
    frame = traffic.rate_table(scrapes)
    if frame.empty:
        st.caption("Rates appear with the second reading, in about ten seconds.")
        return
    at = st.column_config.DatetimeColumn(format="HH:mm:ss", timezone="UTC")
    fine = {name: st.column_config.NumberColumn(format="%.3g") for name in ("requests/s", "errors/s", "p95 ms")}
    drawn(traffic.rate_drawing(frame), frame, traffic.rate_description(frame), at=at, **fine)


def _collected(scrape: Scrape) -> list[Scrape]:
    """The scrapes of this session, at most half an hour of them."""
    seen: deque[Scrape] = st.session_state.setdefault(_SCRAPES, deque(maxlen=_MOST))
    if not seen or scrape.at > seen[-1].at:
        seen.append(scrape)
    return list(seen)


def _rate(before: Scrape | None, after: Scrape, counter: str) -> str:
    rate = None if before is None else rate_per_s(before, after, counter)
    return "rate unknown yet" if rate is None else f"{number(rate, 3)} / s now"


def _versions(states: Mapping[str, ApiVersionHealth], models: ApiModels) -> None:
    st.subheader("Versions in the model registry")
    if not models.models:
        st.info(
            "**The model registry is empty.** Run `bakeoff train`, or publish your own model with `bakeoff publish`.",
            icon=":material/extension:",
        )
    else:
        rows = [_version_row(model, states.get(model.version)) for model in models.models]
        grid.show(rows, "The versions with their state, figures and checksums.")
    if models.retired():
        st.caption(
            "A retired version is not loaded and gets no traffic. Labels of its past predictions still count. "
            "`bakeoff retire VERSION --undo` brings it back."
        )
    st.caption(
        "Brier score: the sum over all classes, from 0 to 2. Log loss in nats; that of experiments counts a "
        "probability below .001 as .001, the one here does not."
    )
    for name, reason in models.refused.items():
        st.error(f"**{name} is refused:** {reason}", icon=":material/error:")


def _version_row(model: ApiModel, health: ApiVersionHealth | None) -> dict[str, object]:
    breaker = health.circuit_breaker if health is not None else None
    return {
        "version": model.version,
        "state": _loaded(model),
        "aliases": ", ".join(model.aliases) or UNKNOWN,
        "breaker": BREAKERS.get(breaker or "", breaker or UNKNOWN),
        "estimator": model.estimator,
        "hold-out": _figures(model.metrics.get("holdout", {})),
        "runtime": model.runtime,
        "parity": _parity(model),
        "SHA-256": model.sha256[:12] or UNKNOWN,
        "created": moment(model.created_at),
    }


def _loaded(model: ApiModel) -> str:
    if model.candidate:
        return "waits to be let in"
    if model.retired:
        return "retired"
    if not model.serving:
        return "not loaded"
    return "✔ loaded" if model.routed else "loaded, takes no part"


def _figures(figures: dict[str, object]) -> str:
    shown = [(name, figures[name]) for name in FIGURES if isinstance(figures.get(name), int | float)]
    return ", ".join(f"{readable(name)} {number(float(value), 4)}" for name, value in shown) or UNKNOWN  # type: ignore[arg-type]


def _parity(model: ApiModel) -> str:
    parity = model.parity
    if parity.holds is None:
        return UNKNOWN
    flips = f"{number(parity.flips)} of {number(parity.rows)} differ"
    return f"✔ {flips}" if parity.holds else f"✖ {flips}: {parity.reason or UNKNOWN}"
