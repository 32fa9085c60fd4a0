import random

import pytest
from msgspec.structs import replace

from app.domain.experiment import Ramp
from app.domain.report import CheckReport
from app.monitor.control.automatic import AutomaticDecisions
from app.monitor.control.ramp import (
    MOST_FAILED,
    ExperimentKnowledge,
    RampControl,
    evidence_of_step,
    excluded,
    reason_to_hold,
)
from app.monitor.experiment.state import ExperimentState, PairState
from app.services.control.decisions import Decisions
from app.services.control.patch import ConfigurationPatch
from app.services.control.transitions import started
from tests.unit.services.control.deciders import AVAILABLE, BASE, NOW_US, MemoryDecisions, dependencies, report

HOUR_US = 3_600_000_000
RAMP = Ramp(version="v2", steps=(0.01, 0.05, 0.5), every_seconds=3600)
HEALTHY = report("continue", comparisons=(), guardrails=(CheckReport(name="errors", ok=True, version="v2"),))
CROSSED = replace(HEALTHY, guardrails=(CheckReport(name="slow_answers", ok=False, version="v2"),))


def state(epoch, requests=200, failed=0, slow=0, timed=None):
    """What a challenger with `requests` in `epoch` has shown."""
    return ExperimentState(
        versions={},
        pairs={"v2": PairState(method=None)},
        chosen={epoch: {"v1": 9999, "v2": requests}},
        failed={epoch: {"v1": 99, "v2": failed}},
        timed={epoch: {"v1": 9999, "v2": requests if timed is None else timed}},
        slow={epoch: {"v1": 99, "v2": slow}},
    )


def worse(**present):
    """A report of a challenger that was proven worse, with its present evidence."""
    [compared] = report().comparisons
    changes = {"verdict": "worse", "difference": -0.03} | present
    return replace(HEALTHY, comparisons=(replace(compared, **changes),))


class Watched:
    """A ramp that has begun, with a clock, and whatever the monitor is made to know."""

    def __init__(self, auto_decide="off", ramp=RAMP):
        base = replace(BASE, auto_decide=auto_decide)
        self.log = MemoryDecisions(replace(started(base, ramp, NOW_US), epoch=4))
        self.now_us, self.known = NOW_US, ExperimentKnowledge(HEALTHY, None)
        self.decisions = Decisions(
            self.log, dependencies(now_us=lambda: self.now_us, report=lambda _id: self.known.report)
        )
        self._tick = RampControl(self.decisions, lambda: self.log.latest, lambda _id: self.known, lambda: self.now_us)

    @property
    def share(self):
        return self.log.latest.weights["v2"]

    def after(self, hours, known=None):
        """Let time pass with `known`, and look."""
        self.now_us += int(hours * HOUR_US)
        self.known = known or ExperimentKnowledge(HEALTHY, state(self.log.latest.epoch))
        self._tick()
        return self


def test_a_healthy_ramp_takes_each_step_when_its_time_has_come():
    watched = Watched()
    shares = [round(watched.after(0.5).share, 9) for _ in range(7)]
    assert shares == [0.01, 0.05, 0.05, 0.5, 0.5, 0.5, 0.5]
    assert watched.log.latest.ramp is None
    assert [(entry.actor, entry.action) for entry in watched.log.entries] == [("monitor", "ramp")] * 3
    assert watched.log.entries[0].evidence == HEALTHY
    assert watched.log.latest.experiment_id == BASE.experiment_id


def test_a_monitor_that_was_away_skips_no_step():
    watched = Watched().after(100)
    assert watched.share == pytest.approx(0.05)
    assert watched.after(0.5).share == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (ExperimentKnowledge(None, None), "not excluded yet that v2 fails"),
        (ExperimentKnowledge(HEALTHY, state(5, requests=20)), "not excluded yet that v2 fails"),
        (ExperimentKnowledge(HEALTHY, state(5, failed=9)), "not excluded yet that v2 fails"),
        (ExperimentKnowledge(HEALTHY, state(5, timed=3)), "answers of v2 or more are slow"),
        (ExperimentKnowledge(HEALTHY, state(5, slow=40)), "answers of v2 or more are slow"),
        (ExperimentKnowledge(HEALTHY, state(4)), "not excluded yet that v2 fails"),
        (
            ExperimentKnowledge(replace(HEALTHY, checks=(CheckReport(name="sample_ratio", ok=False),)), state(5)),
            "sample ratio",
        ),
        (
            ExperimentKnowledge(replace(HEALTHY, checks=(CheckReport(name="label_rate", ok=False),)), state(5)),
            "label rate",
        ),
        (ExperimentKnowledge(worse(adjusted_log_e=3.1), state(5)), "worse"),
    ],
)
def test_what_speaks_against_it_holds_a_ramp(known, words):
    assert words in reason_to_hold(known, replace(RAMP, after_epoch=4))


