"""Corrected outcomes: means have the last values at once, evidence has them after a rebuild, drift never."""

import random

import msgspec
import pytest

from app.domain.log_event import Cursor
from app.domain.outcome import Outcome
from app.store.outcomes import FeedbackLog

MEANS = ("labelled", "mean", "mean_all", "rewards", "reward_mean")
COUNTS = ("n", "unjoined", "both_right", "only_baseline", "only_challenger", "both_wrong")


def correct(small_log, row, value, kind="actual"):
    fact = small_log.signer.verify(row.prediction_id)
    outcome = Outcome(row.prediction_id, kind, value, fact, corrected_by="ann")
    return FeedbackLog(small_log.database, small_log.clock).commit([[outcome]])[0]


def shown(report, names=MEANS, compared=COUNTS):
    values = [getattr(each, name) for each in report.variants for name in names]
    return values + [getattr(each, name) for each in report.comparisons for name in compared]


def replay(small_log, experiment, script, terms, *, corrected):
    """Carry out the script: outcomes with corrections, or the last values from the start."""
    small_log.begin(experiment, **terms)
    rng, rows, last, given = random.Random(5), {}, {}, set()
    for action, number, value in script:
        if number not in rows:
            answers = {name: int(rng.random() < 0.4) for name in ("v1", "v2")}
            rows[number] = small_log.served(answers, rng.choice(("v1", "v2")), user=number % 3 + 1)
        last |= {number: value} if action == "tell" else {}
    for action, number, value in script:
        if action == "log":
            small_log.log(rows[number])
        elif not corrected:
            if number not in given:
                give(small_log, rows[number], last[number], terms)
        else:
            act(small_log, rows[number], value, terms, is_first=number not in given)
        given |= {number} if action == "tell" else set()
        if corrected and rng.random() < 0.2:
            small_log.process()
    return small_log.report(experiment)


def kind_of(terms):
    return "reward" if terms["metric"] == "reward" else "actual"


def give(small_log, row, value, terms):
    small_log.give(row, value, kind_of(terms))


def act(small_log, row, value, terms, *, is_first):
    (give(small_log, row, value, terms) if is_first else correct(small_log, row, value, kind_of(terms)))


def script_of(seed):
    rng = random.Random(seed)
    told = [("tell", rng.randrange(12), rng.randrange(2)) for _ in range(30)]
    script = [*told, *(("log", number, 0) for number in range(12))]
    rng.shuffle(script)
    return script


