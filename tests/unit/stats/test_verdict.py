import msgspec
import pytest
from msgspec.structs import replace

from app.domain.experiment import ExperimentTerms
from app.stats.assumptions import too_young, unverified_assumptions
from app.stats.estimates import NO_LABELS, NotEstimable
from app.stats.evidence import Conclusions, Evidence, LabelArrival, Present, Votes, conclude
from app.stats.forecast import Forecast
from app.stats.strongest import Strongest
from app.stats.verdict import finding_of, verdict
from tests.unit.stats.evidences import (
    ALIKE,
    BALANCED,
    BETTER,
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [(BETTER, "better"), (WORSE, "worse"), (ALIKE, "equivalent"), (HOPELESS, "undecided"), (evidence(), "undecided")],
)
def test_the_verdict_says_what_is_proven(given, expected):
    assert verdict(given, TERMS) == expected


def test_the_verdict_remembers_the_strongest_evidence():
    faded = evidence(strongest=Strongest(3.5, 400, -1))
    assert verdict(faded, TERMS) == "worse"


def test_equivalence_by_the_interval_is_enough():
    assert verdict(evidence(conclusions=Conclusions(equivalent_at=500)), TERMS) == "equivalent"


@pytest.mark.parametrize(("metric", "margin"), [("accuracy", None), ("reward", 0.02), ("brier", 0.02)])
def test_agreement_proves_nothing_without_a_margin_or_about_other_metrics(metric, margin):
    assert verdict(ALIKE, ExperimentTerms(metric=metric, equivalence_margin=margin)) == "undecided"


@pytest.mark.parametrize(
    ("arrival", "exogenous", "refused"),
    [
        (LabelArrival(splits=((0.5, 0.5), (0.47, 0.53)), unlabelled=200), False, True),
        (LabelArrival(splits=((0.4, 0.4),), unlabelled=200), False, True),
        (LabelArrival(unlabelled=200), False, True),
        (LabelArrival(splits=((0.1, 0.9),), unlabelled=200), True, False),
        (LabelArrival(splits=((0.1, 0.9),), unlabelled=0), False, False),
        (LabelArrival(splits=((0.0, 1.0),), unlabelled=10), False, False),
        (LabelArrival(splits=((0.0, 1.0),), unlabelled=30), False, True),
    ],
)
def test_automatic_promotion_needs_labels_that_can_be_trusted(arrival, exogenous, refused):
    terms = ExperimentTerms(metric="accuracy", labels_exogenous=exogenous)
    given = evidence(120, 60, 8000, arrival)
    assert bool(unverified_assumptions(given, SOUND, terms)) == refused
    assert finding_of(given, terms).may_be_promoted != refused


def test_a_coin_is_enough_for_a_person_and_not_for_an_automatic_promotion():
    given = evidence(120, 60, 8000, LabelArrival(splits=((0.5, 0.5), (0.48, 0.52)), unlabelled=200))
    terms = ExperimentTerms(metric="accuracy")
    assert finding_of(given, terms).may_be_promoted
    [reason] = unverified_assumptions(given, SOUND, terms)
    assert "label the remaining 200 disagreements, or begin another experiment that declares LABELS_EXOGENOUS" in reason


@pytest.mark.parametrize("method", ["paired_numeric", "asymptotic"])
def test_losses_have_no_gate(method):
    given = replace(BETTER, method=method, arrival=CANARY, present=Present(9.0, 1))
    reasons = unverified_assumptions(given, SOUND, ExperimentTerms(metric="absolute_error"))
    assert "for this metric, begin another experiment that declares LABELS_EXOGENOUS=true" in reasons[-1]
    balanced = replace(given, arrival=BALANCED)
    assert finding_of(balanced, ExperimentTerms(metric="absolute_error")).may_be_promoted
    declared = ExperimentTerms(metric="absolute_error", labels_exogenous=True)
    refused_for_its_range = method == "asymptotic"
    assert bool(unverified_assumptions(balanced, SOUND, declared)) == refused_for_its_range


@pytest.mark.parametrize(("observed_s", "refused"), [(0, True), (86_399, True), (86_400, False), (9e9, False)])
def test_a_promotion_waits_until_the_log_covers_the_least_duration(observed_s, refused):
    assert bool(too_young(observed_s, 86_400.0)) == refused
    assert too_young(observed_s, 0.0) == ()


