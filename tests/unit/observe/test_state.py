"""The gauges that are read at a scrape."""

from __future__ import annotations

from app.observe import catalogue
from app.observe.state import GAUGES, StateCollector, StateSnapshot
from tests.unit.observe.states import DRIFT, EXPERIMENT, FULL

Read = dict[tuple[str, tuple[str, ...]], float]


def scraped(state: StateSnapshot) -> Read:
    """What a scrape of `state` gives: the value of each series by metric and label values."""
    families = StateCollector(lambda: state, lambda: ("v1", "v2"), lambda: None).collect()
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_every_gauge_of_the_catalogue_is_read_in_its_order() -> None:
    assert tuple(definition for definition, _ in GAUGES) == catalogue.HOST + catalogue.DERIVED


def test_the_experiments_figures_are_those_of_its_report() -> None:
    read = scraped(FULL)
    assert {version: read["experiment_feedback_total", (version,)] for version in ("v1", "v2")} == {"v1": 12, "v2": 0}
    assert read["experiment_labelled_mean", ("v1",)] == EXPERIMENT.variants[0].mean
    assert ("experiment_labelled_mean", ("v2",)) not in read
    assert read["experiment_e_value_needed", ()] == 1 / EXPERIMENT.alpha


def test_an_e_value_too_large_for_a_float_is_infinite() -> None:
    assert scraped(FULL)["experiment_e_value", ("v2",)] == float("inf")


def test_a_comparison_or_guardrail_without_a_figure_has_no_series() -> None:
    counts = {"experiment_units", "experiment_missing_answers"}
    assert {name for name, labels in scraped(FULL) if "v3" in labels} == counts


def test_units_and_missing_answers_are_those_of_the_comparison() -> None:
    comparison, read = EXPERIMENT.comparisons[0], scraped(FULL)
    assert read["experiment_units", (comparison.challenger,)] == comparison.units
    assert read["experiment_missing_answers", (comparison.challenger,)] == comparison.missing


def test_drift_is_the_champions_and_absent_where_nothing_is_known() -> None:
    read = scraped(FULL)
    assert (read["model_drift_score", ()], read["model_drift_evidence", ()], read["model_drift_alarm", ()]) == (
        DRIFT.score,
        DRIFT.evidence,
        0,
    )
    scores = {feature.name: feature.score for feature in DRIFT.features}
    assert read["model_feature_drift_score", ("petal_length",)] == scores["petal_length"] > 0
    assert not [name for name, _ in scraped(StateSnapshot()) if "drift" in name]
