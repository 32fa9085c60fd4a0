"""What an experiment shows, in words: the sentences and figures of the page and of the report that is sent. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from app.tables.counts import as_sentence, counted, noun_for
from app.ui.experiment_records import ApiCheck, ApiComparison, ApiDrift, ApiExperiment, ApiLag, ApiPoint, ApiTimeline
from app.ui.wording import UNKNOWN, moment, number, readable, scale_of, seconds_since, share, span, unix_of

VERDICTS = {"better": "✔ better", "worse": "✖ worse", "equivalent": "= equivalent", "undecided": "… undecided"}
REWARD = "reward"
# Fewer different rows than this may all be one case.
FEW_ROWS = 10
_VERBS = {
    "continue": "Keep running: no decision yet",
    "promote": "Promote",
    "keep": "Keep",
    "rollback": "Roll back",
    "investigate": "Investigate",
}
_DRIFT_ALARM = "drift alarm"
_SAME = 5e-4
_AN_HOUR_S = 3600.0
_DAY_S = 86_400.0
_STALE_S = 30.0
_OVER = "nothing: it has ended"


def advised(report: ApiExperiment) -> str:
    """What to do, in a few words; of an experiment that has ended what its last report advised."""
    advice = report.recommendation
    if report.ended is not None and advice.action == "continue":
        return "Ended without a verdict"
    verb = _VERBS.get(advice.action, readable(advice.action))
    said = f"{verb} {advice.version}" if advice.version and advice.action != "continue" else verb
    return said if report.ended is None else f"Advice at the end: {said[:1].lower()}{said[1:]}"


def chosen_of(report: ApiExperiment, wanted: str | None = None) -> ApiComparison | None:
    """The comparison with the challenger `wanted`, else the advised one, else the first."""
    by_name = {each.challenger: each for each in report.comparisons}
    named = next((by_name[name] for name in (wanted, report.recommendation.version) if name in by_name), None)
    return named or next(iter(report.comparisons), None)


def small_print(report: ApiExperiment) -> str:
    """Which experiment this is, and what its error rate promises."""
    return (
        f"Experiment {report.id}, {_when(report)} · metric: {readable(report.metric)} · baseline: "
        f"{report.baseline or UNKNOWN} · error rate {share(report.alpha)} over the whole experiment, however often you "
        f"look · computed {moment(report.computed_at)}"
    )


def _when(report: ApiExperiment) -> str:
    if report.ended is None:
        return f"running since {moment(report.started)}"
    return f"ran from {moment(report.started)} to {moment(report.ended)}"


Fact = tuple[str, str, str]


def facts_of(
    each: ApiComparison, report: ApiExperiment, drift: ApiDrift | None, points: Sequence[ApiPoint], now: float
) -> tuple[Fact, Fact, Fact, Fact]:
    """Name, finding and note of: the size, whether it can be trusted, the labels left, the cost of waiting.

    `now` is Unix seconds.
    """
    scale = scale_of(report.metric)
    left, cost = labels_to_come(each, points, now, report.lag), cost_of(each, report, now)
    if report.recommendation.action == "investigate":
        cost = cost[0], f"{cost[1]} This holds only if the comparison can be trusted."
    if report.ended is not None:
        left, cost = (_OVER, f"{counted(each.n, 'outcome')} in all."), (_OVER, "No decision is pending.")
    return (
        (
            f"{each.challenger} against {report.baseline}, same rows",
            scale.change(each.difference, each.interval),
            f"{share(1 - report.alpha, 0)} interval {scale.changes(each.interval)}. {same_rows(each, report)}",
        ),
        ("Can it be trusted?", *trust_in(each, report, drift)),
        ("Labels left", *left),
        ("Waiting costs", *cost),
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
    return f"Of the same {counted(rows)} {said}."


def votes_of(each: ApiComparison) -> str:
    """How many outcomes there are, and who votes."""
    if each.units is None or each.unit is None or each.units == each.n:
        return f"{counted(each.n, 'outcome')} of both."
    return f"{counted(each.n, 'outcome')}; one vote each for {counted(each.units, _unit(each.unit))}."


def trust_in(each: ApiComparison, report: ApiExperiment, drift: ApiDrift | None) -> tuple[str, str]:
    """Whether there is a reason to doubt the figures, and what was looked at."""
    # The alarm and the check that fails for it are one thing.
    against = [_failed(check) for check in _all_checks(report) if check.ok is False]
    if drift is not None and drift.alarm:
        against.append(_DRIFT_ALARM)
    waiting = [readable(check.name) for check in report.checks if check_state(check, report) is None]
    if each.distinct_rows is not None and 0 < each.distinct_rows < FEW_ROWS:
        few = f"only {counted(each.distinct_rows, 'different row')}"
        if each.verdict == "undecided":
            waiting.append(f"{few} so far")
        else:
            against.append(f"decided by {few}")
    passed = sum(check_state(check, report) is True for check in _all_checks(report))
    seen = [f"{passed} of {len(_all_checks(report))} checks and guardrails passed"]
    seen += ["no drift alarm"] if drift is not None and not drift.alarm else []
    if each.distinct_rows is not None:
        about = "about " if each.distinct_rows > 256 else ""  # beyond, their number is an estimate
        seen.append(f"wins and losses come from {about}{counted(each.distinct_rows, 'different row')}")
    seen += ["the interval is an approximation"] if each.asymptotic else []
    seen += [f"limits: {len(each.warnings)}, listed below"] if each.warnings else []
    note = as_sentence("; ".join(seen))
    if against:
        return "✖ " + ", ".join(dict.fromkeys(against)), note
    return ("… not known yet: " + ", ".join(waiting) if waiting else "✔ no problem found"), note


def _failed(check: ApiCheck) -> str:
    return _DRIFT_ALARM if check.name == "drift" else f"{readable(check.name)} failed"


def _all_checks(report: ApiExperiment) -> list[ApiCheck]:
    return [*report.checks, *report.guardrails]


def check_state(check: ApiCheck, report: ApiExperiment) -> bool | None:
    """Whether a check passed; None while unknown, and where there are no data that could have failed it."""
    counted = sum(each.labelled + each.rewards if "label" in check.name else each.requests for each in report.variants)
    return None if check.ok and not counted else check.ok


def labels_to_come(each: ApiComparison, points: Sequence[ApiPoint], now: float, lag: ApiLag | None) -> tuple[str, str]:
    """The 80 % range of the votes left until a decision, and how long they take at the present rate."""
    if each.verdict != "undecided":
        return "none: verdict reached", f"{counted(each.n, 'outcome')} so far."
    low, high = each.remaining or (None, None)
    if low is None:
        return "not known yet", f"{counted(each.n, 'outcome')} so far."
    rate = vote_rate(points, now)
    waits = "The rate is not known yet." if rate is None else "No new vote has been counted in the last day."
    if rate:
        waits = as_sentence(f"{span(low / rate, None if high is None else high / rate)} at the present rate")
    if lag is not None and lag.seconds >= _STALE_S:
        waits = "The rate is not known: the monitor is behind."
    return left_in_words(low, high, each.unit), f"80 % range. {waits}"


def left_in_words(low: float, high: float | None, unit: str | None) -> str:
    """Votes that are left, such as `254–25,753 more labels`."""
    # Beyond a million the forecast is not made: it would be as good as never.
    upper = " to more than a million" if high is None else f"–{math.ceil(high):,}"
    what = "label" if unit in (None, "request") else f"labelled {_unit(str(unit))}"
    return f"{math.ceil(low):,}{upper} more {what}s"


def labels_left(each: ApiComparison) -> str | None:
    """The 80 % range of the votes left until a decision; None if it cannot be estimated yet."""
    low, high = each.remaining or (None, None)
    return None if low is None else f"{left_in_words(low, high, each.unit)} (80 % range)"


def progress(each: ApiComparison, report: ApiExperiment) -> str:
    """How many outcomes there are, how many of them vote, and how many more a decision may need."""
    if each.n == 0:
        if report.metric == REWARD:
            return (
                "**No reward has entered yet.** Send them with `POST /feedback`; a version without traffic gets none."
            )
        return "**0 labelled outcomes.** Send true labels with `POST /feedback`, or a file of them on the Labels page."
    outcomes = f"{counted(each.n, 'outcome' if report.metric == REWARD else 'labelled outcome')}{_votes(each)}."
    if each.verdict != "undecided":
        return f"A verdict is on record; {outcomes}"
    left = labels_left(each)
    if left is not None and report.ended is None:
        return f"**{left}** to a decision; {outcomes}"
    return f"No verdict{' yet' if report.ended is None else ''}; {outcomes}"


def _votes(each: ApiComparison) -> str:
    """Whose votes they are; empty from a release that does not say."""
    if each.units is None or each.unit is None:
        return ""
    if each.unit == "request" and each.units == each.n:
        return ", each with a vote"
    return f", of which {each.units:,} vote (each {_unit(each.unit)} once)"


def _unit(unit: str) -> str:
    return "own key" if unit == "key" else unit


def vote_rate(points: Sequence[ApiPoint], now: float) -> float | None:
    """Votes a second over the day before `now` (Unix), also while none come; None where that is not known."""
    timed = [(unix_of(point.at), point.n) for point in points]
    known = [(at, n) for at, n in timed if at is not None]
    if not known:
        return None
    begun = max(now - _DAY_S, known[0][0])
    came = known[-1][1] - float(np.interp(begun, [at for at, _ in known], [n for _, n in known]))
    # Votes at the only moment that is known were cast before it.
    return came / (now - begun) if now > begun and (came or begun > known[0][0]) else None


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
        return f"at most {_wrong(most)} {said}", "Which one is worse is not known yet."
    worse = baseline if low > 0 else challenger
    gap = abs(each.difference)
    return (
        f"about {_wrong(gap * rate * worse.weight)} {said}",
        f"About {_rounded(gap * worse.requests)} so far, by the share of the traffic that {worse.version} serves.",
    )


def _wrong(count: float) -> str:
    shown = _rounded(count)
    return f"{shown} {noun_for(shown, 'wrong answers')}"


def _rounded(value: float) -> str:
    digits = 2 if value >= 10 else 1
    return number(float(f"{value:.{digits}g}")) if value >= 1 else "less than 1"


def points_of(each: ApiComparison | None, report: ApiExperiment, timeline: ApiTimeline | None) -> list[ApiPoint]:
    """The timeline of a comparison; empty where there is none."""
    if each is None:
        return []
    # The two are read at different moments: this may still be the timeline of the experiment before.
    points = timeline.points if timeline is not None and timeline.experiment_id in ("", report.id) else ()
    return at_one_moment([point for point in points if point.challenger == each.challenger], each, report)


def at_one_moment(points: list[ApiPoint], each: ApiComparison, report: ApiExperiment) -> list[ApiPoint]:
    """The timeline up to the report, and the report's own figures as its end.

    The two are asked for at different moments, and a chart must not contradict the figures beside it.
    """
    votes = each.n if each.units is None else each.units
    if not votes:
        return []
    last = ApiPoint(
        challenger=each.challenger,
        n=votes,
        at=report.computed_at or "",
        difference=each.difference,
        interval=each.interval,
        log_e=each.log_e,
    )
    return [*(point for point in points if point.n < votes), last]
