import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stats import agreement, checks, guardrails
from app.stats.agreement import AgreementState
from app.stats.checks import EpochCounts, RatioState
from app.stats.estimates import bar
from app.stats.guardrails import GuardrailState, SlowThreshold

COUNTS = st.sampled_from([0, 1, 3, 50, 10**4, 10**7])


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [((5200, 4800), (0.5, 0.5), 5.613613411757), ((950, 80), (0.9, 0.1), 1.658821638249)],
)
def test_sample_ratio_agrees_with_the_reference(counts, shares, expected):
    assert checks.log_e(RatioState({1: EpochCounts(shares, counts)})) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("challenger", "events", "share", "margin", "expected"),
    [(12, 15, 0.5, 0.0, 2.186776411961), (12, 15, 0.5, 0.25, 1.372711166445)],
)
def test_guardrail_agrees_with_the_reference(challenger, events, share, margin, expected):
    assert guardrails.log_e(challenger, events, share, margin) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("differ", "n", "margin", "expected"), [(20, 1500, 0.02, 0.24204295036), (0, 300, 0.02, 5.15510951307)]
)
def test_agreement_agrees_with_the_reference(differ, n, margin, expected):
    assert agreement.log_e(differ, n, margin) == pytest.approx(expected, abs=1e-8)


@given(COUNTS, COUNTS, st.sampled_from([0.05, 0.5, 0.9]))
def test_all_checks_are_finite_at_extreme_counts(one, other, share):
    ratio = RatioState({1: EpochCounts((1 - share, share), (one, other))})
    assert math.isfinite(checks.log_e(ratio))
    assert math.isfinite(guardrails.log_e(one, one + other, share, 0.1))
    assert math.isfinite(agreement.log_e(one, one + other, 0.02))


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(0, 40))
def test_sample_ratio_does_not_depend_on_how_a_run_is_cut(events, cut):
    versions, shares = np.array(events, int), (0.5, 0.3, 0.2)
    whole = checks.follow(RatioState(), 1, shares, versions)
    assert checks.follow(checks.follow(RatioState(), 1, shares, versions[:cut]), 1, shares, versions[cut:]) == whole


def test_each_epoch_of_constant_weights_has_its_own_factor():
    first = checks.follow(RatioState(), 1, (0.9, 0.1), np.array([0] * 90 + [1] * 10))
    both = checks.follow(first, 2, (0.5, 0.5), np.array([0, 1] * 50))
    alone = checks.follow(RatioState(), 2, (0.5, 0.5), np.array([0, 1] * 50))
    assert checks.log_e(both) == pytest.approx(checks.log_e(first) + checks.log_e(alone))
    assert checks.result("sample_ratio", both).ok


def test_a_broken_split_fails_the_check_and_never_recovers():
    broken = checks.follow(RatioState(), 1, (0.5, 0.5), np.array([0] * 300))
    mended = checks.follow(broken, 2, (0.5, 0.5), np.array([0, 1] * 500))
    result = checks.result("sample_ratio", mended)
    assert (result.ok, result.p_value < 0.001) == (False, True)


def test_an_event_of_a_version_without_weight_fails_the_check_at_once():
    state = checks.follow(RatioState(), 1, (1.0, 0.0), np.array([0, 1, 0]))
    assert not checks.result("sample_ratio", state).ok
    assert msgspec.json.decode(msgspec.json.encode(state), type=RatioState) == state


def test_a_sound_split_seldom_fails_with_a_look_at_each_event():
    # 300 runs of 1,000 assignments at alpha .05 instead of .001, so that the promise can be seen at all.
    chance = np.random.default_rng(4)
    states = (checks.follow(RatioState(), 1, (0.8, 0.2), (chance.random(1000) < 0.2).astype(int)) for _ in range(300))
    assert np.mean([not checks.result("sample_ratio", state, 0.05).ok for state in states]) <= 0.05


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_guardrail_learns_nothing_where_one_version_has_all_the_traffic(share):
    assert guardrails.log_e(5, 5, share) == 0.0


def test_a_run_of_errors_of_a_canary_crosses_the_guardrail():
    needed = next(k for k in range(1, 100) if guardrails.log_e(k, k, 0.05) >= bar(guardrails.ALPHA))
    state = guardrails.follow(GuardrailState(), 1, 0.05, np.ones(needed, bool))
    result = guardrails.result("errors", "v2", state)
    assert (result.crossed, result.own, result.events) == (True, needed, needed)
    assert not guardrails.result("errors", "v2", guardrails.follow(GuardrailState(), 1, 0.05, np.ones(2, bool))).crossed


