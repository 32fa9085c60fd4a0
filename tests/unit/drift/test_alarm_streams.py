"""The streams of an alarm: named by kind, with their evidence at that moment, until it is acknowledged."""

import numpy as np

from app.domain.prediction import Outputs
from app.drift.alarm_streams import what_changed
from app.drift.report import drift_report
from app.drift.report_types import AlarmStream
from app.drift.watch import acknowledge_all, start, update, update_labels
from tests.unit.monitor.watched_log import reference


def rows(n, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)) + np.array([shift, 0, 0])


def report_of(state):
    return drift_report("v1", reference(), state)


def alarmed():
    return update(reference(), start(reference()), rows(100, shift=3.0))


def test_an_alarm_names_its_streams_and_when_they_raised_it():
    report = report_of(alarmed())
    first = report.alarm_streams[0]
    assert (first.kind in ("inputs", "joint"), first.evidence, first.requests % 10) == (True, 1.0, 0)
    assert 0 < first.requests <= 100
    assert ("length", "inputs") in {(stream.name, stream.kind) for stream in report.alarm_streams}
    assert "exchangeable" in report.assumption


def ended():
    """Errors raised an alarm, which ended by itself."""
    wrong = np.arange(1600) < 30
    return update_labels(reference(), start(reference()), wrong, np.arange(1600))


def test_they_stay_when_the_evidence_has_gone_and_the_alarm_has_ended():
    report = report_of(ended())
    assert (report.alarm, report.alarms, report.evidence, report.assumption) == (False, 1, 0.0, None)
    assert [stream.name for stream in report.alarm_streams] == ["errors"]


def test_an_acknowledgement_ends_them():
    assert report_of(acknowledge_all(alarmed(), 7)).alarm_streams == ()
    assert report_of(acknowledge_all(ended(), 7)).alarm_streams == ()


def test_without_an_alarm_there_are_none():
    assert report_of(update(reference(), start(reference()), rows(200))).alarm_streams == ()


def test_inputs_are_named_only_where_they_moved():
    outputs = Outputs(class_ids=np.ones(300, dtype=int), probabilities=np.tile([0.01, 0.99], (300, 1)))
    state = update(reference(), start(reference()), rows(300), outputs)
    assert {stream.kind for stream in report_of(state).alarm_streams} == {"outputs"}
    state = update_labels(reference(), start(reference()), np.ones(100, dtype=bool), np.arange(100) + 5)
    [errors] = report_of(state).alarm_streams
    assert (errors.name, errors.kind, 0 < errors.requests < 100) == ("errors", "errors", True)


def test_the_sentence_names_kinds_and_the_first_streams():
    names = [(f"x{number}", "inputs") for number in range(5)] + [("errors", "errors")]
    streams = [AlarmStream(name=name, kind=kind, evidence=1.0, requests=10, at=None) for name, kind in names]
    assert what_changed(streams) == "the inputs (x0, x1, x2 and 2 more) and the version's errors"
    assert what_changed(streams[5:]) == "the version's errors"
    joint = AlarmStream(name="distance", kind="joint", evidence=1.0, requests=10, at=None)
    three = "the inputs (x0), the relations between the inputs (distance) and the version's errors"
    assert what_changed([streams[0], joint, streams[5]]) == three
    assert what_changed([]) == "the traffic, or the version's answers or errors"
