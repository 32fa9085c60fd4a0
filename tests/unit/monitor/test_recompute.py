"""States of another release are computed anew at the start, beside the live ones, and replaced in one transaction."""

import json

import pytest

from app.domain.log_event import Cursor
from app.domain.monitor_state import STATE_LAYOUT
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.rebuild import is_outdated, recompute
from app.store.event_log import EventLog
from app.store.kinds import MONITORING


def change(small_log, statement):
    with small_log.database.begin(MONITORING) as connection:
        connection.exec_driver_sql(statement)


def written_by_the_release_before(small_log):
    """Make the live state look as if it had been: no layout, a heartbeat cursor left as it was, another count."""
    body = f"replace(replace(body, '\"layout\":{STATE_LAYOUT}', '\"layout\":0'), '\"requests\":', '\"requests\":9')"
    change(small_log, f"UPDATE monitor_state SET body = {body}, cursor_heartbeats = 0")


class SmallPages(EventLog):
    def page(self, cursor, limit, until=None):
        return super().page(cursor, 10, until)


def start(small_log, going_on=lambda: True, clock=lambda: 0.0):
    log = SmallPages(small_log.database)
    spaces = small_log.space(), small_log.space("rebuild/")
    return recompute(ExperimentProjection(), log, *spaces, small_log.clock, going_on, clock=clock)


@pytest.fixture
def outdated(small_log):
    """A log with heartbeats and its state by the release before; `small_log` and the state that is right."""
    small_log.begin()
    small_log.random_traffic(20)
    small_log.pass_time(60)
    small_log.random_traffic(20, seed=1)
    small_log.pass_time(60)
    small_log.publish()
    expected = small_log.derived()
    written_by_the_release_before(small_log)
    return small_log, expected


def events(caplog, name):
    return [record.event_fields for record in caplog.records if record.message == name]


def test_only_a_state_of_another_layout_is_outdated(small_log):
    assert not is_outdated(small_log.stored_states)
    small_log.begin()
    small_log.random_traffic(2)
    small_log.process()
    assert not is_outdated(small_log.stored_states)
    for layout in (0, STATE_LAYOUT + 1):
        change(small_log, f"UPDATE monitor_state SET body = '{{\"layout\":{layout}}}' WHERE name = 'experiment'")
        assert is_outdated(small_log.stored_states)
    change(small_log, "UPDATE monitor_state SET body = '{\"names\":[]}' WHERE name = 'experiment'")
    assert is_outdated(small_log.stored_states)


def test_the_state_is_that_of_this_release_afterwards_and_what_changed_is_logged(outdated, caplog):
    small_log, expected = outdated
    assert start(small_log)
    assert small_log.derived() == expected
    assert not is_outdated(small_log.stored_states)
    [done] = events(caplog, "experiments_recomputed")
    assert (done["rows"] > 60, done["comparisons"], done["changed"]) == (True, 1, [])


def test_a_comparison_that_differs_is_logged_with_both_values(outdated, caplog):
    small_log, _ = outdated
    change(small_log, "UPDATE monitor_state SET body = replace(body, '\"wins\":', '\"wins\":9')")
    assert start(small_log)
    [changed] = events(caplog, "experiments_recomputed")[0]["changed"]
    assert (changed["experiment"], changed["challenger"]) == ("one", "v2")
    assert changed["before"] != changed["after"] == small_log.report().comparisons[0].log_e


def test_a_state_that_this_release_cannot_read_is_replaced(outdated):
    small_log, expected = outdated
    change(small_log, "UPDATE monitor_state SET body = '{\"versions\":7}' WHERE name = 'experiment/one'")
    assert start(small_log)
    assert small_log.derived() == expected


def test_a_stop_leaves_the_live_state_and_the_next_start_goes_on(outdated, caplog):
    small_log, expected = outdated
    live = [small_log.stored_states.cursor("experiment"), small_log.stored_states.all_states("experiment")]
    answers = iter([True, True, False])
    assert not start(small_log, going_on=lambda: next(answers))
    assert live == [small_log.stored_states.cursor("experiment"), small_log.stored_states.all_states("experiment")]
    begun = small_log.space("rebuild/").states.cursor("experiment")
    assert begun.predictions > 0
    assert start(small_log)
    assert small_log.derived() == expected
    [done] = events(caplog, "experiments_recomputed")
    assert done["rows"] < len(small_log.events.page(Cursor(), 1000))


def test_what_a_rebuild_by_another_release_left_is_not_gone_on_with(outdated):
    small_log, expected = outdated
    answers = iter([True, False])
    assert not start(small_log, going_on=lambda: next(answers))
    written_by_the_release_before(small_log)  # the live state and the rebuilt one
    assert start(small_log)
    assert small_log.derived() == expected


def test_the_progress_is_logged_now_and_then(outdated, caplog):
    small_log, _ = outdated
    caplog.set_level("INFO")
    seconds = iter(range(0, 1000, 11))
    start(small_log, clock=lambda: next(seconds))
    rows = [fields["rows"] for fields in events(caplog, "experiments_recomputing") if "rows" in fields]
    assert len(rows) > 1
    assert rows == sorted(rows)


def test_the_drift_of_the_versions_is_left_alone(outdated):
    small_log, _ = outdated
    kept = json.dumps({"kept": True})
    change(
        small_log,
        "INSERT INTO monitor_state (name, cursor_predictions, cursor_feedback, body, updated_at_us) "
        f"VALUES ('drift', 3, 4, '{{}}', 0), ('drift/v1', 3, 4, '{kept}', 0), ('rebuild/drift', 1, 1, '{{}}', 0)",
    )
    assert start(small_log)
    assert small_log.stored_states.all_states("drift") == {"drift": "{}", "drift/v1": kept}
    assert small_log.stored_states.cursor("drift") == Cursor(3, 4)
