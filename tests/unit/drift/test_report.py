from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.drift.reference import build_reference
from app.drift.report import concerns_people, drift_report
from app.drift.watch import acknowledge_all, start, update, update_labels
from tests.unit.drift.drift_samples import numeric_contract

FIELDS = (
    "version score evidence alarm since acknowledged requests window reference_rows least_detectable_shift_sd "
    "false_alarm_probability features joint outputs"
)
FEATURE_FIELDS = "name score evidence kind bins reference live missing unseen out_of_range"
AT_US = 1_700_000_000_123_456


def as_json(report: object) -> dict:
    return msgspec.json.decode(msgspec.json.encode(report))


def test_the_report_has_every_field_of_the_contract(draw, reference):
    report = as_json(drift_report("v1", reference, update(reference, start(reference), draw(30))))
    assert set(FIELDS.split()) <= set(report)
    assert set(FEATURE_FIELDS.split()) <= set(report["features"][0])
    assert {"name", "evidence", "explanation"} <= set(report["joint"][0])
    assert report["false_alarm_probability"] == {"requests": 10000, "at_most": 0.01}
    assert (report["version"], report["requests"], report["window"], report["reference_rows"]) == ("v1", 30, 500, 200)


def test_before_the_first_request_nothing_live_is_claimed(reference):
    report = drift_report("v1", reference, start(reference))
    assert (report.score, report.evidence, report.alarm, report.since) == (0.0, 0.0, False, None)
    assert report.features[0].live is None
    assert report.features[0].missing is None


def test_reference_and_live_are_shares_of_the_same_cells(draw, reference):
    feature = drift_report("v1", reference, update(reference, start(reference), draw(500))).features[0]
    assert feature.live is not None
    assert len(feature.bins) - 1 == len(feature.reference) == len(feature.live)
    assert sum(feature.reference) == pytest.approx(1, abs=1e-4)
    assert sum(feature.live) + feature.out_of_range == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "missing"),
        (float("nan"), "missing"),
        ("text", "unseen"),
        (99.0, "out_of_range"),
        (-99.0, "out_of_range"),
        (float("inf"), "out_of_range"),
    ],
)
def test_odd_values_of_a_numeric_feature_are_counted_where_they_belong(value, field):
    reference = build_reference(numeric_contract(1), np.linspace(0, 1, 50)[:, None], seed=1)
    rows = np.array([[value], [0.5]], dtype=object)
    feature = drift_report("v1", reference, update(reference, start(reference), rows)).features[0]
    assert {
        name: getattr(feature, name) for name in ("missing", "unseen", "out_of_range") if getattr(feature, name)
    } == {field: 0.5}


def test_a_categorical_feature_is_shown_by_category():
    contract = FeatureContract(task="classification", target="t", features=(Feature("c", kind="categorical"),))
    reference = build_reference(contract, np.array([["b"], ["a"], ["b"], [None]] * 5, dtype=object), seed=1)
    rows = np.array([["a"], ["new"], [None], ["a"]], dtype=object)
    feature = drift_report("v1", reference, update(reference, start(reference), rows)).features[0]
    assert (feature.bins, feature.reference, feature.reference_missing) == (("b", "a"), (0.5, 0.25), 0.25)
    assert (feature.live, feature.unseen, feature.missing) == ((0.0, 0.5), 0.25, 0.25)


def test_a_proven_change_is_reported_with_its_time_and_its_acknowledgement(draw, reference):
    rows = draw(200) + np.array([4.0, 0, 0])
    state = update(reference, start(reference), rows, at_us=np.full(200, AT_US))
    report = drift_report("v1", reference, acknowledge_all(state, AT_US + 1))
    assert drift_report("v1", reference, state).alarm
    assert (report.alarm, report.evidence, report.acknowledged) == (False, 1.0, "2023-11-14T22:13:20.123457Z")


def test_times_are_iso_and_in_utc(draw, reference):
    rows = np.concatenate([draw(100), draw(100) + np.array([4.0, 0, 0])])
    state = update(reference, start(reference), rows, at_us=AT_US + np.arange(200))
    report = drift_report("v1", reference, state)
    assert re.fullmatch(r"2023-11-14T22:13:20\.1235\d\dZ", report.since or "")
    assert report.features[0].since is not None
    assert report.features[2].since is None


def test_a_broken_correlation_is_explained_in_a_sentence_and_concerns_people(draw, reference):
    rows = draw(800)
    rows[:, 1] = draw(800)[:, 1]
    report = drift_report("v1", reference, update(reference, start(reference), rows))
    sentence = next(part.explanation for part in report.joint if part.name == "width given the others")
    assert sentence == "width no longer goes with the other features as it did in the reference."
    assert report.score < 0.1
    assert concerns_people(report, 0.1)


def test_clean_traffic_concerns_nobody(draw, reference):
    report = drift_report("v1", reference, update(reference, start(reference), draw(1000)))
    assert not concerns_people(report, 0.0)
    assert all("goes with" in part.explanation for part in report.joint[1:])


def test_answers_and_errors_are_reported(draw, reference):
    outputs = Outputs(class_ids=np.zeros(50, dtype=int), probabilities=np.tile([0.8, 0.1, 0.1], (50, 1)))
    state = update(reference, start(reference), draw(50), outputs)
    state = update_labels(reference, state, np.arange(20) < 5)
    parts = drift_report("v1", reference, state).outputs
    assert [part.name for part in parts] == ["predicted_class", "top_probability", "errors"]
    assert sorted(parts[0].live or ()) == [0.0, 0.0, 1.0]
    assert (parts[2].bins, parts[2].reference, parts[2].live) == (("right", "wrong"), (0.9, 0.1), (0.75, 0.25))


def test_a_version_without_answers_to_compare_with_has_none_in_its_report(draw):
    reference = build_reference(numeric_contract(3), draw(50), seed=1)
    outputs = Outputs(class_ids=np.zeros(9, dtype=int))
    state = update_labels(reference, update(reference, start(reference), draw(9), outputs), np.array([True]))
    assert drift_report("v1", reference, state).outputs == ()


def test_more_errors_are_an_alarm_of_the_version(reference):
    state = update_labels(reference, start(reference), np.random.default_rng(0).random(400) < 0.6)
    assert drift_report("v1", reference, state).alarm
