import pytest
from msgspec.structs import replace

from app.domain.report import CheckReport
from app.monitor.control.automatic import AutomaticDecisions, Promote, Stop, called_for
from app.services.control.decisions import Decisions
from tests.unit.services.control.deciders import BASE, MemoryDecisions, dependencies, report

CROSSED = CheckReport(name="slow_answers", ok=False, version="v2", detail="9 of 9 were v2's")
HELD = CheckReport(name="errors", ok=True, version="v2")


def compared(**changes):
    return (replace(report().comparisons[0], **changes),)


@pytest.mark.parametrize(
    ("auto_decide", "call"),
    [
        ("off", None),
        ("rollback", Stop("v2", "guardrail crossed by v2: slow answers (9 of 9 were v2's)")),
        ("both", Stop("v2", "guardrail crossed by v2: slow answers (9 of 9 were v2's)")),
        ("promote", None),
    ],
)
def test_a_crossed_guardrail_takes_the_version_out_where_that_is_allowed(auto_decide, call):
    assert called_for(report("rollback", guardrails=(HELD, CROSSED)), auto_decide, BASE.weights) == call


@pytest.mark.parametrize("action", ["rollback", "keep", "investigate", "continue", "promote"])
def test_a_verdict_alone_never_takes_a_version_out(action):
    losing = report(action, comparisons=compared(verdict="worse"), guardrails=(HELD,))
    assert called_for(losing, "rollback", BASE.weights) is None


def test_a_version_without_traffic_needs_no_rescue():
    crossed = report("rollback", guardrails=(CROSSED,))
    assert called_for(crossed, "rollback", {"v1": 1.0, "v2": 0.0}) is None


@pytest.mark.parametrize(("auto_decide", "acts"), [("off", 0), ("rollback", 0), ("promote", 1), ("both", 1)])
def test_a_sound_winner_is_promoted_where_that_is_allowed(auto_decide, acts):
    call = called_for(report(), auto_decide, BASE.weights)
    assert call == (Promote("v2", "v2 is better than v1") if acts else None)


@pytest.mark.parametrize(
    "changes",
    [
        {"comparisons": compared(verdict="undecided")},
        {"comparisons": compared(verdict="equivalent")},
        {"comparisons": compared(assumptions=("labels are not declared exogenous",))},
        {"comparisons": compared(asymptotic=True)},
        {"comparisons": ()},
        {"checks": (CheckReport(name="sample_ratio", ok=False),)},
        {"guardrails": (CROSSED,)},
        {"recommendation": replace(report().recommendation, action="keep")},
        {"recommendation": replace(report().recommendation, version="v3")},
    ],
)
def test_anything_that_speaks_against_it_leaves_a_promotion_to_people(changes):
    assert called_for(report(**changes), "promote", BASE.weights) is None


def test_a_check_that_is_not_known_yet_does_not_speak_against_it():
    shadow = report(checks=(CheckReport(name="sample_ratio", ok=None),))
    assert called_for(shadow, "promote", BASE.weights) is not None


def acting(log):
    return AutomaticDecisions(Decisions(log, dependencies()), lambda: log.latest)


def test_the_monitor_acts_once_on_a_guardrail():
    log = MemoryDecisions()
    act = acting(log)
    for _ in range(3):
        act([report("rollback", guardrails=(CROSSED,))])
    assert log.latest.weights == {"v1": 1.0, "v2": 0.0}
    assert [(entry.actor, entry.action, entry.version) for entry in log.entries] == [("monitor", "rollback", "v1")]


def test_what_was_left_alone_is_not_looked_into_again_before_the_configuration_changes():
    log = MemoryDecisions()
    act, crossed = acting(log), [report("rollback", guardrails=(CROSSED,))]
    act(crossed)
    log.latest = replace(log.latest, epoch=9, weights=BASE.weights)
    commits, commit = [], log.commit
    log.commit = lambda propose: commits.append(1) or commit(propose)
    for _ in range(3):
        act(crossed)
    assert (len(commits), log.latest.weights) == (1, BASE.weights)


def test_only_the_running_experiments_report_counts():
    log = MemoryDecisions()
    acting(log)([report("rollback", id="e0", guardrails=(CROSSED,))])
    acting(log)([])
    assert log.entries == []


def test_a_word_given_at_run_time_counts():
    log = MemoryDecisions(replace(BASE, auto_decide="promote"))
    acting(log)([report()])
    assert (log.latest.champion, log.entries[0].actor, log.entries[0].action) == ("v2", "monitor", "promote")