def test_a_guardrail_once_crossed_stays_crossed():
    state = guardrails.follow(GuardrailState(), 1, 0.5, np.ones(20, bool))
    later = guardrails.follow(state, 2, 0.5, np.zeros(200, bool))
    assert guardrails.result("errors", "v2", later).crossed
    assert guardrails.log_e(20, 20, 0.5) + guardrails.log_e(0, 200, 0.5) < bar(0.001) < guardrails.log_e(20, 20, 0.5)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_a_guardrail_does_not_depend_on_how_a_run_is_cut(events, cut):
    hits = np.array(events, bool)
    parts = guardrails.follow(guardrails.follow(GuardrailState(), 1, 0.3, hits[:cut]), 1, 0.3, hits[cut:])
    assert parts == guardrails.follow(GuardrailState(), 1, 0.3, hits)


def test_a_margin_forgives_a_little_harm():
    assert guardrails.log_e(70, 100, 0.5, 0.5) < guardrails.log_e(70, 100, 0.5)


def test_failures_where_both_were_asked_are_a_factor_of_their_own():
    served = guardrails.follow(GuardrailState(), 1, 0.1, np.array([True, False, False]))
    state = guardrails.follow(served, 0, 0.5, np.array([True] * 6 + [False]))
    both = guardrails.log_e(1, 3, 0.1) + guardrails.log_e(6, 7, 0.5)
    assert state.strongest.log_e >= both - 1e-12
    assert (state.epochs[0].share, state.epochs[1].share) == (0.5, 0.1)
    assert guardrails.result("errors", "v2", state).expected == pytest.approx(3 * 0.1 + 7 * 0.5)
    assert msgspec.json.decode(msgspec.json.encode(state), type=GuardrailState) == state


def _failures(chance: np.random.Generator, requests: int, baseline: float, challenger: float) -> GuardrailState:
    """A 90/10 split: in half of the requests both versions are asked, in the others the served one alone."""
    failed = chance.random((requests, 2)) < (baseline, challenger)
    served, both = chance.random(requests) < 0.1, chance.random(requests) < 0.5
    state = GuardrailState()
    for (base, other), own, shadowed in zip(failed.tolist(), served.tolist(), both.tolist(), strict=True):
        if shadowed and base != other:
            state = guardrails.follow(state, 0, 0.5, np.array([other]))
        elif not shadowed and (other if own else base):
            state = guardrails.follow(state, 1, 0.1, np.array([own]))
    return state


def test_equal_failure_rates_at_90_10_are_not_rolled_back():
    chance = np.random.default_rng(8)
    crossed = [guardrails.result("errors", "v2", _failures(chance, 400, 0.2, 0.2)).crossed for _ in range(200)]
    assert sum(crossed) <= 1  # α is .001


def test_a_version_that_fails_more_often_is_found_by_its_shadow_answers():
    chance = np.random.default_rng(9)
    assert guardrails.result("errors", "v2", _failures(chance, 400, 0.02, 0.12)).crossed


def test_rows_that_break_both_versions_keep_the_margin_true():
    # Of the rows with a failure 80 % break both, 18 % the challenger alone, 2 % the baseline: a rate 1.2 times as high.
    chance, pairs = np.random.default_rng(10), {"both": [False, True], "challenger": [True], "baseline": [False]}
    crossed = {True: 0, False: 0}
    for _ in range(40):
        kinds = chance.choice([*pairs], 300, p=[0.8, 0.18, 0.02])
        for counted in crossed:
            events = [hit for kind in kinds.tolist() if counted or kind != "both" for hit in pairs[kind]]
            state = guardrails.follow(GuardrailState(), 0, 0.5, np.array(events), 0.25)
            crossed[counted] += guardrails.result("errors", "v2", state).crossed
    assert crossed[True] == 0
    assert crossed[False] > 30


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 60))
def test_agreement_looks_at_every_request_in_any_batches(differs, cut):
    flags = np.array(differs, bool)
    whole = agreement.follow(AgreementState(), flags, 0.02)
    assert agreement.follow(agreement.follow(AgreementState(), flags[:cut], 0.02), flags[cut:], 0.02) == whole
    looks = [agreement.log_e(int(flags[:n].sum()), n, 0.02) for n in range(len(flags) + 1)]
    assert whole.strongest.log_e == pytest.approx(max(looks), abs=1e-12)


def test_agreement_proves_equivalence_without_a_label():
    state = agreement.follow(AgreementState(), np.zeros(300, bool), 0.02)
    assert (state.n, state.differ) == (300, 0)
    assert state.strongest.log_e >= bar(0.05)


def test_versions_that_differ_more_than_the_margin_are_seldom_called_equivalent():
    chance = np.random.default_rng(8)
    runs = [agreement.follow(AgreementState(), chance.random(1500) < 0.02, 0.02) for _ in range(200)]
    assert np.mean([run.strongest.log_e >= bar(0.05) for run in runs]) <= 0.05


def test_the_slow_threshold_finds_the_quantile():
    latencies, threshold = np.random.default_rng(2).lognormal(5, 0.5, 20_000), SlowThreshold()
    for latency in latencies:
        threshold = threshold.observe(latency)
    assert np.mean(np.log(latencies) > threshold.log_us) == pytest.approx(0.05, abs=0.02)
