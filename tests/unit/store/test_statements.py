"""Every named statement is understood by every kind of database."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from app.store import statements as module
from app.store.kinds import DURABLE, READING
from app.store.statements import statements

FOLDER = Path(module.__file__).parent / "sql"
CONCERNS = sorted(path.stem for path in FOLDER.glob("*.sql"))
FRAGMENT = re.compile(r"(WHERE|ORDER|GROUP)\b|.*\bVALUES\Z", re.DOTALL)
OF_ONE_KIND = {
    ("predictions", "append_arrays"): "postgresql",
    ("feedback", "append_arrays"): "postgresql",
    ("logged", "append_packed_arrays"): "postgresql",
    ("monitor", "put_unit_arrays"): "postgresql",
    ("disagreements", "put_arrays"): "postgresql",
    ("disagreements", "label_arrays"): "postgresql",
    ("logged", "append_block"): "sqlite",
    ("logged", "reserve"): "postgresql",
}
# They are nothing without their tails.
HALVES = {("logged", "count_old"), ("logged", "count_packed")}
NAMED = [(concern, name) for concern in CONCERNS for name in statements(concern)]


def kind_of(database):
    """The kind of a database as `statements` names it."""
    with database.begin(READING) as connection:
        return connection.dialect.name


def understood(database, statement, tail=""):
    """Let the database plan it, with unknown values: what it cannot read it refuses."""
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement + tail))
    with database.begin(DURABLE) as connection:
        connection.execute(text(f"EXPLAIN {statement} {tail}"), values)


@pytest.mark.parametrize(("concern", "name"), NAMED)
def test_a_statement_is_understood(empty_store, concern, name):
    kind = kind_of(empty_store)
    statement = statements(concern, kind)[name]
    if (
        FRAGMENT.match(statement)
        or (concern, name) in HALVES
        or statement.startswith("CREATE")
        or OF_ONE_KIND.get((concern, name), kind) != kind
    ):
        return
    understood(empty_store, statement)


TAILS = [
    ("monitor", "outcomes", "after"),
    ("monitor", "outcomes", "of_ids"),
    ("monitor", "outcomes", "between_ids"),
    ("monitor", "corrections", "corrections_after"),
    ("logged", "old", "after"),
    ("logged", "packed", "after"),
    ("logged", "old", "old_of_ids"),
    ("logged", "packed", "packed_of_ids"),
    ("logged", "old", "of_own_keys"),
    ("logged", "packed", "of_own_keys"),
    ("logged", "count_old", "grouped_old"),
    ("logged", "count_packed", "grouped_packed"),
    ("experiments", "experiments", "newest"),
    ("experiments", "experiments", "of_id"),
]


@pytest.mark.parametrize(("concern", "name", "tail"), TAILS)
def test_a_statement_is_understood_with_its_tail(empty_store, concern, name, tail):
    named = statements(concern, kind_of(empty_store))
    understood(empty_store, named[name], named[tail])


def test_every_tail_is_one_of_those():
    tails = {
        (concern, name) for concern, name in NAMED if re.match(r"(WHERE|ORDER|GROUP)\b", statements(concern)[name])
    }
    assert tails == {(concern, tail) for concern, _, tail in TAILS}
