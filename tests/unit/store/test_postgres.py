"""What only a server has: it can be away, frozen, or forbid something."""

import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import text

from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.log_event import Cursor
from app.errors import SettingError, StoreUnavailable
from app.services.queries.history import Place
from app.store.engine import Database, kind_of
from app.store.event_log import EventLog
from app.store.history import PredictionHistory
from app.store.kinds import DURABLE, MONITORING, READING, RECORDING, Access
from app.store.predictions import PredictionLog
from app.store.statements import statements
from tests.postgres import PASSWORD
from tests.unit.store.stored_rows import POSTGRES_ONLY, log_of, logged, number_of
from tests.waiting import eventually

pytestmark = POSTGRES_ONLY
ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
sys.path.insert(0, "tests/unit/store")
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.errors import SettingError, StoreUnavailable
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import id_of, logged

fact = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)
database, first = Database(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 150):
    rows = [logged(1000 * number + place) for place in range(number % 5 + 1)]
    while True:
        try:
            PredictionLog(database).append(rows)
            break
        except StoreUnavailable:  # the recorder waits a moment only, and tries again
            pass
    FeedbackLog(database, lambda: 1).commit([[Outcome(id_of(1000 * number), "actual", 0, fact)]])
"""


def test_what_two_processes_write_at_once_is_seen_by_cursor_in_order_and_whole(database, store_url, rows):
    database.probe()
    words = [sys.executable, "-c", WRITER, store_url]
    writers = [subprocess.Popen([*words, first], cwd=ROOT) for first in ("1000", "2000")]
    log, cursor, seen = EventLog(database), Cursor(), []
    while any(writer.poll() is None for writer in writers) or len(log.page(cursor, 7)):
        page = log.page(cursor, 7)
        seen += [(row.seq, 0, 0) for row in page.predictions]
        seen += [(outcome.predictions_seen, 1, outcome.seq) for outcome in page.outcomes]
        cursor = page.cursor
    assert [writer.returncode for writer in writers] == [0, 0]
    wanted = [(row.seq, 0, 0) for row in log_of(database)]
    wanted += rows("SELECT predictions_seen, 1, seq FROM feedback")
    assert len(seen) == len(wanted) == 300 + sum(2 * (number % 5 + 1) for number in range(150))
    assert sorted(seen) == sorted(wanted)


def test_a_server_that_is_down_is_unavailable_and_used_again_once_it_is_back(database, postgres_server):
    database.probe()
    postgres_server.stop()
    with pytest.raises(StoreUnavailable):
        database.probe()
    postgres_server.start()
    database.kind.retry_after_s = 0
    database._refusal = None
    database.probe()


def test_connections_that_a_restart_ended_cost_nobody_a_refusal(database, postgres_server):
    for access in (READING, RECORDING, DURABLE):
        with database.begin(access):
            pass
    postgres_server.stop()
    postgres_server.start()
    for access in (READING, RECORDING, DURABLE):
        with database.begin(access) as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_server_that_is_down_is_not_asked_again_at_once(database, postgres_server):
    postgres_server.stop()
    database.kind.retry_after_s = 1e6
    with pytest.raises(StoreUnavailable):
        database.probe()
    postgres_server.start()
    with pytest.raises(StoreUnavailable):
        database.probe()


def test_a_frozen_server_holds_nobody_for_ever(database, postgres_server):
    impatient = Access(writes=True, durable=True, busy_s=0.1, answer_s=0.1)
    with database.begin(impatient):
        pass
    with (
        pytest.raises(StoreUnavailable, match="did not answer"),
        database.begin(impatient) as connection,
        postgres_server.frozen(),
    ):
        connection.execute(text("SELECT 1"))
    database.probe()


def test_a_writer_that_says_nothing_more_does_not_keep_the_lock_of_all_writers(database, store_url):
    silent, other = Access(writes=True, durable=True, busy_s=0.1, answer_s=0.3), Database(store_url)

    def is_free():
        other.probe()
        return True

    def falls_silent(connection):
        eventually(is_free, ignoring=StoreUnavailable)
        connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable), database.begin(silent) as connection:
        falls_silent(connection)
    other.close()


def test_a_connection_that_is_lost_in_the_middle_is_an_outage_and_no_fault_of_ours(database, postgres_server):
    def lose(connection):
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        postgres_server.execute(f"SELECT pg_terminate_backend({pid})")
        connection.execute(text("UPDATE schema_version SET applied_at_us = 0"))

    with pytest.raises(StoreUnavailable), database.begin(DURABLE) as connection:
        lose(connection)
    database.probe()


@pytest.mark.parametrize("access", [READING, RECORDING, DURABLE])
def test_only_durable_writes_wait_for_the_disk_and_only_readers_have_a_snapshot(database, access):
    with database.begin(access) as connection:
        said = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("synchronous_commit", "lock_timeout")]
        level = connection.execute(text("SHOW transaction_isolation")).scalar()
    assert said == ["on" if access.durable else "off", f"{access.busy_s:g}s" if access.busy_s >= 1 else "100ms"]
    assert level == ("read committed" if access.writes else "repeatable read")


@pytest.mark.parametrize("access", [READING, RECORDING])
def test_the_servers_own_defaults_do_not_count(store_url, access):
    others = quote("-c default_transaction_isolation=serializable -c default_transaction_read_only=on ")
    url = store_url.replace("options=", f"options={others}")
    assert url != store_url
    with Database(url).begin(access) as connection:
        level = connection.execute(text("SHOW transaction_isolation")).scalar()
    assert level == ("read committed" if access.writes else "repeatable read")


def test_a_reader_cannot_write(database):
    with pytest.raises(StoreUnavailable, match="read-only"), database.begin(READING) as connection:
        connection.execute(text("DELETE FROM predictions"))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("wrong-word", PASSWORD), ("127.0.0.1:1/", ""), ("/nowhere?", "/postgres?"), ("nobody:", "bakeoff:")],
)
def test_what_the_server_refuses_is_an_outage_that_tells_no_password(store_url, wrong, right):
    url = store_url.replace(right, wrong) if right else "postgresql://bakeoff:wrong-word@127.0.0.1:1/x"
    with pytest.raises(StoreUnavailable) as refusal:
        Database(url).probe()
    assert "word" not in refusal.value.message.replace("password authentication", "")
    assert "\n" not in refusal.value.message


def test_a_user_who_may_not_create_tables_is_an_outage_that_says_so(store_url, postgres_server):
    postgres_server.execute("DROP ROLE IF EXISTS guest")
    postgres_server.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    schema = store_url.rpartition("%3D")[2]
    postgres_server.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest")
    url = store_url.replace("bakeoff:", "guest:")
    with pytest.raises(StoreUnavailable, match="permission denied"):
        Database(url).probe()
    assert "may not create tables" in kind_of(url).examine(1).complaint
    postgres_server.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM guest")
    postgres_server.execute("DROP ROLE guest")


def test_tables_that_vanish_are_made_again(database, change, rows):
    PredictionLog(database).append([logged(1)])
    names = rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    change(*(f"DROP TABLE IF EXISTS {name}" for (name,) in names))
    with pytest.raises(StoreUnavailable):
        database.probe()
    database.probe()
    assert log_of(database) == []


def test_a_week_whose_table_was_dropped_gets_one_again(database, change, rows):
    log, week = PredictionLog(database), 7 * 86_400_000_000
    for number in (1, 2 * week):
        log.append([logged(number)])
    weeks = rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'log_week_%'")
    tables = sorted(name for (name,) in weeks)
    change(f"DROP TABLE {tables[0]}")
    log.append([logged(2), logged(2 * week + 1)])
    assert [number_of(row.prediction_id) for row in log_of(database)] == [2 * week, 2, 2 * week + 1]


def test_ids_sort_by_their_bytes_whatever_the_language_of_the_database(postgres_server, store_url):
    postgres_server.execute("DROP DATABASE IF EXISTS english WITH (FORCE)")
    postgres_server.execute("CREATE DATABASE english TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    english = Database(store_url.partition("?")[0].replace("/postgres", "/english"))
    ids = ["-", "0", "A", "B", "_", "a", "b"]
    PredictionLog(english).append([replace(logged(1), prediction_id=name) for name in ids])
    found = [row.prediction_id for row in PredictionHistory(english).page(9, before=Place("b", 2**62))]
    english.close()
    postgres_server.execute("DROP DATABASE english WITH (FORCE)")
    assert found == ids[-2::-1]


def test_a_text_with_a_nul_is_kept_without_it(database, rows, change):
    change("DELETE FROM log_marks")
    PredictionLog(database).append([logged(1, request_id="a\0b")])
    assert rows("SELECT request_id FROM predictions") == [("a\ufffdb",)]


def test_a_password_with_signs_and_the_options_of_the_url_arrive(postgres_server, store_url):
    parameters = kind_of("postgresql://u%40x:p%2Fw%23@h:1/d?sslmode=require&application_name=mine").parameters()
    wanted = {"user": "u@x", "password": "p/w#", "host": "h", "port": 1, "sslmode": "require"}
    assert {**parameters, **wanted} == parameters
    assert parameters["application_name"] == "mine"
    assert psycopg.conninfo.make_conninfo(**parameters)


def test_the_place_for_people_has_no_password(store_url, postgres_server):
    assert kind_of(store_url).place == f"127.0.0.1:{postgres_server.port}/postgres"


def test_a_lock_of_a_server_that_was_down_is_not_held_any_more(store_url, postgres_server):
    first, second = kind_of(store_url).lock("monitor.lock"), kind_of(store_url).lock("monitor.lock")
    assert first.acquire()
    postgres_server.stop()
    assert not first.held()
    with pytest.raises(StoreUnavailable):
        first.acquire()
    postgres_server.start()
    assert second.acquire()
    assert not first.acquire()
    first.release()
    second.release()


def test_fifty_workers_that_write_and_read_from_threads_have_a_connection_each(store_url, postgres_server):
    """As many as a server of 100 has room for, beside a monitor."""
    name = f"workers-{secrets.token_hex(4)}"
    workers = [Database(f"{store_url}&connections=1&application_name={name}") for _ in range(50)]

    def use(worker):
        for access in (READING, RECORDING, DURABLE):
            with worker.begin(replace(access, busy_s=10.0)) as connection:
                connection.execute(text("SELECT count(*) FROM schema_version")).scalar_one()

    workers[0].probe()
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(use, workers * 2))
    with workers[0].begin(READING) as connection:
        asked = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
        assert connection.execute(asked, {"name": name}).scalar_one() == len(workers)
    for worker in workers:
        worker.close()


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (READING, ("repeatable read", "on", "1s", "10s", "off")),
        (DURABLE, ("read committed", "off", "5s", "10s", "on")),
        (MONITORING, ("read committed", "off", "5s", "1min", "off")),
    ],
)
def test_ways_to_use_the_store_share_connections_and_keep_their_own_limits(database, access, expected):
    names = ("transaction_isolation", "transaction_read_only", "lock_timeout", "statement_timeout")
    for other in (DURABLE, READING, access):
        with database.begin(other) as connection:
            found = [connection.execute(text(f"SHOW {name}")).scalar() for name in (*names, "synchronous_commit")]
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
    assert tuple(found) == expected
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == pid


def test_a_page_of_the_history_needs_one_connection(store_url):
    one, layout = Database(f"{store_url}&connections=1"), LoggedLayout(1, (LoggedColumn("height"),))
    PredictionLog(one).append([logged(0, layout=layout)])
    assert [row.layout for row in PredictionHistory(one).page(1)] == [layout]
    one.close()


def test_what_a_decision_reads_needs_no_second_connection(store_url):
    one, touch = Database(f"{store_url}&connections=1"), text(statements("schema")["touch"])
    with one.begin(DURABLE) as writing:
        pid = writing.execute(text("SELECT pg_backend_pid()")).scalar()
        writing.execute(touch)
        with one.begin(READING) as reading:
            assert reading.execute(text("SELECT pg_backend_pid()")).scalar() == pid
        with pytest.raises(StoreUnavailable), one.begin(READING) as reading:
            reading.execute(text("SELECT 1 / 0"))
        writing.execute(touch)
    with one.begin(READING) as after:
        assert after.execute(text("SHOW transaction_read_only")).scalar() == "on"
    one.close()


def test_a_reader_of_another_thread_waits_for_a_connection_and_is_told_of_the_setting(store_url):
    one = Database(f"{store_url}&connections=1")

    def read():
        with one.begin(replace(READING, busy_s=0.1)) as connection:
            return connection.execute(text("SELECT 1")).scalar()

    with ThreadPoolExecutor(1) as threads, one.begin(DURABLE):
        found = threads.submit(read).exception()
    assert isinstance(found, StoreUnavailable)
    assert found.message.endswith("are in use; DATABASE_CONNECTIONS says how many")
    one.close()


@pytest.mark.parametrize("number", ["0", "many", "-1"])
def test_a_wrong_number_of_connections_is_refused(store_url, number):
    with pytest.raises(SettingError, match="connections must be a whole number"):
        kind_of(f"{store_url}&connections={number}")
