"""The difference on all requests where labels are missing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.stats import means, paired, paired_interval, robust
from app.stats.all_traffic import Coverage, difference, worst_case
from app.stats.estimates import NotEstimable, bar
from app.stats.paired import PairedSummary


@st.composite
def coverages(draw, most=300) -> Coverage:
    wins, losses, wrong, unlabelled = (draw(st.integers(0, most)) for _ in range(4))
    labelled = wins + losses + wrong
    agreements = draw(st.integers(0, 20 * most))
    differ = labelled + unlabelled
    return Coverage(both=differ + agreements, differ=differ, labelled=labelled, wins=wins, losses=losses)


def test_where_all_disagreements_are_labelled_agreements_are_ties_without_a_label():
    found = difference(Coverage(both=1000, differ=80, labelled=80, wins=45, losses=25), 0.05, exogenous=False)
    assert found.form == "exact"
    assert found.estimate == pytest.approx(0.02)
    assert found.interval == pytest.approx((-0.00570314776, 0.04730441293), abs=1e-8)


def test_where_some_are_labelled_the_rate_is_multiplied_by_the_lead_among_them():
    half = Coverage(both=1000, differ=80, labelled=40, wins=30, losses=8)
    found = difference(half, 0.05, exogenous=True)
    rate = means.interval(80, 1000, 0.005)
    lead = paired_interval.interval(PairedSummary(30, 8, 2), 0.045)
    assert (found.form, found.estimate) == ("product", pytest.approx(0.08 * 22 / 40))
    assert found.interval == pytest.approx((rate[0] * lead[0], rate[1] * lead[1]))


@pytest.mark.parametrize(("wins", "losses", "signs"), [(300, 20, (1, 1)), (20, 300, (-1, -1)), (150, 140, (-1, 1))])
def test_the_product_takes_the_end_of_the_rate_that_lies_farther_out(wins, losses, signs):
    labelled = wins + losses
    given = Coverage(both=4000, differ=2 * labelled, labelled=labelled, wins=wins, losses=losses)
    low, high = difference(given, 0.05, exogenous=True).interval
    rate, lead = means.interval(2 * labelled, 4000, 0.005), paired_interval.interval(given.disagreements, 0.045)
    corners = [r * g for r in rate for g in lead]
    assert (low, high) == (min(corners), max(corners))
    assert (math.copysign(1, low), math.copysign(1, high)) == signs


@settings(max_examples=60, deadline=None)
@given(coverages(), st.booleans())
def test_the_estimate_lies_in_the_interval(given_, exogenous):
    found = difference(given_, 0.05, exogenous=exogenous)
    if isinstance(found.interval, NotEstimable):
        assert not given_.both
        return
    assert -1 <= found.interval[0] <= found.interval[1] <= 1
    if not isinstance(found.estimate, NotEstimable):
        assert found.interval[0] - 1e-12 <= found.estimate <= found.interval[1] + 1e-12


@settings(max_examples=60, deadline=None)
@given(coverages())
def test_the_exact_form_excludes_0_exactly_when_the_paired_test_rejects(given_):
    full = Coverage(
        both=given_.both, differ=given_.labelled, labelled=given_.labelled, wins=given_.wins, losses=given_.losses
    )
    if full.both:
        low, high = difference(full, 0.05, exogenous=False).interval
        assert (low > 0 or high < 0) == (paired.log_e(full.disagreements) >= bar(0.05))


@settings(max_examples=60, deadline=None)
@given(coverages())
def test_the_product_excludes_0_exactly_when_the_evidence_reaches_the_bar_of_its_part(given_):
    found = difference(given_, 0.05, exogenous=True)
    if found.form == "product":
        low, high = found.interval
        assert (low > 0 or high < 0) == (paired.log_e(given_.disagreements) >= bar(0.045))


@pytest.mark.parametrize(
    ("given", "exogenous", "form"),
    [
        (Coverage(both=100, differ=10, labelled=4, wins=3, losses=1), False, "worst_case"),
        (Coverage(both=100, differ=10, labelled=4, wins=3, losses=1), True, "product"),
        (Coverage(both=100, differ=10), True, "worst_case"),
        (Coverage(both=100), False, "exact"),
        (Coverage(), True, "exact"),
    ],
)
def test_the_form_follows_from_the_labels_and_the_declaration(given, exogenous, form):
    assert difference(given, 0.05, exogenous=exogenous).form == form


@pytest.mark.parametrize("given", [Coverage(), Coverage(both=50, differ=5)])
def test_without_a_label_of_a_disagreement_there_is_no_estimate(given):
    assert isinstance(difference(given, 0.05, exogenous=True).estimate, NotEstimable)


def test_without_a_disagreement_the_estimate_is_0():
    found = difference(Coverage(both=50), 0.05, exogenous=False)
    assert (found.estimate, found.interval) == (0.0, pytest.approx((-0.12742636, 0.12742636), abs=1e-8))


@settings(max_examples=100, deadline=None)
@given(coverages(60), st.sampled_from([(1, 0), (0, 1), (0, 0)]))
def test_a_label_can_only_shrink_the_worst_case(given_, label):
    more = Coverage(
        both=given_.both + 1, differ=given_.differ + 1, labelled=given_.labelled, wins=given_.wins, losses=given_.losses
    )
    labelled = Coverage(
        both=more.both,
        differ=more.differ,
        labelled=more.labelled + 1,
        wins=more.wins + label[0],
        losses=more.losses + label[1],
    )
    before, after = worst_case(more, 0.05), worst_case(labelled, 0.05)
    assert before[0] <= after[0] + 1e-9
    assert after[1] <= before[1] + 1e-9


@settings(max_examples=60, deadline=None)
@given(coverages(), st.integers(1, 8))
def test_the_worst_case_holds_manskis_bounds_and_widens_with_the_confidence(given_, k):
    if not given_.both:
        return
    bounds = robust.worst_case(given_.known, given_.unlabelled)
    wide, wider = worst_case(given_, 0.05), worst_case(given_, 0.05 / k)
    assert wider[0] <= wide[0] + 1e-9 <= bounds[0] + 2e-9
    assert bounds[1] <= wide[1] + 1e-9 <= wider[1] + 2e-9


def _ever_misses(chance: np.random.Generator, labelled_share: float, looks: np.ndarray) -> bool:
    """One experiment of 2,000 requests with a true difference of .03; the share of disagreements that is labelled."""
    gains = chance.choice([1, -1, 0, 2], p=[0.06, 0.03, 0.02, 0.89], size=int(looks[-1]))
    differ = gains < 2
    labelled = differ & (chance.random(len(gains)) < labelled_share)
    for n in looks.tolist():
        seen = gains[:n][labelled[:n]]
        coverage = Coverage(
            both=n,
            differ=int(differ[:n].sum()),
            labelled=len(seen),
            wins=int((seen == 1).sum()),
            losses=int((seen == -1).sum()),
        )
        low, high = difference(coverage, 0.05, exogenous=True).interval
        if not low <= 0.03 <= high:
            return True
    return False


@pytest.mark.parametrize("labelled_share", [1.0, 0.5])
def test_the_interval_covers_the_difference_on_all_traffic_at_any_look(labelled_share):
    chance, looks = np.random.default_rng(3), np.geomspace(20, 2000, 20).astype(int)
    missed = sum(_ever_misses(chance, labelled_share, looks) for _ in range(60))
    assert missed <= 3  # .05 of 60


def test_labelled_disagreements_and_all_agreements_are_known():
    given = Coverage(both=10, differ=4, labelled=3, wins=2, losses=1)
    assert (given.known, given.unlabelled) == (PairedSummary(2, 1, 6), 1)
