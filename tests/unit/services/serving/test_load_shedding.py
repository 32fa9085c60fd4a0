import pytest

from app.services.recording.recorder import Recorder
from app.services.serving.load_shedding import LoadShedding
from tests.unit.services.recording.recorders import LOADED, Constant, CountingMetrics, MemoryLog, exposure, models_of


@pytest.mark.parametrize(
    ("waiting", "full", "backpressure"),
    [(0, False, False), (5, False, False), (6, False, True), (10, False, True), (11, True, True)],
)
def test_shadow_work_pauses_before_any_request_is_rejected(waiting, full, backpressure):
    gate = LoadShedding(lambda: waiting, 10)
    assert (gate.full, gate.backpressure) == (full, backpressure)


def test_a_rejection_says_when_to_retry():
    refusal = LoadShedding(lambda: 99, 10).refusal()
    assert (refusal.code, refusal.retry_after_s) == ("overloaded", 1)


def recorded(backpressure, limit=1000, exposures=3):
    log, metrics = MemoryLog(), CountingMetrics()
    recorder = Recorder(log, metrics, lambda: LOADED, limit, backpressure=lambda: backpressure)
    for _ in range(exposures):
        recorder.record(exposure())
    recorder.start()
    assert recorder.stop(5.0) == 0
    return list(log.rows.values()), metrics.counts


def test_under_pressure_rows_are_logged_without_the_others_answers_and_counted():
    rows, counts = recorded(backpressure=True)
    assert counts["shadow_shed"] == len(rows) == 3
    assert all('"v1"' in row.answers and '"v2"' not in row.answers for row in rows)


def test_without_pressure_every_version_is_asked():
    rows, counts = recorded(backpressure=False)
    assert counts["shadow_shed"] == 0
    assert all('"v2"' in row.answers for row in rows)


def test_a_deep_queue_is_pressure_of_its_own_until_it_is_short_again():
    rows, counts = recorded(backpressure=False, limit=4000, exposures=2000)
    shadowed = sum('"v2"' in row.answers for row in rows)
    assert counts["shadow_shed"] + shadowed == len(rows) == 2000
    assert shadowed >= 500
    assert counts["shadow_shed"] >= 512


def test_work_that_nobody_else_does_is_never_shed():
    one = CountingMetrics()
    recorder = Recorder(MemoryLog(), one, lambda: models_of(v1=Constant(0)), 100, backpressure=lambda: True)
    recorder.record(exposure())
    recorder.start()
    recorder.stop(5.0)
    assert one.counts["shadow_shed"] == 0