@pytest.mark.parametrize(
    ("requests", "words"),
    [(0, "no request of this step has every column that v2 reads"), (20, "not excluded yet that v2 fails")],
)
def test_a_ramp_of_a_version_that_no_request_suits_says_so(requests, words):
    known = state(5, requests=requests)
    known.lacked = {5: {"v2": 300}}
    assert words in reason_to_hold(ExperimentKnowledge(HEALTHY, known), replace(RAMP, after_epoch=4))


@pytest.mark.parametrize("check", [CheckReport(name="drift", ok=False), CheckReport(name="label_rate", ok=None)])
def test_other_checks_and_those_not_known_yet_hold_nothing(check):
    assert (
        reason_to_hold(ExperimentKnowledge(replace(HEALTHY, checks=(check,)), state(5)), replace(RAMP, after_epoch=4))
        is None
    )


@pytest.mark.parametrize(
    "known", [worse(adjusted_log_e=2.9), worse(adjusted_log_e=3.1, difference=0.01), worse(adjusted_log_e=None)]
)
def test_a_verdict_that_the_present_does_not_carry_holds_nothing(known):
    assert reason_to_hold(ExperimentKnowledge(known, state(5)), replace(RAMP, after_epoch=4)) is None


def test_evidence_is_that_of_the_steps_own_epochs():
    assert evidence_of_step(state(4, 50, 3, 2), replace(RAMP, after_epoch=4)).requests == 0
    found = evidence_of_step(state(5, 50, 3, 2), replace(RAMP, after_epoch=4))
    assert (found.requests, found.failed, found.timed, found.slow) == (50, 3, 50, 2)


def test_a_ramp_without_evidence_is_held_once_and_goes_on_when_it_comes():
    watched, nothing = Watched(), ExperimentKnowledge(HEALTHY, None)
    for _ in range(5):
        watched.after(1, nothing)
    [entry] = watched.log.entries
    assert entry.note.startswith("held: it is not excluded yet")
    assert watched.log.latest.ramp.held in entry.note
    assert watched.share == pytest.approx(0.01)
    watched.after(0)
    assert (watched.share, watched.log.latest.ramp.held) == (pytest.approx(0.05), None)


def test_a_note_why_a_ramp_waits_moves_no_revision():
    watched = Watched()
    epoch = watched.log.latest.epoch
    watched.after(1, ExperimentKnowledge(HEALTHY, None)).after(1, ExperimentKnowledge(worse(adjusted_log_e=9.0), None))
    assert [entry.epoch for entry in watched.log.entries] == [epoch, epoch]
    changed = watched.decisions.configure(ConfigurationPatch(ramp=None, epoch=epoch), "ann", AVAILABLE)
    assert (changed.configuration.ramp, changed.configuration.epoch) == (None, epoch + 1)


def test_a_crossed_guardrail_takes_all_back_before_the_time_whatever_auto_decide_says():
    watched = Watched("off").after(0.01, ExperimentKnowledge(CROSSED, state(5)))
    assert (watched.log.latest.weights, watched.log.latest.ramp) == (BASE.weights, None)
    [entry] = watched.log.entries
    assert (entry.actor, entry.action, entry.evidence) == ("monitor", "ramp", CROSSED)


def test_where_roll_back_is_allowed_the_ordinary_one_ends_the_ramp():
    watched = Watched("rollback")
    AutomaticDecisions(watched.decisions, lambda: watched.log.latest)([CROSSED])
    watched.after(1, ExperimentKnowledge(CROSSED, state(5)))
    assert (watched.log.latest.weights, watched.log.latest.ramp) == ({"v1": 1.0, "v2": 0.0}, None)
    assert [entry.action for entry in watched.log.entries] == ["rollback"]


def test_nothing_is_steered_where_the_configuration_has_changed_meanwhile():
    watched = Watched()
    seen, watched.log.latest = watched.log.latest, replace(watched.log.latest, epoch=9)
    stale = RampControl(watched.decisions, lambda: seen, lambda _id: ExperimentKnowledge(CROSSED, None), lambda: NOW_US)
    stale()
    assert watched.log.entries == []


def test_without_a_ramp_nothing_is_looked_at():
    RampControl(None, lambda: BASE, None, None)()
    RampControl(None, lambda: None, None, None)()


@pytest.mark.parametrize(("most", "least"), [(0.05, 88), (0.2, 20)])
def test_so_many_requests_without_harm_are_enough(most, least):
    assert not excluded(0, least - 1, most)
    assert excluded(0, least, most)


def test_a_version_at_the_limit_passes_the_gate_in_at_most_one_step_of_twenty():
    chance, passed = random.Random(5), 0
    for _ in range(400):
        bad = 0
        for n in range(1, 401):
            bad += chance.random() < MOST_FAILED
            if excluded(bad, n, MOST_FAILED):
                passed += 1
                break
    assert passed <= 0.05 * 400 + 3 * (400 * 0.05 * 0.95) ** 0.5
