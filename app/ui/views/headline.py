"""First screen of the experiment: what to do, by how much on the same rows, how sure that is, the cost of waiting."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.ui.experiment_records import ApiCheck, ApiComparison, ApiDrift, ApiExperiment, ApiPoint
from app.ui.states import fact
from app.ui.wording import (
    UNKNOWN,
    as_sentence,
    duration,
    moment,
    number,
    readable,
    scale_of,
    seconds_since,
    share,
)

ACTIONS = {
    "continue": ("info", ":material/hourglass_empty:", "Keep running: no decision yet"),
    "promote": ("success", ":material/flag:", "Promote"),
    "keep": ("success", ":material/anchor:", "Keep"),
    "rollback": ("error", ":material/undo:", "Roll back"),
    "investigate": ("warning", ":material/search:", "Investigate"),
}
VERDICTS = {"better": "✔ better", "worse": "✖ worse", "equivalent": "= equivalent", "undecided": "… undecided"}
# Of each unit one outcome votes.
UNITS = {"user": "users", "key": "own keys", "row": "rows", "request": "requests"}
CHALLENGER = "challenger"
REWARD = "reward"
# Fewer different rows than this may all be one case.
FEW_ROWS = 10
_SAME = 5e-4
_RATE_WINDOW_S = 86_400.0
_AN_HOUR_S = 3600.0
_DAY_S = 86_400.0


def show(report: ApiExperiment, drift: ApiDrift | None, points: Sequence[ApiPoint]) -> None:
    """The callout with its figures."""
    advice = report.recommendation
    kind, icon, verb = ACTIONS.get(advice.action, ("info", ":material/info:", readable(advice.action)))
    what = f"{verb} {advice.version}" if advice.version and advice.action != "continue" else verb
    getattr(st, kind)(f"**{what}.** {as_sentence(advice.reason)}", icon=icon)
    each = chosen(report)
    if each is not None and each.n:
        size, trust, left, cost = st.columns(4)
        _size(size, each, report)
        fact(trust, "Can it be trusted?", *trust_in(each, report, drift))
        fact(left, "Labels left", *labels_to_come(each, points))
        fact(cost, "Waiting costs", *cost_of(each, report, time.time()))
    st.caption(
        f"Experiment {report.id}, {_when(report)} · metric: {readable(report.metric)} · baseline: "
        f"{report.baseline or UNKNOWN} · error rate {share(report.alpha)} over the whole experiment, however often you "
        f"look · computed {moment(report.computed_at)}"
    )


def _when(report: ApiExperiment) -> str:
    if report.ended is None:
        return f"running since {moment(report.started)}"
    return f"ran from {moment(report.started)} to {moment(report.ended)}"


def chosen(report: ApiExperiment) -> ApiComparison | None:
    """The comparison that the page shows: the one in the address, else the advised one, else the first."""
    wanted = (st.query_params.get(CHALLENGER), report.recommendation.version)
    by_name = {each.challenger: each for each in report.comparisons}
    named = next((by_name[name] for name in wanted if name in by_name), None)
    return named or next(iter(report.comparisons), None)


def _size(place: DeltaGenerator, each: ApiComparison, report: ApiExperiment) -> None:
    scale = scale_of(report.metric)
    fact(
        place,
        f"{each.challenger} against {report.baseline}, same rows",
        scale.change(each.difference, each.interval),
        f"{share(1 - report.alpha, 0)} interval {scale.changes(each.interval)}. {same_rows(each, report)}",
    )


def same_rows(each: ApiComparison, report: ApiExperiment) -> str:
    """The means behind the difference, where it is that of the rows; else who votes. They never contradict it."""
    square = (each.both_right, each.only_baseline, each.only_challenger, each.both_wrong)
    counts = [count for count in square if count is not None]
    rows = sum(counts)
    if len(counts) < len(square) or not rows or each.units not in (None, rows):
        return votes_of(each)
    # With labels that are independent of the answers, rows without one count where the two versions agree.
    if abs((counts[2] - counts[1]) / rows - (each.difference or 0.0)) > _SAME:
        return votes_of(each)
    right = {report.baseline: counts[0] + counts[1], each.challenger: counts[0] + counts[2]}
    said = ", ".join(f"{version} right in {share(count / rows)}" for version, count in right.items())
    return f"Of the same {rows:,} rows {said}."


def votes_of(each: ApiComparison) -> str:
    """How many outcomes there are, and who votes."""
    if each.units is None or each.unit is None or each.units == each.n:
        return f"{each.n:,} outcomes of both."
    return f"{each.n:,} outcomes; {each.units:,} {UNITS.get(each.unit, each.unit)} have one vote each."


def trust_in(each: ApiComparison, report: ApiExperiment, drift: ApiDrift | None) -> tuple[str, str]:
    """Whether anything speaks against the figures, and what was looked at."""
    against = [f"{readable(check.name)} failed" for check in _all_checks(report) if check.ok is False]
    if drift is not None and drift.alarm:
        against.append("drift alarm")
    if each.distinct_rows is not None and 0 < each.distinct_rows < FEW_ROWS:
        against.append(f"only {each.distinct_rows} different rows decide")
    waiting = [readable(check.name) for check in report.checks if check_state(check, report) is None]
    passed = sum(check_state(check, report) is True for check in _all_checks(report))
    seen = [f"{passed} of {len(_all_checks(report))} checks and guardrails passed"]
    seen += [] if drift is None else ["drift alarm" if drift.alarm else "no drift alarm"]
    seen += [] if each.distinct_rows is None else [f"{each.distinct_rows:,} different rows decide"]
    seen += [f"limits: {len(each.warnings)}, listed below"] if each.warnings else []
    note = as_sentence("; ".join(seen))
    if against:
        return "✖ " + ", ".join(dict.fromkeys(against)), note
    return ("… not known yet: " + ", ".join(waiting) if waiting else "✔ nothing speaks against it"), note


def _all_checks(report: ApiExperiment) -> list[ApiCheck]:
    return [*report.checks, *report.guardrails]


def check_state(check: ApiCheck, report: ApiExperiment) -> bool | None:
    """Whether a check passed; None while unknown, and where there are no data that could have failed it."""
    counted = sum(each.labelled + each.rewards if "label" in check.name else each.requests for each in report.variants)
    return None if check.ok and not counted else check.ok


def labels_to_come(each: ApiComparison, points: Sequence[ApiPoint]) -> tuple[str, str]:
    """The 80 % range of the votes left until a decision, and how long they take at the present rate."""
    if each.verdict != "undecided":
        return "none: it is decided", f"{number(each.n)} outcomes so far."
    low, high = each.remaining or (None, None)
    if low is None:
        return "not known yet", f"{number(each.n)} outcomes so far."
    rate = vote_rate(points)
    waits = "The rate is not known yet."
    if rate:
        upper = "unlimited" if high is None else duration(high / rate)
        waits = f"{duration(low / rate)} to {upper} at the present rate."
    return left_in_words(low, high, each.unit), f"80 % range. {waits}"


def left_in_words(low: float, high: float | None, unit: str | None) -> str:
    """Votes that are left, such as `254–25,753 more labels`."""
    # Beyond a million the forecast is not made: it would be as good as never.
    upper = " to more than a million" if high is None else f"–{math.ceil(high):,}"
    what = "labels" if unit in (None, "request") else f"labelled {UNITS.get(str(unit), unit)}"
    return f"{math.ceil(low):,}{upper} more {what}"


def vote_rate(points: Sequence[ApiPoint]) -> float | None:
    """Votes a second over the last day of the timeline; None where that is not known."""
    timed = [(_unix(point.at), point.n) for point in points]
    known = [(at, n) for at, n in timed if at is not None]
    if not known:
        return None
    last_at, last_n = known[-1]
    first_at, first_n = next((at, n) for at, n in known if at >= last_at - _RATE_WINDOW_S)
    return (last_n - first_n) / (last_at - first_at) if last_at > first_at and last_n > first_n else None


def _unix(iso: str) -> float | None:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


def cost_of(each: ApiComparison, report: ApiExperiment, now: float) -> tuple[str, str]:
    """The extra wrong answers that the worse version gives: a day at the present rate, and so far.

    An estimate, the difference times the requests that the worse version serves. While the interval includes 0, it is
    not known which one is worse: then the most that the interval allows.
    """
    if each.both_right is None or each.interval is None or each.difference is None:
        return "not known", "It is estimated for answers that are right or wrong."
    served = {variant.version: variant for variant in report.variants}
    pair = (served.get(str(report.baseline)), served.get(each.challenger))
    elapsed = seconds_since(report.started, now)
    if None in pair or not elapsed or elapsed <= 0:
        return "not known", "The traffic is not known yet."
    requests = sum(variant.requests for variant in report.variants)
    span, said = (
        (_DAY_S, "a day") if elapsed >= _AN_HOUR_S else (elapsed * 1000 / max(requests, 1), "in 1,000 requests")
    )
    rate = span * requests / elapsed
    baseline, challenger = (variant for variant in pair if variant is not None)
    low, high = each.interval
    if low <= 0 <= high:
        most = rate * max(high * baseline.weight, -low * challenger.weight)
        return f"at most {_rounded(most)} wrong answers {said}", "Which one is worse is not known yet."
    worse = baseline if low > 0 else challenger
    gap = abs(each.difference)
    return (
        f"about {_rounded(gap * rate * worse.weight)} wrong answers {said}",
        f"About {_rounded(gap * worse.requests)} so far, by the share of the traffic that {worse.version} serves.",
    )


def _rounded(value: float) -> str:
    digits = 2 if value >= 10 else 1
    return number(float(f"{value:.{digits}g}")) if value >= 1 else "less than 1"
