"""Whatever happens to the monitor, the derived state is the same to the last bit."""

import random
from itertools import count

import pytest
from sqlalchemy import event

from app.errors import StoreUnavailable
from app.monitor.disagreements import DisagreementProjection
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import BATCH_ROWS, FIRST_ROWS, step
from app.monitor.rebuild import rebuild
from app.store.event_log import EventLog
from app.store.kinds import MONITORING
from tests.unit.monitor.small_log import SmallLog
from tests.unit.store.stored_rows import SQLITE_ONLY

KINDS = {
    "accuracy": {"equivalence_margin": 0.02},
    "reward": {"metric": "reward"},
    "asymptotic": {"metric": "reward", "reward_range": None},
    "triggered": {"metric": "reward", "reward_triggered": True},
    "units": {"unit": "auto"},
    "windows": {"unit": "auto", "metric": "reward", "reward_window_s": 70.0},
}


def mixed_log(small_log, n=60, **terms):
    """Two experiments, changed weights, late rows, forced rows, sticky users, rewards, times of rest."""
    units = n // 3 if "unit" in terms else 0
    small_log.begin("one", **terms)
    small_log.random_traffic(n, seed=1, kinds=("actual", "reward"), units=units)
    small_log.pass_time(60)
    old = small_log.epoch
    small_log.begin("one", weights={"v1": 0.8, "v2": 0.2}, **terms)
    small_log.random_traffic(n, seed=2, kinds=("actual", "reward"), share=0.2, units=units)
    small_log.pass_time(60)
    small_log.pass_time(0)
    forced = small_log.served({"v1": 0, "v2": 1}, "v2", assignment="forced")
    sticky = [small_log.served({"v1": 0, "v2": 1}, "v1", assignment="sticky", user=5) for _ in range(3)]
    small_log.log(forced, *sticky)
    small_log.give_all([(forced, 0, "actual"), *((row, 1.0, "reward") for row in sticky)])
    small_log.begin("two", weights={"v1": 0.3, "v2": 0.3, "v3": 0.4}, **terms)
    small_log.random_traffic(n // 2, seed=3, kinds=("actual", "reward"), versions=("v1", "v2", "v3"))
    small_log.random_traffic(n // 4, seed=4, kinds=("actual", "reward"), epoch=old, units=units)


# Thousands of small transactions, which a server makes slow: of one kind there.
@pytest.mark.parametrize(
    ("store_url", "kind"), [*(("sqlite", kind) for kind in KINDS), ("postgresql", "windows")], indirect=["store_url"]
)
def test_batches_of_one_or_of_thousands_give_the_same_state(small_log, kind):
    mixed_log(small_log, n=40, **KINDS[kind])
    small_log.process(batch_rows=1000)
    expected = small_log.derived()
    for batch_rows in (1, 7):
        small_log.forget()
        small_log.process(batch_rows=batch_rows)
        assert small_log.derived() == expected
    if kind == "windows":
        assert expected[-2], "no unit is known"
        assert expected[-1], "no window is open"


def test_reading_while_others_write_gives_the_same_state(small_log):
    small_log.begin()
    rng = random.Random(5)
    for seed in range(30):
        small_log.random_traffic(4, seed=seed, late=0.5)
        small_log.step(ExperimentProjection(), batch_rows=rng.randint(1, 9))
    small_log.process()
    expected = small_log.derived()
    small_log.forget()
    small_log.process()
    assert small_log.derived() == expected


class Killed(Exception):
    """Stands for SIGKILL between two statements."""


class Killer:
    """Raises before the `after`-th statement of the connections of one way to use the store."""

    def __init__(self, database, access, after):
        self._left = after
        self._engine = database._engine(access)
        event.listen(self._engine, "before_cursor_execute", self._count)

    def _count(self, *_details):
        self._left -= 1
        if self._left == 0:
            self.stop()
            raise Killed

    def stop(self):
        if event.contains(self._engine, "before_cursor_execute", self._count):
            event.remove(self._engine, "before_cursor_execute", self._count)


def test_a_kill_between_any_two_statements_loses_and_repeats_nothing(small_log):
    mixed_log(small_log, n=6, **KINDS["windows"])
    small_log.process(batch_rows=1000)
    expected = small_log.derived()
    for after in count(1):
        small_log.forget()
        killer = Killer(small_log.database, MONITORING, after)
        try:
            small_log.process(batch_rows=20)
        except Killed:
            small_log.process(batch_rows=20)
        else:
            break  # that was one more statement than there are
        finally:
            killer.stop()
        assert small_log.derived() == expected
    assert after > 12


def test_a_step_of_a_monitor_that_was_overtaken_is_dropped(small_log):
    small_log.begin()
    small_log.random_traffic(10)

    class Overtaken(EventLog):
        def page(self, cursor, limit, until=None):
            page = super().page(cursor, limit, until)
            small_log.process()
            return page

    step(ExperimentProjection(), Overtaken(small_log.database), small_log.stored_states, batch_rows=3)
    expected = small_log.derived()
    small_log.forget()
    small_log.process()
    assert small_log.derived() == expected


@pytest.mark.parametrize("kind", ["accuracy", "windows"])
def test_a_rebuild_equals_the_live_state_and_takes_its_place(small_log, kind):
    mixed_log(small_log, n=20, **KINDS[kind])
    small_log.publish()
    expected, report = small_log.derived(), small_log.report()
    done = small_log.rebuild()
    assert done.states_equal == {"experiment": True}
    assert all(each.equal and each.before is not None for each in done.comparisons)
    assert small_log.derived() == expected
    small_log.rebuild()
    assert small_log.derived() == expected
    assert small_log.report().comparisons == report.comparisons


def test_a_rebuild_mends_a_state_that_was_wrong(small_log):
    small_log.begin()
    small_log.random_traffic(20)
    small_log.publish()
    expected = small_log.derived()
    with small_log.database.begin(MONITORING) as connection:
        connection.exec_driver_sql("UPDATE monitor_state SET body = replace(body, 'requests\":', 'requests\":9')")
    done = small_log.rebuild()
    assert done.states_equal == {"experiment": False}
    assert small_log.derived() == expected


def test_a_rebuild_stops_where_the_live_monitor_is(small_log):
    small_log.begin()
    small_log.random_traffic(20)
    small_log.step(ExperimentProjection(), batch_rows=10)
    expected = small_log.derived()
    assert small_log.rebuild().states_equal == {"experiment": True}
    assert small_log.derived() == expected


def test_a_rebuild_of_nothing_begins_anew(small_log):
    small_log.begin()
    small_log.random_traffic(20)
    done = small_log.rebuild()
    assert (done.states_equal, done.comparisons[0].before) == ({"experiment": None}, None)
    rebuilt = small_log.derived()
    small_log.forget()
    small_log.process()
    assert small_log.derived() == rebuilt


def test_the_report_is_made_again_after_a_death_before_it(small_log):
    small_log.begin()
    small_log.random_traffic(5)
    small_log.process()
    assert [report.id for report in small_log.publisher().publish()] == ["one"]


@SQLITE_ONLY
def test_an_unavailable_store_changes_nothing(small_log, tmp_path):
    small_log.begin()
    small_log.random_traffic(5)
    path = tmp_path / "data" / "bakeoff.sqlite"
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        small_log.step(ExperimentProjection())
    (tmp_path / "elsewhere").rename(path)
    assert isinstance(small_log, SmallLog)
    assert small_log.process() > 0


class PagesCounted(EventLog):
    """Notes where each page begins, and how many rows it may have."""

    def __init__(self, database):
        super().__init__(database)
        self.pages = []

    def page(self, cursor, limit, until=None):
        self.pages.append((cursor.predictions, limit))
        return super().page(cursor, limit, until)


def test_the_first_rows_of_a_log_are_a_page_of_their_own_in_the_same_step(small_log):
    small_log.begin("one")
    small_log.log(*(small_log.served({"v1": 0, "v2": 1}) for _ in range(FIRST_ROWS + 7)))
    log = PagesCounted(small_log.database)
    assert step(ExperimentProjection(), log, small_log.stored_states) == FIRST_ROWS + 7
    assert log.pages == [(0, FIRST_ROWS), (FIRST_ROWS, BATCH_ROWS)]


def test_a_rebuild_reads_a_page_once_for_all_projections(small_log):
    mixed_log(small_log, n=10)
    projections = ExperimentProjection(), DisagreementProjection()
    small_log.process(*projections)
    log = PagesCounted(small_log.database)
    rebuilt = rebuild(projections, log, small_log.space(), small_log.space("rebuild/"), small_log.clock)
    assert rebuilt.states_equal == {"experiment": True, "disagreements": True}
    # The second page is that behind the last row.
    assert len(log.pages) == 2
