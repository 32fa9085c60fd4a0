from functools import partial

import pytest
from msgspec.structs import replace

from app.domain.experiment import CaseFacts, ExperimentTerms
from app.errors import Contradiction, InvalidRequest, NotReady, StoreUnavailable, UnknownVersion
from app.services.control.decisions import Decision, Decisions
from app.services.control.patch import ConfigurationPatch, RampPatch
from app.services.control.transitions import decided_by_person, kept, promoted, rolled_back, without
from tests.unit.services.control.deciders import AVAILABLE, BASE, MemoryDecisions, dependencies, report

THREE = replace(BASE, weights={"v1": 0.6, "v2": 0.1, "v3": 0.3})


@pytest.fixture
def log():
    return MemoryDecisions()


def decide(log, action, version=None, available=AVAILABLE, **changes):
    return Decisions(log, dependencies(**changes)).decide(Decision(action, version, "ann", "why"), available)


def test_a_promoted_version_leads_and_is_the_baseline_of_a_new_experiment(log):
    after = decide(log, "promote", "v2").configuration
    assert (after.champion, after.weights, after.terms.baseline) == ("v2", {"v1": 0.0, "v2": 1.0}, "v2")
    assert (after.epoch, after.experiment_id, after.source) == (4, "e2", "promote")


def test_the_entry_says_who_when_what_why_and_what_was_known(log):
    known = report()
    entry = decide(log, "promote", "v2", report=lambda _id: known).entry
    assert (entry.actor, entry.action, entry.version, entry.note) == ("ann", "promote", "v2", "why")
    assert (entry.experiment_id, entry.epoch, entry.evidence) == ("e1", 4, known)
    assert entry.at.startswith("2026-11-")
    assert (entry.changes["champion"].before, entry.changes["champion"].after) == ("v1", "v2")
    assert entry.changes["weights"].after == {"v1": 0.0, "v2": 1.0}


