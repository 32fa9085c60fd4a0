import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.experiment import CaseFacts
from app.errors import Contradiction, InvalidRequest, UnknownVersion
from app.services.control.decisions import Decisions
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.transitions import promoted
from tests.unit.services.control.deciders import AVAILABLE, BASE, MemoryDecisions, dependencies


def patch(**values):
    return msgspec.convert(values, ConfigurationPatch)


def test_weights_replace_the_split_and_are_normalised():
    after = patched(BASE, patch(weights={"v2": 3}), AVAILABLE)
    assert after.weights == {"v1": 0.0, "v2": 1.0}
    assert after.experiment_id == "e1"


def test_what_is_left_out_stays():
    after = patched(BASE, patch(auto_decide="both"), AVAILABLE)
    assert replace(after, auto_decide="rollback") == BASE


@pytest.mark.parametrize(
    "values",
    [{}, {"note": "nothing"}, {"weights": {"v1": 7, "v2": 7}}, {"policy": "weighted"}, {"alpha": 0.05}, {"epoch": 3}],
)
def test_a_patch_that_changes_nothing_is_none(values):
    assert patched(BASE, patch(**values), AVAILABLE) is BASE


@pytest.mark.parametrize(
    ("values", "error", "field"),
    [
        ({"weights": {"v9": 1}}, UnknownVersion, "weights"),
        ({"weights": {}}, InvalidRequest, "weights"),
        ({"weights": {"v1": 0}}, InvalidRequest, "weights"),
        ({"weights": {"v1": -1, "v2": 1}}, InvalidRequest, "v1"),
        ({"policy": "guess"}, InvalidRequest, "policy"),
        ({"epoch": 2, "weights": {"v1": 1}}, Contradiction, "epoch"),
        ({"metric": "brier"}, InvalidRequest, "metric"),
        ({"metric": "absolute_error", "new_experiment": True}, InvalidRequest, "metric"),
        ({"baseline": "v9", "new_experiment": True}, UnknownVersion, "baseline"),
        ({"reward_range": (2, 1), "new_experiment": True}, InvalidRequest, "reward_range"),
        ({"error_range": (0, float("inf")), "new_experiment": True}, InvalidRequest, "error_range"),
        ({"guardrail_slow": "0.5x", "new_experiment": True}, InvalidRequest, "guardrail_slow"),
    ],
)
def test_what_makes_no_sense_is_refused(values, error, field):
    with pytest.raises(error) as refused:
        patched(BASE, patch(**values), AVAILABLE)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "values",
    [
        {"alpha": 0.9},
        {"alpha": 0},
        {"drift_threshold": 1.5},
        {"min_effect": -1},
        {"auto_decide": "maybe"},
        {"x": 1},
        {"unit": "client"},
        {"unit": None},
        {"reward_window_s": 0},
        {"reward_window_s": 1e12},
        {"min_duration_s": -1},
    ],
)
def test_what_is_out_of_range_is_no_patch(values):
    with pytest.raises(msgspec.ValidationError):
        patch(**values)


def test_a_version_that_takes_no_part_gets_no_weight():
    with pytest.raises(InvalidRequest, match="v2 takes no part"):
        patched(BASE, patch(weights={"v1": 1, "v2": 1}), replace(AVAILABLE, eligible=("v1",)))
    assert patched(BASE, patch(weights={"v1": 1, "v2": 0}), replace(AVAILABLE, eligible=("v1",))).weights["v1"] == 1


TERMS = {
    "metric": "reward",
    "alpha": 0.01,
    "baseline": "v2",
    "equivalence_margin": 0.02,
    "min_effect": 0.1,
    "reward_range": (0.0, 5.0),
    "reward_triggered": True,
    "error_range": (0.0, 9.0),
    "labels_exogenous": True,
    "unit": "user",
    "reward_window_s": 604_800.0,
    "guardrail_slow": "400x+1ms",
}


