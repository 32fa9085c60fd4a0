"""What archived files hold: the columns of an export, and the rows of the log to the last character."""

import json
import operator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import ArchiveUnavailable
from app.services.export.batches import batch_of
from app.services.export.columns import FeatureColumns
from app.services.export.rows import Position, RowForm, Selection
from app.services.export.schema import schema_of
from app.store.archive.places import place_of, sum_of
from app.store.archive.reader import ArchiveReader
from app.store.kinds import READING
from app.store.log_rows import LogRows
from tests.unit.store.archive.conftest import CONTRACTS

REQUESTS = ("0" * 14 + "ab" * 9, "8f14e45f-ceea-467f-a9ff-1234567890ab", "order 7")


def varied(small_log):
    """Rows of several forms: of numbers and texts, of each kind of request, with a user, a failure, an odd answer."""
    for number in range(60):
        answers = {"v1": {"c": number % 2, "p": [0.25, 0.75]}, "v2": {"c": 0, "p": [0.1, 0.9]}}
        changes = {
            "request_id": REQUESTS[number % 3],
            "features": ["[1.5]", "[null]", '["red"]', "[0.1,2.0]"][number % 4],
            "own_key": f"case {number}" if number % 5 == 0 else None,
            "failed": '["v2"]' if number % 7 == 0 else None,
        }
        if number % 7 == 0:
            del answers["v2"]
        if number % 11 == 0:
            answers["v9"] = {"v": 0.5}
        row = small_log.served(answers, user=number % 2 and 77, **changes)
        small_log.log(row)
        if number % 3 == 0:
            small_log.give(row, number % 2)


def exported(small_log, until):
    """The rows as an export has them."""
    log = LogRows(small_log.database)
    rows = log.rows(0, until, log.ends()[1], Selection())
    forms = dict.fromkeys(RowForm(row.version, row.layout) for row in rows)
    return batch_of(rows, schema_of(FeatureColumns(CONTRACTS), CONTRACTS, forms, {"v1", "v2"})).to_pylist()


def files(tmp_path, kind="predictions"):
    return sorted(Path(tmp_path, "archive", kind).rglob("*.parquet"))


@pytest.mark.parametrize("form", ["packed", "old"])
def test_a_file_has_the_columns_of_an_export_and_the_rows_come_back(small_log, tmp_path, form):
    if form == "old":
        change(small_log, "DELETE FROM log_marks WHERE name = 'packed'")
    varied(small_log)
    before, events = exported(small_log, 59), small_log.all_events()
    small_log.archive()
    rows = [row for path in files(tmp_path) for row in pq.read_table(path).to_pylist()]
    assert [{name: row[name] for name in before[0]} for row in rows] == before
    assert small_log.all_events() == small_log.all_events(limit=7) == events
    assert {row["log.form"] is None for row in rows} == {form == "old"}


def change(small_log, statement):
    from app.store.kinds import DURABLE

    with small_log.database.begin(DURABLE) as connection:
        connection.exec_driver_sql(statement)


def test_files_of_the_first_schema_are_read(small_log, tmp_path):
    change(small_log, "DELETE FROM log_marks WHERE name = 'packed'")
    varied(small_log)
    events = small_log.all_events()
    small_log.archive()
    for path in files(tmp_path):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["log.form", "log.packed"]), path)
    said = tmp_path / "archive" / "manifest.json"
    manifest = json.loads(said.read_bytes())
    for file in manifest["files"]:
        file["bytes"], file["sha256"] = sum_of((tmp_path / "archive" / file["name"]).open("rb"))
        file["schema"] = 1
    said.write_text(json.dumps(manifest))
    assert small_log.all_events() == events


def test_a_later_schema_is_refused(tmp_path):
    file = {
        **{"name": "predictions/x.parquet", "kind": "predictions", "day": "2026-11-27", "rows": 1},
        **{"first_seq": 1, "last_seq": 1, "first_us": 1, "last_us": 1, "first_id": "a", "last_id": "a"},
        **{"bytes": 1, "sha256": "0", "schema": 3},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "files": [file]}))
    with pytest.raises(ArchiveUnavailable, match="has schema 3, and this release reads up to 2"):
        ArchiveReader(place_of(str(tmp_path))).manifest()


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        ("log.packed", lambda tail: b"\7" + tail[1:]),
        ("request_id", lambda request: "x" + request[1:]),
        ("request_id", str.upper),
        ("id", lambda _none: "other"),
        ("seq", lambda seq: seq + 1000),
        ("time", lambda time: time + timedelta(microseconds=1)),
        *[(name, lambda _value: None) for name in ("time", "prediction_id", "request_id", "log.packed")],
        ("prediction_id", lambda id_: id_[:-1] + ("A" if id_[-1] == "B" else "B")),
        ("prediction_id", lambda id_: id_[:-1]),
        ("log.form", lambda form: form.replace("weighted", "fallback")),
        ("log.follows_outcome", operator.not_),
    ],
)
@pytest.mark.parametrize("request_id", ["0" * 14 + "ab" * 9, "8f14e45f-ceea-467f-a9ff-1234567890ab", "order 7"])
def test_a_row_that_is_another_one_in_the_file_is_noticed(small_log, monkeypatch, column, changed, request_id):
    small_log.log(*[small_log.served({"v1": 0, "v2": 1}, request_id=request_id) for _ in range(50)])
    alter(monkeypatch, "predictions", column, changed)
    with pytest.raises(ArchiveUnavailable, match=r"predictions 1 to 49 are not those of the log|a packed row in"):
        small_log.archive()
    assert small_log.left() == 50


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        *[(name, lambda number: number + 1) for name in ("seq", "epoch", "answer")],
        *[(name, lambda number: number + 1) for name in ("log.version_ordinal", "log.predictions_seen")],
        *[(name, operator.not_) for name in ("counts", "randomised")],
        ("prediction_id", lambda id_: "A" + id_[1:]),
        ("kind", lambda _kind: "reward"),
        ("time", lambda time: time + timedelta(microseconds=1)),
        ("user", lambda _user: f"{78:012x}"),
        ("user", lambda _user: None),
        ("log.outcome", lambda _outcome: "1"),
    ],
)
def test_an_outcome_that_is_another_one_in_the_file_is_noticed(small_log, monkeypatch, column, changed):
    rows = [small_log.served({"v1": 0, "v2": 1}, user=77) for _ in range(50)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    alter(monkeypatch, "outcomes", column, changed)
    with pytest.raises(ArchiveUnavailable, match="outcomes 1 to 49 are not those of the log"):
        small_log.archive()
    assert small_log.left() == 50


def alter(monkeypatch, kind, column, changed):
    """Change a value of the eighth row of a kind on its way to the file."""
    from app.store.archive import writing

    add = writing._DayFile.add

    def altered(self, rows):
        if self._kind == kind:
            place, values = rows.schema.get_field_index(column), rows.column(column).to_pylist()
            values[7] = changed(values[7])
            rows = rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))
        add(self, rows)

    monkeypatch.setattr(writing._DayFile, "add", altered)


def test_outcomes_are_found_among_many_of_other_predictions(small_log):
    rows = [small_log.served({"v1": 0}) for _ in range(40)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    seqs = {rows[0].prediction_id: 1, rows[39].prediction_id: 40}
    with small_log.database.begin(READING) as connection:
        known, _ = LogRows(small_log.database).known(connection, seqs, Position(40, 39))
    assert known["actual"] == {1: 0}
