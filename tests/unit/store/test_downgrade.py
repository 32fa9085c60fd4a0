"""Releases before run on this schema: their statements for the tables that have changed, as those releases have them.

A release is named by its last migration.
"""

import re
from pathlib import Path

import pytest
from msgspec.structs import astuple
from sqlalchemy import create_engine, inspect, text

from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, UnitFact
from app.store.event_log import EventLog
from app.store.kinds import DURABLE
from app.store.predictions import PredictionLog
from app.store.projections import ProjectionStore
from app.store.reports import ReportTable
from app.store.schema import build, known
from app.store.statements import in_dialect
from tests.unit.store.stored_rows import id_of, logged

FOLDER = Path(__file__).parent / "releases_before"
NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def before(concern, release="0005"):
    """The statements of a release, by name."""
    blocks = NAMED.split((FOLDER / release / f"{concern}.sql").read_text())[1:]
    return {name: body.strip() for name, body in zip(blocks[::2], blocks[1::2], strict=True)}


STATEMENTS = [
    (path.parent.name, path.stem, name)
    for path in sorted(FOLDER.glob("*/*.sql"))
    for name in before(path.stem, path.parent.name)
]
TAILS = {"after": "predictions", "of_ids": "outcomes", "corrections_after": "corrections"}
LOGGED = {"0005": 14, "0006": 16, "0007": 18, "0008": 18, "0011": 18}  # columns that it writes


@pytest.fixture
def carry_out(database):
    """Carries out a statement of the earliest of these releases."""

    def carried_out(concern, statement, /, **values):
        with database.begin(DURABLE) as connection:
            result = connection.execute(text(in_dialect(before(concern)[statement], connection.dialect.name)), values)
            return [tuple(row) for row in result] if result.returns_rows else None

    return carried_out


@pytest.mark.parametrize(("release", "concern", "name"), STATEMENTS)
def test_its_statements_are_understood(empty_store, release, concern, name):
    with empty_store.begin(DURABLE) as connection:
        kind = connection.dialect.name
        known = before(concern, release)
        statement = in_dialect(known[name], kind)
        if name in TAILS:
            head = "page" if concern == "predictions" else TAILS[name]
            statement = f"{known[head]} {statement}"
        if (concern, name) == ("predictions", "append"):
            statement += f" ({', '.join(['NULL'] * LOGGED[release])})"
        if (name, kind) != ("append_arrays", "sqlite"):
            values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement))
            connection.execute(text(f"EXPLAIN {statement}"), values)


@pytest.mark.parametrize(("release", "width"), LOGGED.items())
def test_the_rows_that_it_logs_are_read(database, release, width):
    row = astuple(logged(1))[:width]
    marks = ", ".join(f":v{number}" for number in range(width))
    with database.begin(DURABLE) as connection:
        values = {f"v{number}": value for number, value in enumerate(row)}
        connection.execute(text(f"{before('predictions', release)['append']} ({marks})"), values)
    [found] = EventLog(database).page(Cursor(), 10).predictions
    assert found.prediction_id == row[0]
    assert (found.own_key, found.failed, found.layout, found.lacking) == (None, None, None, None)


@pytest.mark.parametrize("release", LOGGED)
def test_it_reads_rows_with_a_layout(database, release, change):
    change("DELETE FROM log_marks")  # as in a store that it has used
    layout = LoggedLayout(2**62 + 1, (LoggedColumn("a"), LoggedColumn("b")))
    PredictionLog(database).append([logged(1, layout=layout, lacking='["v2"]')])
    statements = before("monitor", release)
    with database.begin(DURABLE) as connection:
        query = text(f"{statements['predictions']} {statements['after']}")
        [row] = connection.execute(query, {"after": 0, "until": 9, "limit": 9})
    assert (row.prediction_id, row.features) == (id_of(1), "[5.1,null]")


def test_the_state_that_it_writes_is_read(database, carry_out):
    store, reports = ProjectionStore(database, lambda: 1), ReportTable(database, lambda: 1)
    store.commit("experiment", Cursor(), Cursor(1, 2, 3), Changes(states={"one": "{}"}))
    reports.put_report("one", Cursor(1, 2, 3), "{}")
    values = {"predictions": 4, "outcomes": 5, "body": "new", "at_us": 2}
    for name in ("experiment", "experiment/one", "report/one", "experiment/two", "report/two"):
        carry_out("monitor", "put_state", name=name, **values)
    assert carry_out("monitor", "cursor", name="experiment") == [(4, 5)]
    assert store.cursor("experiment") == Cursor(4, 5, 3)
    assert store.states(["experiment/one", "experiment/two"]) == {"experiment/one": "new", "experiment/two": "new"}
    assert carry_out("monitor", "stale_reports", states="experiment/", reports="report/") == []
    assert reports.stale_reports() == {}


def test_its_rebuild_replaces_the_state_and_leaves_what_it_does_not_know(database, carry_out, change):
    change("INSERT INTO experiments (id, ordinal, started_at_us, body) VALUES ('one', 1, 0, '{}')")
    store, unit = ProjectionStore(database, lambda: 1), UnitFact(unit=7, bad=1)
    store.commit("experiment", Cursor(), Cursor(1), Changes(states={"one": "old"}, units={"one": (unit,)}))
    values = {"predictions": 1, "outcomes": 0, "body": "new", "at_us": 2}
    for name in ("rebuild/experiment", "rebuild/experiment/one"):
        carry_out("monitor", "put_state", name=name, **values)
    carry_out("monitor", "drop_state", name="experiment")
    for statement in ("drop_points", "drop_users"):
        carry_out("monitor", statement, space="rebuild/", inside=False)
    for statement in ("adopt_state", "adopt_points", "adopt_users"):
        carry_out("monitor", statement, space="rebuild/")
    assert store.states(["experiment/one"]) == {"experiment/one": "new"}
    assert store.units("one", [7]) == {7: unit}


def columns(numbers):
    """The columns of the schema after these migrations, by table and name."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        build(connection, numbers)
        schema = inspect(connection)
        return {(table, each["name"]): each for table in schema.get_table_names() for each in schema.get_columns(table)}


@pytest.mark.parametrize("last", sorted(known())[:-1])
def test_a_migration_only_adds_what_earlier_releases_need_not_write(last):
    earlier = columns([number for number in known() if number <= last])
    now = columns(known())
    assert earlier.keys() <= now.keys()
    tables = {table for table, _ in earlier}
    added = [each for (table, name), each in now.items() if table in tables and (table, name) not in earlier]
    assert all(each["nullable"] or each["default"] is not None for each in added), added
