"""Backups have one format for both databases, so that a log can move from SQLite to PostgreSQL and back."""

import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import inspect, text

from app.cli import main
from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, OpenWindow, UnitFact
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.errors import StoreUnavailable
from app.store.backup import RestoreTargets, put_in_place, staging
from app.store.configurations import ConfigurationLog
from app.store.deployment import StoredGenerations
from app.store.engine import Database, kind_of
from app.store.event_log import HeartbeatLog
from app.store.kinds import READING
from app.store.outcomes import FeedbackLog
from app.store.postgres.weeks import WEEK_PREFIX
from app.store.predictions import PredictionLog
from app.store.projections import ProjectionStore
from tests.unit.store.stored_rows import id_of, logged
from tests.unit.store.test_configurations import FIRST

LAYOUT = LoggedLayout(2**63 - 1, (LoggedColumn("height"), LoggedColumn("wind_speed", "Wind speed (m/s)")))
FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=0.1)
SEQS = "SELECT seq FROM predictions UNION ALL SELECT seq FROM log"


class Place:
    """A deployment's folders, and its store."""

    def __init__(self, folder, url, patch):
        self.folder, self.url, self.patch = folder, url, patch
        (folder / "models").mkdir(parents=True)
        (folder / "data").mkdir()

    def run(self, *words):
        values = {"MODEL_DIR": self.folder / "models", "DATA_DIR": self.folder / "data", "DATABASE_URL": self.url}
        for name, value in values.items():
            self.patch.setenv(name, str(value))
        return main([*words])

    def fill(self, first=0):
        """A store with something in each table that has numbers of its own, and in those of units."""
        key = self.folder / "data" / "keys" / "deployment.key"
        key.parent.mkdir(exist_ok=True)
        key.write_text("ab" * 32)
        database = Database(self.url)
        ConfigurationLog(database).settle(lambda latest: None if latest else FIRST)
        PredictionLog(database).append([logged(first + number, propensity=0.1 + 0.2) for number in range(4998)])
        # Latencies of more than an hour are not packed.
        PredictionLog(database).append([logged(first + 4998, latency_us=2**40)])
        row = logged(first + 4999, own_key="order-4711", failed='["v2"]', layout=LAYOUT, lacking='["v3"]')
        PredictionLog(database).append([row])
        FeedbackLog(database, lambda: 1).commit([[Outcome(id_of(first), "actual", 0, FACT)]])
        HeartbeatLog(database, lambda: 1).append()
        units, windows = (UnitFact(unit=-(2**63)),), (OpenWindow(seq=1, closes_at_us=2, epoch=1, version="v1"),)
        changes = Changes(units={FIRST.experiment_id: units}, windows={FIRST.experiment_id: windows})
        states = ProjectionStore(database, lambda: 1)
        states.commit("experiment", states.cursor("experiment"), Cursor(first + 1, 0, 1), changes)
        database.close()

    def tables(self):
        """Every row of every table, as values that do not depend on the database."""
        database = Database(self.url)
        with database.begin(READING) as connection:
            names = sorted(name for name in inspect(connection).get_table_names() if WEEK_PREFIX not in name)
            found = {name: connection.execute(text(f"SELECT * FROM {name} ORDER BY 1, 2")).all() for name in names}
        database.close()
        found.pop("sqlite_sequence", None)
        return {
            name: [tuple(int(value) if isinstance(value, bool) else value for value in row) for row in rows]
            for name, rows in found.items()
        }


@pytest.fixture
def sqlite_place(tmp_path, monkeypatch):
    return Place(tmp_path / "s", f"sqlite:///{tmp_path / 's' / 'data' / 'bakeoff.sqlite'}", monkeypatch)


@pytest.fixture
def postgres_place(tmp_path, monkeypatch, postgres_url):
    return Place(tmp_path / "p", postgres_url, monkeypatch)


def move(source, target, backup):
    assert source.run("backup", "--to", str(backup)) == 0
    target.run("restore", str(backup))  # its status is 1: the doctor finds no version


def test_from_sqlite_to_postgresql_and_back_every_row_is_the_same(sqlite_place, postgres_place, tmp_path, monkeypatch):
    sqlite_place.fill()
    before = sqlite_place.tables()
    move(sqlite_place, postgres_place, tmp_path / "there.tar.gz")
    assert postgres_place.tables() == before
    again = Place(tmp_path / "again", f"sqlite:///{tmp_path / 'again' / 'data' / 'x.sqlite'}", monkeypatch)
    move(postgres_place, again, tmp_path / "back.tar.gz")
    assert again.tables() == before


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_numbers_continue_after_a_restore(sqlite_place, postgres_place, tmp_path, kind):
    source, target = (sqlite_place, postgres_place) if kind == "postgresql" else (postgres_place, sqlite_place)
    source.fill()
    move(source, target, tmp_path / "b.tar.gz")
    database = Database(target.url)
    PredictionLog(database).append([logged(9999)])
    assert ConfigurationLog(database).settle(lambda _latest: FIRST).epoch > 1
    with database.begin(READING) as connection:
        assert connection.execute(text(f"SELECT max(seq), count(*) FROM ({SEQS}) AS seqs")).one() == (5001, 5001)
    database.close()


def test_numbers_of_deleted_rows_are_not_reused(sqlite_place, postgres_place, tmp_path):
    sqlite_place.fill()
    with closing(sqlite3.connect(sqlite_place.folder / "data" / "bakeoff.sqlite")) as connection, connection:
        for table in ("predictions", "log"):
            connection.execute(f"DELETE FROM {table} WHERE seq > 10")
    move(sqlite_place, postgres_place, tmp_path / "b.tar.gz")
    database = Database(postgres_place.url)
    PredictionLog(database).append([logged(9999)])
    with database.begin(READING) as connection:
        assert connection.execute(text(f"SELECT max(seq) FROM ({SEQS}) AS seqs")).scalar() == 5001
    database.close()