@pytest.mark.parametrize(
    ("action", "version", "error", "field"),
    [
        ("promote", "v1", Contradiction, "version"),
        ("promote", "v9", UnknownVersion, "version"),
        ("promote", None, InvalidRequest, "version"),
        ("rollback", None, Contradiction, None),
        ("rollback", "v9", UnknownVersion, "version"),
        ("keep", "v2", InvalidRequest, "version"),
        ("keep", "v9", UnknownVersion, "version"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_and_changes_nothing(log, action, version, error, field):
    with pytest.raises(error) as refused:
        decide(log, action, version)
    assert refused.value.field == field
    assert (log.latest, log.entries) == (BASE, [])


def test_a_version_that_takes_no_part_cannot_be_promoted(log):
    with pytest.raises(Contradiction, match="v2 takes no part"):
        decide(log, "promote", "v2", replace(AVAILABLE, eligible=("v1",)))


def test_no_version_gets_traffic_that_a_host_has_not_loaded(log):
    log.latest = replace(BASE, champion="v2", former_champions=("v1",), weights={"v1": 0.0, "v2": 1.0, "v3": 0.0})
    available = replace(AVAILABLE, versions=("v1", "v2", "v3"), eligible=("v1", "v2", "v3"))
    decisions = Decisions(log, dependencies(lacking=lambda: {"web1": ["v9"], "web2": ["v1", "v2", "v3"]}))
    patch = partial(decisions.configure, actor="ann", available=available)
    for refused in (
        lambda: patch(ConfigurationPatch(weights={"v2": 1, "v3": 1})),
        lambda: patch(ConfigurationPatch(ramp=RampPatch("v3", (0.1,), 60))),
        lambda: decisions.decide(Decision("promote", "v3", "ann"), available),
    ):
        with pytest.raises(Contradiction, match="web2 has not loaded v3, and would not be ready with that traffic"):
            refused()
    assert log.entries == []
    assert patch(ConfigurationPatch(drift_threshold=0.5)).configuration.drift_threshold == 0.5  # v2 had its traffic
    assert decisions.decide(Decision("rollback", None, "ann"), available).configuration.champion == "v1"


def test_rolling_back_returns_through_all_champions_and_then_no_further(log):
    log.latest = THREE
    available = replace(AVAILABLE, versions=("v1", "v2", "v3"), eligible=("v1", "v2", "v3"))
    decide(log, "promote", "v2", available)
    decide(log, "promote", "v3", available)
    back = [decide(log, "rollback", available=available).configuration.champion for _ in range(2)]
    assert back == ["v2", "v1"]
    with pytest.raises(Contradiction, match="no champion before v1"):
        decide(log, "rollback", available=available)


def test_a_champion_that_is_not_served_any_more_cannot_come_back(log):
    log.latest = replace(BASE, champion="v2", former_champions=("v1",))
    with pytest.raises(UnknownVersion):
        decide(log, "rollback", available=replace(AVAILABLE, versions=("v2",), eligible=("v2",)))
    assert log.entries == []


def test_keeping_sends_everything_to_the_baseline_in_a_new_experiment(log):
    after = decide(log, "keep").configuration
    assert (after.champion, after.weights, after.experiment_id) == ("v1", {"v1": 1.0, "v2": 0.0}, "e2")
    assert after.former_champions == ()


def test_keeping_another_baseline_than_the_champion_can_be_rolled_back(log):
    log.latest = replace(BASE, champion="v2")
    assert decide(log, "keep").configuration.former_champions == ("v2",)


@pytest.mark.parametrize(("failure", "answers"), [(None, True), ("it raises ValueError", False)])
def test_after_a_roll_back_the_entry_says_whether_the_version_answers(log, failure, answers):
    log.latest = replace(BASE, champion="v2", former_champions=("v1",))
    asked = []
    entry = decide(log, "rollback", probe=lambda version: asked.append(version) or failure).entry
    assert asked == ["v1"]
    assert (entry.checked.answers, entry.checked.detail) == (answers, failure)
    assert log.entries[-1].checked == entry.checked


def test_a_check_that_cannot_be_recorded_does_not_hide_the_decision(log, caplog):
    def away(seq, checked):
        raise StoreUnavailable("locked")

    log.latest, log.add_check = replace(BASE, champion="v2", former_champions=("v1",)), away
    assert decide(log, "rollback").entry.checked.answers
    assert "check_not_recorded" in [record.message for record in caplog.records]


def test_a_decision_is_applied_here_before_it_is_answered(log):
    followed = []
    decide(log, "keep", follow=lambda: followed.append(log.latest.epoch))
    assert followed == [4]


def test_without_a_configuration_there_is_nothing_to_decide_on(log):
    log.latest = None
    with pytest.raises(NotReady):
        decide(log, "keep")


def test_the_audit_is_read_page_by_page_newest_first(log):
    decisions = Decisions(log, dependencies())
    for _ in range(5):
        decide(log, "keep")
    first = decisions.audit(2)
    second = decisions.audit(2, first.next)
    last = decisions.audit(2, second.next)
    assert [[entry.seq for entry in page.entries] for page in (first, second, last)] == [[5, 4], [3, 2], [1]]
    assert last.next is None


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_a_page_has_a_size(log, limit):
    with pytest.raises(InvalidRequest):
        Decisions(log, dependencies()).audit(limit)


def test_a_challenger_that_broke_a_guardrail_gets_no_traffic_and_the_experiment_goes_on(log):
    log.latest = THREE
    decided = Decisions(log, dependencies()).stop("e1", "v3", "too many errors")
    after = decided.configuration
    assert after.weights == pytest.approx({"v1": 6 / 7, "v2": 1 / 7, "v3": 0})
    assert (after.experiment_id, after.champion, after.source) == ("e1", "v1", "rollback")
    assert (decided.entry.actor, decided.entry.version, decided.entry.checked.answers) == ("monitor", "v1", True)


def test_where_the_champion_is_at_fault_the_one_before_takes_over(log):
    log.latest = replace(BASE, champion="v2", former_champions=("v1",))
    after = Decisions(log, dependencies()).stop("e1", "v2", "too slow").configuration
    assert (after.champion, after.weights, after.experiment_id) == ("v1", {"v1": 1.0, "v2": 0.0}, "e2")


def test_a_version_that_a_person_gives_traffic_again_is_left_alone(log):
    decisions = Decisions(log, dependencies())
    assert decisions.stop("e1", "v2", "too slow") is not None
    log.latest = replace(log.latest, weights=BASE.weights)
    assert decisions.stop("e1", "v2", "too slow") is None
    assert log.latest.weights == BASE.weights


@pytest.mark.parametrize("auto_decide", ["off", "promote"])
def test_no_automatic_roll_back_unless_allowed(log, auto_decide):
    log.latest = replace(BASE, auto_decide=auto_decide)
    assert Decisions(log, dependencies()).stop("e1", "v2", "too slow") is None


@pytest.mark.parametrize("auto_decide", ["off", "rollback"])
def test_no_automatic_promotion_unless_allowed(log, auto_decide):
    log.latest = replace(BASE, auto_decide=auto_decide)
    assert Decisions(log, dependencies()).promote("e1", "v2", "better") is None


def test_evidence_of_an_experiment_that_has_ended_decides_nothing(log):
    log.latest = replace(BASE, auto_decide="both", experiment_id="later")
    assert Decisions(log, dependencies()).stop("e1", "v2", "too slow") is None
    assert Decisions(log, dependencies()).promote("e1", "v2", "better") is None


def test_an_allowed_promotion_happens_once(log):
    log.latest = replace(BASE, auto_decide="promote")
    decisions = Decisions(log, dependencies())
    assert decisions.promote("e1", "v2", "better").entry.actor == "monitor"
    assert decisions.promote("e2", "v2", "better") is None


def test_a_version_that_was_retired_in_shadow_is_not_promoted_by_its_evidence():
    log = MemoryDecisions()
    log.latest = replace(BASE, auto_decide="promote", weights={"v1": 1.0})
    assert Decisions(log, dependencies()).promote("e1", "v2", "better") is None
    assert log.latest.champion == "v1"


def test_a_version_without_traffic_cannot_be_taken_out_again():
    assert without(replace(BASE, weights={"v1": 1.0, "v2": 0.0}), "v2") is None
    assert (
        without(replace(BASE, weights={"v1": 1.0, "v2": 0.0}, terms=ExperimentTerms(metric="accuracy")), "v1") is None
    )


def test_where_the_challenger_has_all_the_traffic_the_champion_takes_over():
    assert without(replace(BASE, weights={"v1": 0.0, "v2": 1.0}), "v2").weights == {"v1": 1.0, "v2": 0.0}


@pytest.mark.parametrize("rule", [lambda c: promoted(c, "v2"), rolled_back, kept])
def test_every_decision_keeps_the_terms_and_all_versions(rule):
    before = replace(BASE, champion="v3", former_champions=("v1",), weights={"v1": 0.0, "v2": 0.0, "v3": 1.0})
    after = rule(before)
    assert after.weights.keys() == before.weights.keys()
    assert sum(after.weights.values()) == 1
    assert replace(after.terms, baseline=None) == replace(before.terms, baseline=None)


@pytest.mark.parametrize("rule", [lambda c: promoted(c, "v2"), rolled_back, kept])
def test_an_experiment_after_one_without_units_has_those_of_the_environment(rule):
    older = replace(BASE.terms, unit=None)
    before = replace(THREE, terms=older, champion="v3", former_champions=("v1",), environment={"unit": "key"})
    after = rule(before)
    assert after.terms == replace(older, unit="key", baseline=after.champion)


def test_a_promotion_by_a_person_takes_the_cases_of_the_new_champion():
    available = replace(AVAILABLE, cases={"v2": CaseFacts(repeated_share=0.25)})
    after = decided_by_person(BASE, "promote", "v2", available)
    assert after.cases == CaseFacts(repeated_share=0.25)