TERMS = {
    "accuracy": {"metric": "accuracy"},
    "units": {"metric": "accuracy", "unit": "auto"},
    "reward": {"metric": "reward", "reward_range": (0.0, 1.0), "unit": "auto"},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_any_interleaving_gives_the_means_of_a_log_with_the_last_values(small_log, terms, seed):
    """Outcomes before and after their rows, corrections before and after both, in batches of any size."""
    script = script_of(seed)
    found = replay(small_log, "one", script, terms, corrected=True)
    plain = replay(small_log, "two", script, terms, corrected=False)
    assert shown(found) == pytest.approx(shown(plain), nan_ok=True)
    assert found.corrections > 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_a_rebuild_gives_the_evidence_of_a_log_with_the_last_values(small_log, terms, seed):
    script = script_of(seed)
    replay(small_log, "one", script, terms, corrected=True)
    replay(small_log, "two", script, terms, corrected=False)
    before = small_log.report("one")
    small_log.rebuild()
    after, plain = small_log.report("one"), small_log.report("two")
    assert shown(after) == pytest.approx(shown(plain))
    assert [each.log_e for each in after.comparisons] == [each.log_e for each in plain.comparisons]
    assert after.corrections == before.corrections
    assert after.corrections_since == 0


@pytest.fixture
def labelled(small_log):
    """Rows on which v2 alone is right, and a report."""
    small_log.begin()
    rows = [small_log.served({"v1": 1, "v2": 0}, "v1") for _ in range(20)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    return small_log, rows, small_log.report()


def test_evidence_stays_until_a_rebuild_and_the_report_says_so(labelled):
    small_log, rows, before = labelled
    correct(small_log, rows[0], 1)
    after = small_log.report()
    [was], [now] = before.comparisons, after.comparisons
    assert (now.log_e, now.p_value, now.interval, now.verdict) == (was.log_e, was.p_value, was.interval, was.verdict)
    assert (now.only_challenger, now.only_baseline) == (19, 1)
    assert (after.corrections, after.corrections_since) == (1, 1)
    assert any("monitor --rebuild" in each for each in now.warnings)
    assert any("are many" in each for each in now.warnings)
    small_log.rebuild()
    [rebuilt] = small_log.report().comparisons
    assert rebuilt.log_e < was.log_e
    assert (rebuilt.wins, rebuilt.losses) == (19, 1)


def test_a_correction_goes_on_from_the_rebuilt_value(labelled):
    small_log, rows, _ = labelled
    correct(small_log, rows[0], 1)
    small_log.report()
    small_log.rebuild()
    correct(small_log, rows[0], 0)
    after = small_log.report()
    assert (after.comparisons[0].only_challenger, after.comparisons[0].only_baseline) == (20, 0)
    assert (after.corrections, after.corrections_since) == (2, 1)


def test_a_correction_after_the_decision_is_counted_and_warned_of(labelled):
    small_log, rows, _ = labelled
    small_log.begin("two")
    correct(small_log, rows[0], 1)
    [now] = small_log.report("one").comparisons
    assert any("after the experiment was decided" in each for each in now.warnings)
    assert now.only_baseline == 1


def test_a_correction_of_what_was_never_labelled_is_an_ordinary_outcome(labelled):
    small_log, _, _ = labelled
    row = small_log.served({"v1": 0, "v2": 0}, "v1")
    small_log.log(row)
    receipt = correct(small_log, row, 0)
    assert (receipt.accepted, receipt.corrected) == (1, msgspec.UNSET)
    assert correct(small_log, row, 0).duplicates == 1
    assert small_log.report().corrections == 0


def test_events_keep_the_first_value_for_who_asks_for_it(labelled):
    """Drift's error stream reads `outcome`: a correction is no evidence that a version errs more often than before."""
    small_log, rows, _ = labelled
    correct(small_log, rows[0], 1)
    page = small_log.events.page(Cursor(corrections=small_log.events.newest_correction()), 100)
    assert (page.outcomes[0].outcome, page.outcomes[0].present) == ("0", "1")


WINDOWED = {"metric": "reward", "reward_range": (0.0, 1.0), "unit": "auto", "reward_window_s": 60.0}


@pytest.mark.parametrize("closed", [False, True])
def test_a_reward_is_corrected_in_its_open_window_and_after_it(small_log, closed):
    small_log.begin(**WINDOWED)
    rows = [small_log.served({"v1": 0, "v2": 1}, "v1") for _ in range(4)]
    small_log.log(*rows)
    small_log.give_all([(row, 0.0, "reward") for row in rows])
    small_log.process()
    if closed:
        small_log.pass_time(120)
        small_log.report()
    correct(small_log, rows[0], 1.0, "reward")
    if not closed:
        small_log.pass_time(120)
    report = small_log.report()
    assert next(each.mean for each in report.variants if each.version == "v1") == 0.25
    assert report.corrections_since == int(closed)


RECALL = {"metric": "recall", "positive_class": "no", "classes": ("no", "yes"), "unit": "request"}
INTERVALS = ("mean", "interval", "mean_all", "interval_all")


def flat(values):
    return [each for value in values for each in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("terms", [TERMS["accuracy"], TERMS["units"], RECALL], ids=["accuracy", "units", "recall"])
def test_intervals_of_means_are_those_of_a_log_with_the_last_values(small_log, terms, seed):
    script = script_of(seed)
    found = replay(small_log, "one", script, terms, corrected=True)
    plain = replay(small_log, "two", script, terms, corrected=False)
    assert flat(shown(found, INTERVALS, ())) == pytest.approx(flat(shown(plain, INTERVALS, ())), nan_ok=True)


def test_outcomes_and_votes_are_both_of_the_first_values(small_log):
    """Recall of no: a label that is corrected to yes is no outcome any more, and has voted all the same."""
    small_log.begin(**RECALL)
    rows = [small_log.served({"v1": 1, "v2": 0}, "v1") for _ in range(9)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    small_log.process()
    for row in rows[:4]:
        correct(small_log, row, 1)
    report = small_log.report()
    assert (report.comparisons[0].n, report.comparisons[0].units, report.comparisons[0].unjoined) == (9, 9, 0)
    assert report.comparisons[0].only_challenger == 5
    assert report.variants[1].interval_all is not None
    assert report.corrections_since == 4


def test_an_outcome_that_is_corrected_back_is_what_the_evidence_counts(labelled):
    small_log, rows, before = labelled
    for value in (1, 0):
        correct(small_log, rows[0], value)
        small_log.process()
    after = small_log.report()
    assert (after.corrections, after.corrections_since) == (2, 0)
    assert shown(after) == shown(before)
    correct(small_log, rows[0], 1)
    assert small_log.report().corrections_since == 1


@pytest.mark.parametrize("value", [30.0, 3.0])
def test_means_count_a_value_outside_the_range_as_the_nearer_end(small_log, value):
    """v1 is off by 2 and by `value`, v2 by 1 and 0; the range ends at 10."""
    small_log.begin(metric="absolute_error", error_range=(0.0, 10.0))
    first = small_log.served({"v1": {"v": 2.0}, "v2": {"v": 1.0}}, "v1")
    second = small_log.served({"v1": {"v": value}, "v2": {"v": 0.0}}, "v1")
    small_log.log(first, second)
    small_log.give_all([(first, 0.0, "actual"), (second, 0.0, "actual")])
    report = small_log.report()
    (v1, v2), (compared,) = report.variants, report.comparisons
    counted = min(value, 10.0)
    assert (v1.mean, v1.mean_all, v2.mean_all) == pytest.approx(((2 + counted) / 2, (2 + counted) / 2, 0.5))
    assert v1.mean_all - v2.mean_all == pytest.approx(compared.improvement)
    correct(small_log, second, 100.0)
    v1, v2 = small_log.report().variants
    assert (v1.mean, v1.mean_all, v2.mean_all) == pytest.approx((6.0, 6.0, 5.5))
