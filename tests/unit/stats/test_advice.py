"""The recommendation, and the sentences, which must never contradict the numbers in them."""

import re

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.experiment import ExperimentTerms
from app.stats import sentences
from app.stats.advice import recommend
from app.stats.assumptions import unverified_assumptions
from app.stats.estimates import NO_LABELS, NotEstimable, bar
from app.stats.evidence import Conclusions, LabelArrival, Present, percent
from app.stats.forecast import Forecast
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import Strongest
from app.stats.verdict import finding_of
from tests.unit.stats.evidences import (
    ALIKE,
    BALANCED,
    BETTER,
    BROKEN,
    CANARY,
    FADED,
    HOPELESS,
    RECOVERED,
    SOUND,
    TERMS,
    TURNED,
    WEAK,
    WORSE,
    evidence,
)


def sentence(given, terms):
    return sentences.describe(finding_of(given, terms))


@pytest.mark.parametrize(
    ("given", "action", "version"),
    [
        (BETTER, "promote", "v2"),
        (WORSE, "keep", "v1"),
        (ALIKE, "keep", "v1"),
        (HOPELESS, "keep", "v1"),
        (evidence(), "continue", None),
        (evidence(0, 0, 0), "continue", None),
    ],
)
def test_the_recommendation_follows_the_verdict(given, action, version):
    advice = recommend([given], SOUND, [], TERMS, "v1")
    assert (advice.action, advice.version) == (action, version)
    assert not unverified_assumptions(given, SOUND, replace(TERMS, labels_exogenous=True))


def test_a_failed_check_turns_any_verdict_into_investigate():
    advice = recommend([BETTER], BROKEN, [], TERMS, "v1")
    assert (advice.action, advice.version) == ("investigate", None)
    assert unverified_assumptions(BETTER, BROKEN, TERMS)


def test_a_crossed_guardrail_comes_first():
    guardrail = GuardrailResult("errors", "v2", True, 1e-5, 15, 14, 7.5)
    advice = recommend([BETTER], BROKEN, [guardrail], TERMS, "v1")
    assert (advice.action, advice.version) == ("rollback", "v1")
    assert "14 of 15" in advice.reason


def test_the_best_of_several_winners_is_promoted():
    other = evidence(200, 60, 8000, challenger="v3")
    assert recommend([BETTER, other, WORSE], SOUND, [], TERMS, "v1").version == "v3"


def test_one_open_comparison_keeps_the_experiment_going():
    advice = recommend([WORSE, evidence(challenger="v3")], SOUND, [], TERMS, "v1")
    assert advice.action == "continue"
    assert "v3" in advice.reason
    assert "v2" not in advice.reason


def test_without_challengers_the_experiment_goes_on():
    assert recommend([], SOUND, [], TERMS, "v1").action == "continue"


def test_an_asymptotic_result_is_never_enough_for_automatic_promotion():
    given = replace(BETTER, method="asymptotic")
    assert recommend([given], SOUND, [], TERMS, "v1").action == "promote"
    assert "range" in unverified_assumptions(given, SOUND, TERMS)[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (BETTER, "v2 is better than v1: over 8,180 labelled requests its accuracy is 0.7 points higher"),
        (WORSE, "v2 is worse than v1: over 8,180 labelled requests its accuracy is 0.7 points lower"),
        (BETTER, "at most 1 of 3,119 experiments"),
        (ALIKE, "differs by less than 2 points (300 requests were enough to prove it)"),
        (HOPELESS, "not better than v1 by 1 point or more"),
        (
            evidence(),
            "undecided: its accuracy is 0.7 points higher (95 % interval of the improvement −0.9 to +2.6 points)",
        ),
        (evidence(0, 0, 0), "no outcome that compares them has arrived"),
        (evidence(8, 8, 80), "its accuracy is the same (95 % interval of the improvement −"),
        (evidence(difference=0.0101, interval=(-0.3, 0.4)), "its accuracy is 1 point higher ("),
        (evidence(difference=0.0001, interval=(-0.3, 0.4)), "its accuracy is about the same ("),
        (evidence(form="product"), "its accuracy on all requests is 0.7 points higher"),
        (evidence(conclusions=Conclusions(not_worse_at=9)), "it is not worse by 2 points or more"),
        (evidence(forecast=Forecast(10, 20, 3000, 0.0)), "10 to 3,000 further labelled requests"),
        (evidence(forecast=Forecast(10, 20, NotEstimable("far"), 0.2)), "more than 10 further"),
        (evidence(forecast=Forecast(NotEstimable("far"), NotEstimable("far"), NotEstimable("far"), 1.0)), "far off"),
        (evidence(difference=NO_LABELS), "cannot be estimated (no labelled request yet)"),
        (evidence(interval=NotEstimable("too few")), "no interval: too few"),
    ],
)
def test_the_sentence_gives_the_numbers(given, words):
    assert words in sentence(given, TERMS)


