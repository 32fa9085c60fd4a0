"""`bakeoff export`: files and streams of a small log with versions of different columns."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from app.cli import main
from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.inference.registry import ModelRegistry
from app.services.export.follow import in_order
from app.services.export.rows import Position
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.log_rows import LogRows
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.builders import manifest
from tests.unit.store.stored_rows import id_of, logged

ROOT = Path(__file__).parents[3]
FILES = {"model.joblib": b"weights", "reference.json": b"{}"}
AREA, SEX = Feature(name="area"), Feature(name="sex", kind="categorical", categories=("f", "m"), nullable=True)
MEMBER = Feature(name="member", source_name="is member", boolean=True)
JOINED = Feature(name="joined", kind="categorical", open_categories=True, dates_like="2026-01-31")
CONTRACTS = {"v1": (AREA, SEX), "v2": (SEX, AREA, MEMBER, JOINED)}
WIDE = LoggedLayout(7, tuple(LoggedColumn(each.name, each.source_name) for each in (AREA, SEX, MEMBER, JOINED)))
BOTH = '{"v1":{"c":0,"p":[0.75,0.25]},"v2":{"c":1,"p":[0.5,0.5]}}'
FACT = ServedFact(served_at_us=1, version_ordinal=1, epoch=1, counts=True, randomised=True, user_hash=0, answer=0.0)


@pytest.fixture
def store(tmp_path, monkeypatch, store_url):
    """A log of three rows: of v1, of both versions' columns, and one that names a version no registry has."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", store_url)
    registry = ModelRegistry(tmp_path / "models", load_or_create(tmp_path / "data").registry)
    for features in CONTRACTS.values():
        contract = FeatureContract("classification", "y", features, ("no", "yes"))
        registry.publish(manifest(contract=contract), FILES)
    database = Database(store_url)
    terms = ExperimentTerms(metric="accuracy", baseline="v1")
    weights = {"v1": 0.5, "v2": 0.5}
    first = Configuration(epoch=0, experiment_id="e1", weights=weights, terms=terms, created_at_us=5)
    ConfigurationLog(database).settle(lambda _latest: first)
    PredictionLog(database).append(
        [
            logged(1, epoch=1, features='[5.1,"f"]', lacking='["v2"]', own_key="=1+1", user_hash=255),
            logged(2, epoch=1, features='[2,null,1.0,"2026-02-03"]', layout=WIDE, answers=BOTH),
            logged(3, epoch=1, version="gone", features="[1,2,3]", answers='{"gone":{"c":1}}', failed='["v1"]'),
        ]
    )
    tell(database, 2, "actual", 1)
    yield database
    database.close()


def tell(database, number, kind, value, by=None, at_us=1_700_000_000_500_000):
    FeedbackLog(database, lambda: at_us).commit([[Outcome(id_of(number), kind, value, FACT, corrected_by=by)]])


def rows_of(tmp_path, *words, form="parquet"):
    target = tmp_path / f"log.{form}"
    assert main(["export", *words, "--out", str(target), "--force"]) == 0
    if form == "parquet":
        return pq.read_table(target).to_pylist()
    return [json.loads(line) for line in target.read_text().splitlines()]


def column(rows, name):
    return [row[name] for row in rows]


def test_each_feature_has_a_column_of_its_type(store, tmp_path):
    rows = rows_of(tmp_path)
    assert column(rows, "feature.area") == [5.1, 2.0, None]
    assert column(rows, "feature.sex") == ["f", None, None]
    assert column(rows, "feature.member") == [None, True, None]
    assert [str(value) for value in column(rows, "feature.joined")] == ["None", "2026-02-03", "None"]


def test_each_version_has_its_answer_its_probabilities_and_why_there_is_none(store, tmp_path):
    rows = rows_of(tmp_path)
    assert column(rows, "answer.v1") == ["no", "no", None]
    assert column(rows, "probability.v2.yes") == [None, 0.5, None]
    assert column(rows, "status.v1") == ["answered", "answered", "failed"]
    assert column(rows, "status.v2") == ["lacks_column", "answered", None]


def test_outcomes_are_named_as_the_data_names_them(store, tmp_path):
    tell(store, 1, "reward", 0.5)
    rows = rows_of(tmp_path)
    assert column(rows, "actual") == [None, "yes", None]
    assert column(rows, "reward") == [0.5, None, None]
    assert rows[1]["actual_time"].isoformat() == "2023-11-14T22:13:20.500000+00:00"