@pytest.mark.parametrize(("name", "value"), TERMS.items())
def test_each_term_takes_effect_with_a_new_experiment_only(name, value):
    with pytest.raises(InvalidRequest) as refused:
        patched(BASE, patch(**{name: value}), AVAILABLE)
    assert refused.value.field == name
    after = patched(BASE, patch(**{name: value}, new_experiment=True), AVAILABLE)
    assert getattr(after.terms, name) == value
    assert after.experiment_id == ""


def test_a_new_experiment_may_begin_with_the_same_terms():
    log = MemoryDecisions()
    after = (
        Decisions(log, dependencies())
        .configure(patch(new_experiment=True, note="again"), "ann", AVAILABLE)
        .configuration
    )
    assert (after.experiment_id, after.terms, after.epoch) == ("e2", BASE.terms, 4)


def test_how_long_an_automatic_promotion_waits_can_change_while_an_experiment_runs():
    entry = Decisions(MemoryDecisions(), dependencies()).configure(patch(min_duration_s=60), "ann", AVAILABLE).entry
    assert (entry.changes["min_duration_s"].after, list(entry.changes)) == (60.0, ["min_duration_s"])


OLDER = replace(BASE, terms=replace(BASE.terms, unit=None), environment={"unit": "key", "reward_window_s": 60.0})


@pytest.mark.parametrize(
    ("values", "unit", "window"),
    [({}, "key", 60.0), ({"unit": "row", "reward_window_s": None}, "row", None), ({"alpha": 0.01}, "key", 60.0)],
)
def test_an_experiment_after_one_without_units_has_those_of_the_environment(values, unit, window):
    after = patched(OLDER, patch(new_experiment=True, **values), AVAILABLE)
    assert (after.terms.unit, after.terms.reward_window_s) == (unit, window)


@pytest.mark.parametrize("values", [{"weights": {"v2": 1}}, {"auto_decide": "off"}])
def test_an_experiment_without_units_goes_on_without_them(values):
    assert patched(OLDER, patch(**values), AVAILABLE).terms == OLDER.terms


def test_an_experiment_begins_with_the_cases_of_the_champion():
    available = replace(AVAILABLE, cases={"v1": CaseFacts(repeated_share=0.25)})
    assert patched(BASE, patch(new_experiment=True), available).cases == CaseFacts(repeated_share=0.25)
    assert patched(BASE, patch(auto_decide="off"), available).cases == BASE.cases


def test_a_patch_is_an_entry_and_one_that_changes_nothing_is_none():
    log = MemoryDecisions()
    decisions = Decisions(log, dependencies())
    entry = decisions.configure(patch(weights={"v1": 1, "v2": 3}, note="ramp"), "ann", AVAILABLE).entry
    assert (entry.action, entry.actor, entry.note, list(entry.changes)) == ("configure", "ann", "ramp", ["weights"])
    again = decisions.configure(patch(weights={"v1": 1, "v2": 3}), "ann", AVAILABLE)
    assert (again.entry, again.configuration) == (None, log.latest)


@given(st.dictionaries(st.sampled_from(["v1", "v2"]), st.floats(0, 1e300), min_size=1))
def test_any_weights_give_a_split_or_a_refusal_and_repeating_them_changes_nothing(weights):
    try:
        after = patched(BASE, patch(weights=weights), AVAILABLE)
    except InvalidRequest:
        assert not any(weights.values())
        return
    assert sum(after.weights.values()) == pytest.approx(1)
    assert patched(after, patch(weights=after.weights), AVAILABLE) is after


def test_a_name_and_a_hypothesis_are_those_of_one_experiment():
    named = ConfigurationPatch(new_experiment=True, name="spring", hypothesis="v2 is better")
    begun = patched(BASE, named, AVAILABLE)
    assert (begun.terms.name, begun.terms.hypothesis) == ("spring", "v2 is better")
    with pytest.raises(InvalidRequest, match="hypothesis is fixed while an experiment runs"):
        patched(begun, ConfigurationPatch(hypothesis="another"), AVAILABLE)
    following = patched(begun, ConfigurationPatch(new_experiment=True), AVAILABLE)
    assert (following.terms.name, following.terms.hypothesis) == (None, None)
    assert promoted(begun, "v2").terms.name is None
