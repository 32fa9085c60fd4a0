"""What a scrape is told of the monitor's state, and how often the store is asked for it."""

import pytest

from app.domain.monitoring import MonitorSnapshot
from app.observe.state import RecentState, StateSnapshot, state_of
from tests.web.drifting import drifted


def test_many_scrapes_ask_once_a_second():
    asked, now = [], [0.0]
    recent = RecentState(lambda: asked.append(1) or StateSnapshot(), lambda: now[0])
    for now[0] in (0.0, 0.5, 0.9, 1.0, 1.5):
        recent()
    assert len(asked) == 2


def test_a_failure_is_not_kept():
    answers = iter([OSError("gone"), StateSnapshot(drift_score=0.5)])

    def source():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    recent = RecentState(source, lambda: 0.0)
    with pytest.raises(OSError, match="gone"):
        recent()
    assert recent().drift_score == 0.5


def test_drift_is_the_champions_and_absent_where_nothing_is_known():
    report = drifted()
    state = state_of(MonitorSnapshot(state_age_s=2.0), {"v1": 1.0}, report)
    assert (state.drift_score, state.drift_evidence, state.drift_alarm) == (report.score, 1.0, True)
    assert state.feature_drift_scores["petal_length"] == report.score
    nothing = state_of(MonitorSnapshot(), {})
    assert (nothing.drift_score, nothing.drift_alarm, nothing.feature_drift_scores) == (None, None, {})
