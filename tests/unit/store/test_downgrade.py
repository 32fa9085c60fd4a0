"""The release before runs on this schema: its statements for the tables that have changed, as that release has them."""

import re
from pathlib import Path

import pytest
from msgspec.structs import astuple
from sqlalchemy import create_engine, inspect, text

from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, UnitFact
from app.store.event_log import EventLog
from app.store.kinds import DURABLE
from app.store.projections import ProjectionStore
from app.store.reports import ReportTable
from app.store.schema import build, known
from app.store.statements import in_dialect
from tests.unit.store.stored_rows import logged

FOLDER = Path(__file__).parent / "release_before"
NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def before(concern):
    """The statements of the release before, by name."""
    blocks = NAMED.split((FOLDER / f"{concern}.sql").read_text())[1:]
    return {name: body.strip() for name, body in zip(blocks[::2], blocks[1::2], strict=True)}


CONCERNS = [path.stem for path in FOLDER.iterdir()]
STATEMENTS = [(concern, name) for concern in CONCERNS for name in before(concern)]
TAILS = {"after": "predictions", "of_ids": "outcomes"}


@pytest.fixture
def carry_out(database):
    """Carries out a statement of the release before."""

    def carried_out(concern, statement, /, **values):
        with database.begin(DURABLE) as connection:
            result = connection.execute(text(in_dialect(before(concern)[statement], connection.dialect.name)), values)
            return [tuple(row) for row in result] if result.returns_rows else None

    return carried_out


@pytest.mark.parametrize(("concern", "name"), STATEMENTS)
def test_its_statements_are_understood(database, concern, name):
    with database.begin(DURABLE) as connection:
        kind = connection.dialect.name
        statement = in_dialect(before(concern)[name], kind)
        if name in TAILS:
            statement = f"{before(concern)[TAILS[name]]} {statement}"
        if name == "append":
            statement += f" ({', '.join(['NULL'] * 14)})"
        if (name, kind) != ("append_arrays", "sqlite"):
            values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement))
            connection.execute(text(f"EXPLAIN {statement}"), values)


def test_the_rows_that_it_logs_are_read(database):
    row = astuple(logged(1))[:14]
    marks = ", ".join(f":v{number}" for number in range(14))
    with database.begin(DURABLE) as connection:
        values = {f"v{number}": value for number, value in enumerate(row)}
        connection.execute(text(f"{before('predictions')['append']} ({marks})"), values)
    [found] = EventLog(database).page(Cursor(), 10).predictions
    assert (found.prediction_id, found.own_key, found.failed) == (row[0], None, None)


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
