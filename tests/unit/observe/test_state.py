"""The monitor's state as a scrape shows it."""

from app.domain.monitoring import MonitorSnapshot
from app.observe.state import state_of
from tests.web.drifting import drifted


def test_drift_is_the_champions_and_absent_where_nothing_is_known():
    report = drifted()
    state = state_of(MonitorSnapshot(state_age_s=2.0), {"v1": 1.0}, report)
    assert (state.drift_score, state.drift_evidence, state.drift_alarm) == (report.score, 1.0, True)
    assert state.feature_drift_scores["petal_length"] == report.score
    nothing = state_of(MonitorSnapshot(), {})
    assert (nothing.drift_score, nothing.drift_alarm, nothing.feature_drift_scores) == (None, None, {})