def test_a_lower_loss_is_an_improvement():
    given = evidence(
        method="paired_numeric", difference=0.0123, interval=(0.004, 0.021), strongest=Strongest(5.0, 9, 1)
    )
    said = sentence(given, ExperimentTerms(metric="brier"))
    assert "its Brier score is 0.012 lower (95 % interval of the improvement +0.004 to +0.021)" in said


def test_overwhelming_evidence_is_not_put_in_figures():
    assert "fewer than one in a million" in sentence(replace(BETTER, strongest=Strongest(900.0, 9, 1)), TERMS)


def test_failed_checks_are_explained():
    assert "shares of the traffic" in sentences.failed_checks(BROKEN)
    assert "p < 0.0001" in sentences.failed_checks(BROKEN)
    assert "p = 0.0005" in sentences.failed_checks([replace(BROKEN[0], p_value=5e-4)])


BLOCKED = evidence(120, 60, 8000, LabelArrival(splits=((0.1, 0.9),), unlabelled=212))


@pytest.mark.parametrize(
    ("given", "action", "words"),
    [
        (
            BLOCKED,
            "continue",
            "v2 is proven better than v1 only if labels do not depend on the answer that was served: label the "
            "remaining 212 disagreements, or begin another experiment that is split 50/50 throughout or declares "
            "LABELS_EXOGENOUS=true; over 8,180",
        ),
        (TURNED, "investigate", "v2 was proven better than v1 after 400 labelled requests, but the difference has"),
        (RECOVERED, "investigate", "v2 was proven worse than v1 after 400 labelled requests, but the difference has"),
        (FADED, "continue", "v2 was proven better than v1 after 400 labelled requests, and the record keeps it; the"),
        (WEAK, "continue", "the present evidence is too weak to act on (e-value 0.23, 20 needed)"),
        (replace(FADED, conclusions=Conclusions(futile_at=700)), "keep", "v2 is not better than v1 by 1 point"),
        (
            evidence(120, 60, 800, conclusions=Conclusions(futile_at=700), strongest=Strongest(0.0, 0, 0)),
            "investigate",
            "an improvement of v2 over v1 by 1 point was ruled out after 700 labelled requests, but the difference",
        ),
    ],
)
def test_a_remembered_or_conditional_proof_calls_for_no_action(given, action, words):
    advice = recommend([given], SOUND, [], TERMS, "v1")
    assert (advice.action, advice.version) == (action, "v1" if action == "keep" else None)
    assert words in advice.reason


def test_a_winner_of_the_present_goes_before_a_proof_that_has_turned():
    assert recommend([TURNED, replace(BETTER, challenger="v3")], SOUND, [], TERMS, "v1").version == "v3"


def test_a_blocked_winner_is_not_settled():
    advice = recommend([BLOCKED, replace(WORSE, challenger="v3")], SOUND, [], TERMS, "v1")
    assert (advice.action, "v3" in advice.reason) == ("continue", False)


SIDES = st.sampled_from([-1, 0, 1])
DIFFERENCES = st.one_of(st.floats(-1, 1), st.just(0.0), st.just(NO_LABELS))
INTERVALS = st.one_of(st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted).map(tuple), st.just(NO_LABELS))
LOG_ES = st.one_of(st.floats(-20, 20), st.floats(2.9, 3.1))
METRICS = st.sampled_from(["accuracy", "brier", "log_loss", "absolute_error", "reward"])
COUNTS = st.one_of(st.none(), st.integers(1, 500))


@st.composite
def states(draw):
    """Evidence in any combination of past and present, also such as no log would give, and its terms."""
    metric = draw(METRICS)
    method = "paired" if metric == "accuracy" else "two_sample" if metric == "reward" else "paired_numeric"
    past, side = draw(LOG_ES), draw(st.sampled_from([-1, 1]))
    log_e, present_side, difference = draw(LOG_ES), draw(SIDES), draw(DIFFERENCES)
    given = evidence(
        method=method,
        n=draw(st.integers(1, 10_000)),
        difference=difference,
        interval=draw(INTERVALS),
        strongest=Strongest(max(past, 0.0), draw(st.integers(1, 500)), side),
        # Evidence that favours neither version is never strong.
        present=Present(
            log_e if present_side and difference else min(log_e, 0.0), present_side, draw(st.one_of(st.none(), LOG_ES))
        ),
        conclusions=Conclusions(draw(COUNTS), draw(COUNTS), draw(COUNTS)),
        arrival=draw(st.sampled_from([BALANCED, CANARY, LabelArrival(unlabelled=9)])),
    )
    terms = ExperimentTerms(
        metric=metric, equivalence_margin=0.02, min_effect=0.01, labels_exogenous=draw(st.booleans())
    )
    return given, terms