@pytest.mark.parametrize(
    ("observed_s", "needed_s", "text"),
    [
        (8.9, 604_800.0, "8 s of the experiment"),
        (604_799.0, 604_800.0, "6.9 days of the experiment"),
        (7000.0, 7200.0, "116.6 minutes of the experiment"),
        (0.0, 604_800.0, "only after 7 days ("),
    ],
)
def test_the_wait_names_both_spans_and_never_rounds_the_first_up(observed_s, needed_s, text):
    assert text in too_young(observed_s, needed_s)[0]


@pytest.mark.parametrize(
    ("given", "standing", "settled"),
    [
        (BETTER, "stands", False),
        (WORSE, "stands", True),
        (ALIKE, "stands", True),
        (HOPELESS, "stands", True),
        (evidence(), "open", False),
        (FADED, "faded", False),
        (WEAK, "faded", False),
        (TURNED, "reversed", False),
        (RECOVERED, "reversed", False),
        (evidence(120, 60, 8000, strongest=Strongest(9.0, 400, -1)), "reversed", False),
        (evidence(120, 60, 800, conclusions=Conclusions(futile_at=9), strongest=Strongest()), "reversed", False),
        (replace(FADED, conclusions=Conclusions(futile_at=700)), "faded", True),
        (replace(BETTER, present=Present(2.9, 1, 9.0)), "faded", False),
    ],
)
def test_the_standing_is_what_the_present_makes_of_the_proof(given, standing, settled):
    finding = finding_of(given, TERMS)
    assert (finding.standing, finding.is_settled) == (standing, settled)


def test_outcomes_of_served_answers_need_no_promise_about_labels():
    given = replace(BETTER, method="two_sample", arrival=CANARY)
    assert unverified_assumptions(given, SOUND, ExperimentTerms(metric="reward")) == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((-0.01, 0.015), Conclusions(10, None, 10)),
        ((-0.03, 0.005), Conclusions(None, 10, None)),
        ((-0.03, 0.05), Conclusions()),
        (NO_LABELS, Conclusions()),
    ],
)
def test_stopping_conclusions_follow_from_the_interval(given, expected):
    assert conclude(Conclusions(), 10, given, margin=0.02, min_effect=0.01) == expected


def test_a_conclusion_once_reached_stays():
    reached = conclude(Conclusions(), 10, (-0.01, 0.005), margin=0.02, min_effect=0.01)
    assert conclude(reached, 20, (-0.5, 0.5), margin=0.02, min_effect=0.01) == reached


def test_without_margins_nothing_is_concluded():
    assert conclude(Conclusions(), 10, (0.0, 0.0)) == Conclusions()


def test_evidence_survives_json():
    for given in (BETTER, evidence(0, 0, 0), evidence(forecast=Forecast(1, 2, NotEstimable("far"), 0.5))):
        assert msgspec.json.decode(msgspec.json.encode(given), type=Evidence) == given


@pytest.mark.parametrize(("difference", "standing"), [(0.0199, "stands"), (0.02, "reversed"), (-0.02, "reversed")])
def test_equivalence_stands_while_the_difference_is_within_the_margin(difference, standing):
    proven = evidence(conclusions=Conclusions(equivalent_at=500), difference=difference)
    assert finding_of(proven, TERMS).standing == standing


@pytest.mark.parametrize(
    ("proven", "of_all", "votes", "standing"),
    [
        (BETTER, -0.1, Votes("user", 9000), "contrary"),
        (BETTER, 0.1, Votes("user", 9000), "stands"),
        (BETTER, None, Votes("user", 9000), "stands"),
        (BETTER, -0.1, Votes("request", BETTER.n), "stands"),
        (BETTER, -0.1, Votes("request", BETTER.n, outside=1), "contrary"),
        (WORSE, 0.1, Votes("row", 9000), "contrary"),
        (TURNED, -0.1, Votes("row", 9000), "reversed"),
    ],
)
def test_a_proof_over_units_needs_that_all_outcomes_do_not_contradict_it(proven, of_all, votes, standing):
    finding = finding_of(replace(proven, improvement_of_all=of_all, votes=votes), TERMS)
    assert finding.standing == standing
    assert finding.may_be_promoted == (standing == "stands" and proven is BETTER)
    assert finding.needs_a_person == (standing in ("contrary", "reversed"))