def test_a_store_in_a_server_is_not_overwritten_without_force(postgres_place, tmp_path, capsys):
    postgres_place.fill()
    backup = tmp_path / "b.tar.gz"
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    shutil.rmtree(postgres_place.folder / "data")
    (postgres_place.folder / "data").mkdir()
    before = postgres_place.tables()
    assert postgres_place.run("restore", str(backup)) == 1
    assert "--force" in capsys.readouterr().err
    assert postgres_place.tables() == before


def test_with_force_the_former_store_is_kept_in_a_schema_that_is_named(
    postgres_place, tmp_path, capsys, postgres_server
):
    postgres_place.fill()
    before = postgres_place.tables()
    backup = tmp_path / "b.tar.gz"
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    postgres_place.fill(first=10_000)
    postgres_place.run("restore", str(backup), "--force")
    assert postgres_place.tables() == before
    aside = re.search(r"the schema (replaced-\S+)", capsys.readouterr().out)[1]
    database = Database(postgres_place.url)
    with database.begin(READING) as connection:
        assert connection.execute(text(f'SELECT count(*) FROM "{aside}".log')).scalar() == 9998
    database.close()
    postgres_server.execute(f'DROP SCHEMA "{aside}" CASCADE')


def test_if_the_files_cannot_be_restored_the_server_keeps_its_store(postgres_place, tmp_path, monkeypatch):
    postgres_place.fill()
    backup = tmp_path / "b.tar.gz"
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    postgres_place.fill(first=10_000)
    before = postgres_place.tables()

    def no_room(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.store.backup._move", no_room)
    assert postgres_place.run("restore", str(backup), "--force") == 1
    assert postgres_place.tables() == before


def test_if_the_server_refuses_the_commit_the_files_are_unchanged(tmp_path):
    homes = RestoreTargets(tmp_path / "data", None, tmp_path / "models")
    key = homes.data_dir / "keys" / "deployment.key"
    key.parent.mkdir(parents=True)
    key.write_text("old")

    def refuse():
        raise StoreUnavailable("as if")

    with staging(homes):
        homes.staged("keys/deployment.key").parent.mkdir(parents=True)
        homes.staged("keys/deployment.key").write_text("new")
        with pytest.raises(StoreUnavailable):
            put_in_place(homes, ["keys/deployment.key", "store.sqlite"], "now", refuse)
    assert key.read_text() == "old"


def test_a_backup_of_an_unused_store_has_no_log(postgres_place, tmp_path, capsys):
    key = postgres_place.folder / "data" / "keys" / "deployment.key"
    key.parent.mkdir()
    key.write_text("ab" * 32)
    assert postgres_place.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert "no log, because nothing has been recorded yet" in capsys.readouterr().out


def test_a_backup_without_a_log_leaves_the_log_in_the_server(postgres_place, tmp_path, capsys):
    backup = tmp_path / "b.tar.gz"
    (postgres_place.folder / "data" / "keys").mkdir()
    (postgres_place.folder / "data" / "keys" / "deployment.key").write_text("ab" * 32)
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    postgres_place.fill()
    before = postgres_place.tables()
    postgres_place.run("restore", str(backup), "--force")
    assert postgres_place.tables() == before
    assert "the schema" not in capsys.readouterr().out


def test_a_restore_is_refused_while_a_monitor_runs_on_the_server(postgres_place, tmp_path, capsys):
    postgres_place.fill()
    backup = tmp_path / "b.tar.gz"
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    lock = Database(postgres_place.url).kind.lock("monitor.lock")
    assert lock.acquire()
    assert postgres_place.run("restore", str(backup), "--force") == 1
    told = capsys.readouterr().err
    assert f"a monitor runs on {kind_of(postgres_place.url).place}, on this or another host" in told
    lock.release()


def test_a_restore_is_refused_while_an_api_of_any_host_uses_the_server(postgres_place, tmp_path, capsys, monkeypatch):
    postgres_place.fill()
    backup = tmp_path / "b.tar.gz"
    assert postgres_place.run("backup", "--to", str(backup)) == 0
    monkeypatch.setattr("socket.gethostname", lambda: "host-7")
    with closing(Database(postgres_place.url)) as database:
        elsewhere = StoredGenerations(database)
        elsewhere.confirm("")
        assert postgres_place.run("restore", str(backup), "--force") == 1
        assert "on host-7 (for a container its id): stop it there first" in capsys.readouterr().err
        lock = database.kind.lock("monitor.lock")
        assert lock.acquire()  # the monitor of that host
        assert postgres_place.run("restore", str(backup), "--force") == 1
        assert "on host-7" in (told := capsys.readouterr().err)
        assert "a monitor, or another restore, works on it too" in told
        lock.release()
        elsewhere.leave()
        postgres_place.run("restore", str(backup), "--force")
        assert "Restored: " in capsys.readouterr().out


def test_a_store_of_a_later_release_is_not_backed_up(postgres_place, tmp_path, capsys, postgres_server):
    postgres_place.fill()
    schema = postgres_place.url.rpartition("%3D")[2]
    postgres_server.execute(f"INSERT INTO {schema}.schema_version VALUES (99, 0)")
    assert postgres_place.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 1
    assert "later release" in capsys.readouterr().err