def sign(value):
    return (value > 0) - (value < 0)


def shown(said, terms):
    """The signs of the difference and of the interval's ends in the sentence; None for what it does not show."""
    word = re.search(r" is (?:[\d.]+\S*(?: points?)?) (higher|lower)", said)
    better = "lower" if terms.metric in ("brier", "log_loss", "absolute_error") else "higher"
    difference = None if word is None else 1 if word[1] == better else -1
    ends = re.search(r"interval of the improvement ([+−][\d.]+) to ([+−][\d.]+)", said)
    return difference, None if ends is None else tuple(sign(float(end.replace("−", "-"))) for end in ends.groups())


@settings(max_examples=600)
@drawn(states())
def test_no_sentence_contradicts_its_numbers(state):
    given, terms = state
    said = sentence(given, terms)
    difference, ends = shown(said, terms)
    # A claim in the present tense stands beside numbers of its side only.
    claim = re.match(r"v2 is (?:proven )?(better|worse) ", said)
    if claim is not None:
        side = 1 if claim[1] == "better" else -1
        assert difference in (side, None), said
        # An end that is shown as 0 may be rounded, and be on either side.
        assert ends is None or -side not in ends or {side, 0} & set(ends), said
        assert (given.present.side, given.present.log_e >= bar(terms.alpha)) == (side, True)
    # A claim that the numbers contradict is in the past tense, and says that something has changed.
    past = re.match(r"v2 was proven (better|worse) ", said)
    if past is not None and difference == (-1 if past[1] == "better" else 1):
        assert "but the difference has changed since" in said
    if difference is not None and ends is not None:
        assert ends[0] <= difference or 0 in ends, said
        assert ends[1] >= difference or 0 in ends, said
    if "is not better than v1 by" in said:
        assert given.difference is NO_LABELS or given.difference < terms.min_effect
    if "20 needed" in said:
        assert float(re.search(r"e-value ([\d.e+-]+),", said)[1]) < 20


@settings(max_examples=600)
@drawn(states())
def test_every_action_has_the_present_on_its_side(state):
    given, terms = state
    advice = recommend([given], SOUND, [], terms, "v1")
    proven = given.present.log_e >= bar(terms.alpha)
    if advice.action == "promote":
        assert (proven, given.present.side, given.strongest.side) == (True, 1, 1)
        gate = given.present.gate_log_e
        trusted = terms.metric == "reward" or terms.labels_exogenous or given.arrival == BALANCED
        assert trusted or (gate is not None and gate >= bar(terms.alpha))
    if advice.action == "keep" and " is worse than " in advice.reason:
        assert (proven, given.present.side) == (True, -1)
    if advice.action == "investigate":
        assert " was " in advice.reason
    assert not (advice.action == "keep" and " was " in advice.reason)


def advise(given):
    return recommend([given], SOUND, [], TERMS, "v1")


def test_a_winner_on_few_requests_is_promoted_with_the_consequence():
    advice = advise(replace(BETTER, comparable_share=0.031))
    assert (advice.action, advice.version) == ("promote", "v2")
    assert advice.reason.startswith("v2 is better than v1: ")
    assert advice.reason.endswith(
        "; only 3.1 % of the requests have every column that the two read, and v2 as champion refuses those that lack "
        "one of its own"
    )


def test_a_verdict_on_few_requests_says_on_how_many():
    reason = advise(replace(WORSE, comparable_share=0.2)).reason
    assert reason.endswith("; only 20 % of the requests have every column that the two read")


@pytest.mark.parametrize(
    ("share", "refused"), [(0.9, True), (0.985, True), (0.995, False), (1.0, False), (None, False)]
)
def test_a_champion_that_would_refuse_requests_is_not_promoted_automatically(share, refused):
    reasons = unverified_assumptions(
        replace(BETTER, comparable_share=share), SOUND, replace(TERMS, labels_exogenous=True)
    )
    assert [each.partition(" of the requests lack a column of v2 or v1")[1] != "" for each in reasons] == [
        True
    ] * refused


def test_a_challenger_of_which_no_request_has_every_column_is_named():
    assert advise(replace(evidence(0, 0, 0), comparable_share=0.0)).reason == (
        "nothing is known about v2 against v1: no request has every column that the two read, so they could not both "
        "take part in any"
    )


@pytest.mark.parametrize("share", [None, 1.0, 0.995])
def test_nothing_is_said_of_columns_where_nearly_every_request_has_all(share):
    assert "column" not in advise(replace(BETTER, comparable_share=share)).reason


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (1e-9, "0.01 %"), (0.031, "3.1 %"), (0.42, "42 %"), (0.9999999, "99.9 %"), (1.0, "100 %")],
)
def test_a_share_reads_as_none_or_all_only_where_it_is(share, shown):
    assert percent(share) == shown
