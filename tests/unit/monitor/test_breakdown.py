"""Breakdowns equal a computation by hand, and do not depend on how the log is cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from app.domain.contract import Feature
from app.domain.log_event import CorrectionRow, OutcomeCorrected, OutcomeJoined
from app.errors import InvalidRequest
from app.monitor.breakdown import BreakdownProjection
from app.stats import paired_interval
from app.stats.paired import PairedSummary
from tests.unit.monitor.broken_down import CLASSES, BrokenDown, references


@pytest.fixture(scope="module")
def both():
    """A log, and what is in it."""
    made = BrokenDown()
    return made, made.random_traffic(400, seed=3)


@pytest.mark.parametrize("place", [0, 1])
def test_confusion_precision_recall_and_f1_are_those_of_scikit_learn(both, place):
    made, met = both
    version = ("v1", "v2")[place]
    known = [(label, answers[version]) for _, answers, _, label in met if label is not None and version in answers]
    found = made.breakdown().versions[place]
    expected = confusion_matrix(*zip(*known, strict=True), labels=range(3))
    assert np.array_equal(found.confusion, expected)
    failed = [label for _, _, failed, label in met if label is not None and version in failed]
    assert found.missing == tuple(failed.count(each) for each in range(3))
    assert found.labelled == len(known) + len(failed)
    # A row on which the version failed is one that it did not find, as is an answer that is none of the classes.
    truth = [label for label, _ in known] + failed
    answered = [answer for _, answer in known] + [99] * len(failed)
    scores = precision_recall_fscore_support(truth, answered, labels=range(3))
    for mine, theirs in zip((found.precision, found.recall, found.f1), scores, strict=False):
        assert mine == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("by", "level", "holds"),
    [
        ("feature:colour", "red", lambda f: f[1] == "red"),
        ("feature:colour", "(other)", lambda f: f[1] == "pink"),
        ("feature:x", "(missing)", lambda f: f[0] is None),
        ("feature:x (cm)", "> 0.905", lambda f: f[0] is not None and f[0] > 0.905),
        ("feature:member", "true", lambda f: f[2] == 1),
        ("feature:wind", "(missing)", lambda f: len(f) == 4),
    ],
)
def test_a_row_is_what_is_counted_by_hand(both, by, level, holds):
    made, met = both
    own = [each for each in met if holds(each[0])]
    row = made.rows(by)[level]
    labelled = [each for each in own if each[3] is not None]
    compared = [
        (answers["v1"] == label, answers.get("v2") == label)
        for _, answers, failed, label in labelled
        if "v2" in answers or failed
    ]
    assert (row.requests, row.labelled, row.n) == (len(own), len(labelled), len(compared))
    wins, losses = compared.count((False, True)), compared.count((True, False))
    counts = (row.both_right, row.only_baseline, row.only_challenger, row.both_wrong)
    known = (compared.count((True, True)), losses, wins, compared.count((False, False)))
    assert counts == (known if compared else (None,) * 4)
    if compared:
        alpha = made.breakdown(by).row_alpha
        assert row.improvement == pytest.approx((wins - losses) / len(compared))
        summary = PairedSummary(wins, losses, len(compared) - wins - losses)
        assert row.interval == paired_interval.interval(summary, alpha)


def test_intervals_share_alpha_among_the_rows_that_have_labels(both):
    found = both[0].breakdown("feature:x")
    assert found.row_alpha == pytest.approx(0.05 / sum(row.n > 0 for row in found.rows))


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(1, 59), max_size=8),
    metric=st.sampled_from(["accuracy", "brier"]),
)
def test_rows_add_up_to_all_and_batches_do_not_matter(seed, cuts, metric):
    made = BrokenDown(metric=metric)
    answer = {
        "accuracy": lambda chance: int(chance.integers(3)),
        "brier": lambda chance: {"c": 0, "p": chance.dirichlet([1, 1, 1]).tolist()},
    }[metric]
    made.random_traffic(40, seed, answer)
    assert made.process() == made.process([cut for cut in cuts if cut < len(made.log.entries)])
    for by in ("class", "feature:x", "feature:colour", "feature:member", "feature:wind"):
        found = made.breakdown(by)
        for name in ("requests", "labelled", "n", "both_right", "only_baseline", "only_challenger", "both_wrong"):
            if by != "class" or name != "requests":
                total = sum(getattr(row, name) or 0 for row in found.rows)
                assert total == (getattr(found.all, name) or 0), (by, name)
        sums = sum(row.n * row.improvement for row in found.rows if row.n)
        assert sums == pytest.approx(found.all.n * (found.all.improvement or 0.0))


def test_requests_are_the_rows_that_count(both):
    assert both[0].breakdown().all.requests == len(both[0].requests())


def test_the_ranges_are_tenths_of_the_reference(both):
    ranges = [row for row in both[0].breakdown("feature:x").rows if row.kind == "range"]
    edges = [row.high for row in ranges[:-1]]
    assert len(edges) == 9
    assert edges == pytest.approx([tenth / 10 for tenth in range(1, 10)], abs=0.051)


def test_a_correction_replaces_the_label():
    made, wanted = BrokenDown(), BrokenDown()
    for each, label in ((made, 0), (wanted, 2)):
        each.log.label(each.log.serve({"v1": 2, "v2": 0}, "v1", features=json.dumps([0.5, "red", 1.0, ""])), label)
    joined = made.log.entries[-1][-1]
    assert isinstance(joined, OutcomeJoined)
    correction = CorrectionRow(1, joined.row.prediction_id, "actual", "0", "2", made.log.now_us, 1, 1, 0)
    made.log.entries.append([OutcomeCorrected(correction, joined.outcome, joined.row)])
    assert made.breakdown() == wanted.breakdown()


def test_rewards_count_for_the_version_that_answered():
    made = BrokenDown(metric="reward")
    for version, reward in (("v1", 1.0), ("v1", 0.0), ("v2", 1.0)):
        own = [0.5, "red", 1.0, ""] if version == "v1" else [0.5, "red", 1.0, "", 3.0]
        made.log.reward(made.log.serve({"v1": 0, "v2": 0}, version, features=json.dumps(own)), reward)
    made.log.reward(made.log.serve({"v1": 0}, "v1", assignment="forced", features='[0.5,"red",1.0,""]'), 1.0)
    row = made.rows("feature:colour")["red"]
    assert (row.labelled, row.baseline_mean, row.challenger_mean, row.improvement) == (3, 0.5, 1.0, 0.5)
    assert row.interval is None
    with pytest.raises(InvalidRequest, match="rewards do not say the true class"):
        made.breakdown("class")


def test_a_reported_exposure_is_a_row_without_the_feature():
    found = BrokenDown(metric="reward", policy="sticky")
    for version, user, reward in (("v1", 1, 1.0), ("v2", 2, 0.5)):
        found.log.reward(found.log.expose(version, user), reward)
    state = found.state()
    assert sum(state.requests[:-1]) == len(state.plan.features) * state.requests[state.plan.everything]
    missing = found.rows("feature:colour")["(missing)"]
    assert (missing.requests, missing.labelled, missing.baseline_mean, missing.challenger_mean) == (2, 2, 1.0, 0.5)


def test_numbers_have_an_asymptotic_interval():
    made = BrokenDown(metric="absolute_error", classes=(), class_shares=None)
    chance = np.random.default_rng(1)
    for _ in range(300):
        row = made.log.serve(
            {"v1": float(chance.normal()), "v2": float(chance.normal() / 3)}, "v1", features='[0.5,"red",1.0,""]'
        )
        made.log.label(row, 0.0)
    row = made.rows("feature:colour")["red"]
    assert row.asymptotic
    assert row.both_right is None
    assert 0 < row.interval[0] < row.improvement < row.interval[1]


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("feature:comment", "it is text or a date"),
        ("feature:rain", "no feature rain; features: x, colour, member, wind"),
        ("feature:", "say which feature; features: x"),
        ("colour", "by is class or feature:NAME; features: x"),
    ],
)
def test_a_refusal_says_what_there_is(both, by, told):
    with pytest.raises(InvalidRequest, match=told):
        both[0].breakdown(by)


def test_at_most_twelve_features_have_counters():
    names = tuple(Feature(name=f"f{number}") for number in range(14))
    rows = np.random.default_rng(1).normal(size=(50, 14))
    made = BrokenDown(found=references(names, rows))
    made.log.label(made.log.serve({"v1": 0, "v2": 0}, "v1", features=json.dumps([0.0] * 14)))
    with pytest.raises(InvalidRequest, match="no breakdown by f12: it comes after the first 12 features"):
        made.breakdown("feature:f12")
    assert made.rows("feature:f11")


def test_beyond_fifty_classes_the_rarest_are_one():
    classes = tuple(f"k{number}" for number in range(60))
    made = BrokenDown(classes=classes, class_shares=tuple(number / 1770 for number in range(60)))
    for label in (59, 0, 1):
        made.log.label(made.log.serve({"v1": label, "v2": 59}, "v1", features='[0.5,"red",1.0,""]'), label)
    found = made.breakdown()
    assert found.classes[-1] == "(other)"
    assert (found.rows[-1].labelled, found.rows[-1].both_right, found.rows[-1].only_baseline) == (2, 0, 2)
    assert len(found.versions[0].confusion) == 51


def test_without_a_reference_classes_are_counted_all_the_same():
    found = references()
    found.references = ()
    made = BrokenDown(found=found)
    made.log.label(made.log.serve({"v1": 0, "v2": 1}, "v1", features='[0.5,"red",1.0,""]'))
    assert made.breakdown().rows[0].only_baseline == 1
    with pytest.raises(InvalidRequest, match="could not be read"):
        made.breakdown("feature:x")


def test_rows_of_unknown_columns_are_missing():
    made = BrokenDown()
    row = made.log.answer({"v1": 0, "v2": 0}, "v1", features="[1.0]")
    made.log.log(replace(row, layout=99))
    assert made.rows("feature:colour")["(missing)"].requests == 1


def test_a_rebuild_alone_gives_the_same(small_log):
    projection = BreakdownProjection(references())
    small_log.begin("one", classes=CLASSES)
    small_log.random_traffic(40, late=0.3)
    small_log.begin("two", weights={"v1": 0.3, "v2": 0.3, "v3": 0.4}, classes=CLASSES)
    small_log.random_traffic(20, seed=2, versions=("v1", "v2", "v3"))
    small_log.process(projection, batch_rows=7)
    before = small_log.stored_states.all_states(projection.name)
    names = {f"{BreakdownProjection.name}/{experiment}" for experiment in ("one", "two")}
    assert {name for name in before if "/" in name} == names
    assert small_log.rebuild(projection).states_equal == {BreakdownProjection.name: True}
    assert small_log.stored_states.all_states(projection.name) == before


def test_a_retired_challenger_keeps_its_counters():
    made = BrokenDown({"v1": 0.5, "v2": 0.25, "v3": 0.25})
    made.log.label(made.log.serve({"v1": 0, "v2": 1, "v3": 0}, "v1", features='[0.5,"red",1.0,""]'))
    made.log.split({"v1": 0.5, "v3": 0.5})
    made.log.label(made.log.serve({"v1": 0, "v3": 0}, "v1", features='[0.5,"red",1.0,""]'))
    assert made.breakdown(challenger="v2").all.only_baseline == 1
    assert made.breakdown(challenger="v3").all.both_right == 2


def test_a_class_stays_a_class_where_another_log_had_an_equal_number():
    BrokenDown().log.serve({"v1": 2.0, "v2": 1.0}, "v1")
    row = BrokenDown().log.serve({"v1": 2, "v2": 1}, "v1")
    assert json.loads(row.answers) == {"v1": {"c": 2}, "v2": {"c": 1}}


def test_values_outside_the_range_count_as_its_nearer_end():
    """As in the report, whose means and improvement they must add up to."""
    made = BrokenDown(metric="absolute_error", error_range=(0.0, 10.0), classes=(), class_shares=None)
    for error in (2.0, 30.0):
        features = json.dumps([0.5, "red", True, "anything"])
        row = made.log.log(made.log.answer({"v1": {"v": error}, "v2": {"v": 0.0}}, "v1", features=features))
        made.log.label(row, 0.0)
    of_all = made.breakdown("feature:colour").all
    assert (of_all.baseline_mean, of_all.challenger_mean, of_all.improvement) == (6.0, 0.0, 6.0)
