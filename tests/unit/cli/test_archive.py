"""`bakeoff archive`: what it says, and what it leaves behind when it is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from app.bootstrap.monitor import Monitor
from app.cli import main
from app.domain.archive import ArchiveMark
from app.domain.experiment import SecondaryMetric
from app.domain.log_event import Cursor
from app.domain.monitor_state import PROJECTIONS, Changes
from app.settings import Settings
from app.store.archive.marks import last_mark
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.kinds import READING
from app.store.projections import ProjectionStore
from app.store.stamps import stamped_at_s
from tests.unit.monitor.small_log import SmallLog
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_log(tmp_path, monkeypatch):
    """A log of 3 days in 2023, all processed."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}")
    log = SmallLog(database)
    log.begin()
    for _ in range(3):
        log.random_traffic(20)
        log.now_us += 86_400 * 1_000_000
    processed(log)
    # The command handles signals until its process ends, and here that goes on.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield log
    for number, handler in handlers.items():
        signal.signal(number, handler)
    database.close()


def processed(log, *names):
    """Say that the projections have processed everything."""
    end = log.events.page(Cursor(), 100_000).cursor
    states = ProjectionStore(log.database, log.clock)
    for name in names or PROJECTIONS:
        states.commit(name, Cursor(), end, Changes(states={}))


def mark(log) -> ArchiveMark | None:
    with log.database.begin(READING) as connection:
        return last_mark(connection)


def test_each_day_becomes_a_file_with_the_columns_of_an_export(small_log, tmp_path, capsys):
    assert main(["archive", "--before", "2023-11-16", "--to", "archive", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["predictions"], done["files"]) == (40, 4)
    manifest = json.loads((tmp_path / "archive" / "manifest.json").read_bytes())
    assert [file["day"] for file in manifest["files"] if file["kind"] == "predictions"] == ["2023-11-14", "2023-11-15"]
    rows = pq.read_table(tmp_path / "archive" / manifest["files"][0]["name"]).to_pylist()
    assert [row["seq"] for row in rows] == list(range(1, 21))
    assert {row["answer.v1"] for row in rows} | {row["experiment"] for row in rows} >= {"one"}
    assert stamped_at_s(tmp_path / "data", "archive")


def test_a_dry_run_changes_nothing(small_log, tmp_path, capsys):
    assert main(["archive", "--before", "2023-11-16", "--to", "archive", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("40 predictions and ")
    assert not (tmp_path / "archive").exists()
    assert mark(small_log) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "archive"], "say up to when: --before DATE, or set KEEP_LOG"),
        (["--before", "2023-11-16"], "say where to: --to DIR"),
        (["--before", "2023-11-16", "--to", "gs://bucket"], "'gs://bucket' is no place for an archive"),
    ],
)
def test_what_is_missing_is_said(small_log, capsys, words, message):
    assert main(["archive", *words]) == 1
    assert message in capsys.readouterr().err


def test_nothing_is_set_aside_where_the_log_knows_all_of_it(small_log, capsys):
    assert main(["archive", "--before", "2023-11-16", "--to", "archive"]) == 0
    capsys.readouterr()
    assert main(["archive", "--set-aside", "--to", "archive"]) == 0
    assert "nothing was moved" in capsys.readouterr().out


def test_a_second_run_does_not_start(small_log, tmp_path, capsys):
    from app.store import kinds

    with kinds.monitor_lock(tmp_path / "data", small_log.database.kind, kinds.ARCHIVE) as lock:
        assert lock.acquire()
        assert main(["archive", "--before", "2023-11-16", "--to", "archive"]) == 1
    assert "is being archived already" in capsys.readouterr().err


def test_files_that_are_missing_or_changed_are_named(small_log, tmp_path, capsys):
    assert main(["archive", "--before", "2023-11-16", "--to", "archive"]) == 0
    assert main(["archive", "--check", "--to", "archive"]) == 0
    first, second, *_ = sorted(tmp_path.glob("archive/*/*/*.parquet"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    capsys.readouterr()
    assert main(["archive", "--check", "--to", "archive"]) == 1
    said = capsys.readouterr()
    assert "4 files" in said.out
    assert "; 2 are missing or changed" in said.out
    assert f"has no file {first.relative_to(tmp_path / 'archive')}" in said.err
    assert f"{second.relative_to(tmp_path / 'archive')} in the archive" in said.err


def test_what_is_no_archive_is_not_checked(tmp_path, capsys):
    assert main(["archive", "--check", "--to", str(tmp_path)]) == 1
    assert "has no manifest.json: is it where the log is archived?" in capsys.readouterr().err


def test_a_run_that_is_killed_is_continued(small_log, tmp_path):
    before = events(small_log)
    command = [sys.executable, "-m", "app", "archive", "--before", "2023-11-17", "--to", "archive"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    eventually(lambda: any(tmp_path.glob("archive/*/*/*.parquet")) or killed.poll() is not None)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert events(small_log) == before
    assert main(command[3:]) == 0
    assert events(small_log) == before
    assert mark(small_log).predictions == 59


def test_the_projections_of_the_monitor_are_those_that_archiving_waits_for(tmp_path):
    monitor = Monitor(Settings(data_dir=tmp_path, model_dir=tmp_path))
    assert tuple(each.name for each in monitor.projections) == PROJECTIONS


def test_a_secondary_metric_that_has_not_begun_is_waited_for(small_log, capsys):
    first = small_log.events.last_configuration("one")
    wanted = msgspec.structs.replace(first, secondary=(SecondaryMetric(metric="brier"),))
    ConfigurationLog(small_log.database).settle(lambda _latest: wanted)
    assert main(["archive", "--before", "2023-11-16", "--to", "archive"]) == 0
    assert "Nothing further can go yet: brier has processed predictions up to 0" in capsys.readouterr().out


def events(log):
    page = log.events.page(Cursor(), 100_000)
    return page.predictions, page.outcomes, page.early
