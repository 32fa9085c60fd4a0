import msgspec
import pytest

from app.domain.experiment import ExperimentTerms
from app.stats import paired, sentences
from app.stats.assumptions import unverified_assumptions
from app.stats.checks import CheckResult
from app.stats.estimates import NO_LABELS, NotEstimable
from app.stats.evidence import Evidence, LabelArrival
from app.stats.forecast import Forecast
from app.stats.guardrails import GuardrailResult
from app.stats.paired import PairedSummary
from app.stats.paired_interval import interval
from app.stats.stopping import Conclusions, conclude
from app.stats.strongest import Strongest
from app.stats.verdict import describe, recommend, verdict

TERMS = ExperimentTerms(metric="accuracy", equivalence_margin=0.02, min_effect=0.01)
TRUSTED = LabelArrival(shares=(0.5,))
SOUND = (CheckResult("sample_ratio", True, 0.4, 0.1), CheckResult("label_rate", True, 0.7, 0.1))
BROKEN = (CheckResult("sample_ratio", False, 1e-5, 11.0),)


def evidence(wins=12, losses=6, ties=800, **changes) -> Evidence:
    summary = PairedSummary(wins, losses, ties)
    log_e = paired.log_e(summary)
    made = Evidence(
        challenger="v2",
        baseline="v1",
        method="paired",
        n=summary.n,
        difference=paired.difference(summary),
        interval=interval(summary, 0.05),
        log_e=log_e,
        strongest=Strongest(max(log_e, 0.0), summary.n, (wins > losses) - (wins < losses)),
        probability_better=paired.probability_better(summary),
        arrival=TRUSTED,
    )
    return msgspec.structs.replace(made, **changes)


BETTER, WORSE = evidence(120, 60, 8000), evidence(60, 120, 8000)
ALIKE = evidence(agreement=Strongest(5.2, 300, 1))
HOPELESS = evidence(conclusions=Conclusions(futile_at=700))


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
    assert not unverified_assumptions(given, SOUND, TERMS)


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


@pytest.mark.parametrize(
    ("arrival", "exogenous", "refused"),
    [
        (LabelArrival(shares=(0.5, 0.49)), False, False),
        (LabelArrival(shares=(0.5, 0.05)), False, True),
        (LabelArrival(), False, True),
        (LabelArrival(shares=(0.05,)), True, False),
        (LabelArrival(shares=(0.05,), disagreements=200, labelled=190), False, False),
        (LabelArrival(shares=(0.05,), disagreements=200, labelled=189), False, True),
        (LabelArrival(shares=(0.05,), robust_log_e=3.1), False, False),
        (LabelArrival(shares=(0.05,), robust_log_e=2.9), False, True),
    ],
)
def test_automatic_promotion_needs_labels_that_can_be_trusted(arrival, exogenous, refused):
    terms = ExperimentTerms(metric="accuracy", labels_exogenous=exogenous)
    given = msgspec.structs.replace(BETTER, arrival=arrival)
    assert bool(unverified_assumptions(given, SOUND, terms)) == refused


def test_an_asymptotic_result_is_never_enough_for_automatic_promotion():
    given = msgspec.structs.replace(BETTER, method="asymptotic")
    assert recommend([given], SOUND, [], TERMS, "v1").action == "promote"
    assert "range" in unverified_assumptions(given, SOUND, TERMS)[0]


def test_outcomes_of_served_answers_need_no_promise_about_labels():
    given = msgspec.structs.replace(BETTER, method="two_sample", arrival=LabelArrival(shares=(0.05,)))
    assert unverified_assumptions(given, SOUND, ExperimentTerms(metric="reward")) == ()


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
        (evidence(conclusions=Conclusions(not_worse_at=9)), "it is not worse by 2 points or more"),
        (evidence(forecast=Forecast(10, 20, 3000, 0.0)), "10 to 3,000 further labelled requests"),
        (evidence(forecast=Forecast(10, 20, NotEstimable("far"), 0.2)), "more than 10 further"),
        (evidence(forecast=Forecast(NotEstimable("far"), NotEstimable("far"), NotEstimable("far"), 1.0)), "far off"),
        (evidence(difference=NO_LABELS), "cannot be estimated (no labelled request yet)"),
        (evidence(interval=NotEstimable("too few")), "no interval: too few"),
    ],
)
def test_the_sentence_gives_the_numbers(given, words):
    assert words in describe(given, TERMS)


def test_a_lower_loss_is_an_improvement():
    given = evidence(
        method="paired_numeric", difference=0.0123, interval=(0.004, 0.021), strongest=Strongest(5.0, 9, 1)
    )
    sentence = describe(given, ExperimentTerms(metric="brier"))
    assert "its Brier score is 0.012 lower (95 % interval of the improvement +0.004 to +0.021)" in sentence


def test_overwhelming_evidence_is_not_put_in_figures():
    assert "fewer than one in a million" in describe(evidence(strongest=Strongest(900.0, 9, 1)), TERMS)


def test_failed_checks_are_explained():
    assert "shares of the traffic" in sentences.failed_checks(BROKEN)
    assert "p = 1e-05" in sentences.failed_checks(BROKEN)


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