def test_an_outcome_that_was_corrected_has_its_last_value_and_both_times(store, tmp_path):
    tell(store, 1, "reward", 0.5)
    for value in (0.25, 1.0):
        tell(store, 1, "reward", value, by="ann", at_us=1_700_000_001_000_000)
    tell(store, 2, "actual", 0, by="ann", at_us=1_700_000_002_000_000)
    rows = rows_of(tmp_path)
    assert column(rows, "actual") == [None, "no", None]
    assert column(rows, "reward") == [1.0, None, None]
    assert [str(rows[1][name])[11:21] for name in ("actual_time", "actual_corrected_time")] == [
        "22:13:20.5",
        "22:13:22+0",
    ]
    assert column(rows, "reward_corrected_time")[1:] == [None, None]
    assert pq.read_schema(tmp_path / "log.parquet").metadata[b"bakeoff.after"] == b"3-2-3"


def test_a_stream_has_a_correction_where_it_came(store):
    tell(store, 2, "actual", 0, by="ann")
    tell(store, 3, "actual", 1)
    rows, outcomes = LogRows(store).news(Position(2), 10)
    assert [(row.seq, row.actual) for row in rows] == [(3, None)]
    lines = in_order(rows, outcomes, 10)
    assert [(line.seq, getattr(line, "value", None)) for line in lines] == [(3, None), (1, 1), (1, 0), (2, 1)]


def test_a_row_that_is_logged_after_the_correction_has_the_last_value(store):
    tell(store, 4, "actual", 1)
    tell(store, 4, "actual", 0, by="ann")
    PredictionLog(store).append([logged(4, epoch=1)])
    tell(store, 4, "actual", 1, by="ann")
    [row], outcomes = LogRows(store).news(Position(3, 2), 10)
    assert (row.actual, row.actual_at_us is not None, row.actual_corrected_at_us is not None) == (0, True, True)
    assert [line.seq for line in in_order([row], outcomes, 10)] == [1, 4, 2]


def test_what_fits_no_column_is_kept(store, tmp_path):
    assert column(rows_of(tmp_path), "unmatched")[:2] == [None, None]
    assert json.loads(rows_of(tmp_path)[2]["unmatched"])["features"] == [1, 2, 3]


def test_the_three_formats_say_the_same(store, tmp_path):
    parquet, lines = rows_of(tmp_path), rows_of(tmp_path, form="jsonl")
    assert column(parquet, "probability.v1.no") == column(lines, "probability.v1.no")
    assert lines[0]["time"] == "2023-11-14T22:13:20.000001Z"
    assert main(["export", "--out", str(tmp_path / "log.csv")]) == 0
    table = pyarrow.csv.read_csv(tmp_path / "log.csv").to_pydict()
    assert [*table] == [*parquet[0]]
    assert table["id"] == ["'=1+1", "", ""]
    assert table["feature.member"] == [None, True, None]


@pytest.mark.parametrize(
    ("words", "seqs"),
    [
        (("--experiment", "e1"), [1, 2, 3]),
        (("--since", "2023-11-14T22:13:20.000002"), [2, 3]),
        (("--until", "2023-11-14T23:13:20.000002+01:00"), [1]),
        (("--since", "2024-01-01"), []),
    ],
)
def test_rows_are_selected(store, tmp_path, words, seqs):
    assert column(rows_of(tmp_path, *words), "seq") == seqs


def test_a_file_says_which_schema_it_has_and_where_the_log_goes_on(store, tmp_path):
    rows_of(tmp_path)
    metadata = pq.read_schema(tmp_path / "log.parquet").metadata
    assert (metadata[b"bakeoff.schema_version"], metadata[b"bakeoff.after"]) == (b"1", b"3-1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "log.txt"], "does not tell the format"),
        ([], "say where to"),
        (["--follow", "--format", "parquet"], "cannot be a stream"),
        (["--follow", "--after", "x"], "is not the seq of a line"),
        (["--after", "3-1", "--out", "a.csv"], "--after needs --follow"),
        (["--experiment", "e9", "--out", "a.csv"], "the newest are e1"),
        (["--out", "no/such/folder.csv"], "no export was made"),
    ],
)
def test_what_cannot_be_done_is_said(store, capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_file_is_replaced_only_when_asked_and_nothing_else_is_left(store, tmp_path, capsys):
    (tmp_path / "log.csv").write_text("mine")
    assert main(["export", "--out", str(tmp_path / "log.csv")]) == 1
    assert (tmp_path / "log.csv").read_text() == "mine"
    assert main(["export", "--out", str(tmp_path / "log.csv"), "--force"]) == 0
    assert [path.name for path in tmp_path.glob("*log*")] == ["log.csv"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stream_behind_a_whole_line(store, number):
    words = [sys.executable, "-m", "app", "export", "--follow", "--after", "1-0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        first = json.loads(process.stdout.readline())
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(30) == 0
    lines = [first, *map(json.loads, rest.splitlines())]
    assert [(line["seq"], line["kind"]) for line in lines][:1] == [("2-0", "prediction")]
    assert rest.endswith("\n") or not rest
