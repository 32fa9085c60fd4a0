"""Archiving a small log: what is read afterwards, and what a run leaves when it is interrupted."""

import contextlib

import pytest

from app.domain.outcome import Outcome
from app.errors import ArchiveUnavailable, Contradiction
from app.services.export.rows import Position, Selection, position_of
from app.store.archive.places import Place, place_of
from app.store.engine import Database
from app.store.log_rows import LogRows
from app.store.outcomes import FeedbackLog
from tests.unit.store.archive.conftest import ArchivedSmallLog, projections


def test_all_events_are_the_same_from_archive_and_log_together(small_log):
    small_log.random_traffic(300, late=0.3)
    middle_us = small_log.now_us
    small_log.random_traffic(100, seed=1)
    before = small_log.all_events()
    done = small_log.archive(middle_us)
    assert (done.predictions, done.limited_by) == (300, None)
    assert small_log.left() == 100
    assert small_log.all_events() == small_log.all_events(limit=7) == before


def test_a_log_is_archived_in_steps(small_log, monkeypatch):
    from app.store.archive import archiver

    small_log.random_traffic(100, late=0.3)
    young_us = small_log.now_us
    small_log.random_traffic(20, seed=1)
    before = small_log.all_events()
    monkeypatch.setattr(archiver, "_SEQS_PER_STEP", 30)
    small_log.process(*projections())
    planned = small_log.archiver().plan(young_us)
    done = small_log.archive(young_us)
    assert (done.predictions, done.outcomes) == (100, planned.span.outcomes[1])
    assert (done.files, done.limited_by, planned.limited_by) == (8, None, None)
    assert small_log.all_events() == before


def test_a_rebuild_gives_the_same_digits(small_log):
    small_log.random_traffic(200, kinds=("actual", "reward"), units=20)
    small_log.archive()
    small_log.random_traffic(50, seed=1)
    small_log.process(*projections())
    rebuilt = small_log.rebuild(*projections())
    assert rebuilt.rows > 250
    assert set(rebuilt.states_equal.values()) == {True}


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["write", "put", "compare", "manifest", "mark", "remove"])
def test_a_run_that_was_killed_anywhere_loses_and_doubles_nothing(small_log, at, monkeypatch):
    small_log.random_traffic(200, late=0.3)
    before = small_log.all_events()
    kill(monkeypatch, at)
    with pytest.raises(Killed):
        small_log.archive()
    monkeypatch.undo()
    assert small_log.all_events() == before
    small_log.archive()
    assert small_log.all_events() == before
    assert small_log.left() == 1


def kill(monkeypatch, at):
    """Let the next run end at this step."""
    from app.store.archive import archiver, log, places, writing

    def die(*_args, **_options):
        raise Killed

    put = places.Place.put

    def put_all_but(part):
        return lambda self, name, source: die() if part in name else put(self, name, source)

    write = log.ArchivableLog._write
    writes = iter(range(9))
    steps = {
        "write": (writing.SpanWriter, "_outcomes", die),
        "put": (places.Place, "put", put_all_but("outcomes/")),
        "compare": (archiver.Archiver, "_compare", die),
        "manifest": (places.Place, "put", put_all_but("manifest")),
        "mark": (log.ArchivableLog, "put_mark", die),
        "remove": (
            log.ArchivableLog,
            "_write",
            lambda self, work: write(self, work) if next(writes) < 1 else die(),
        ),
    }
    monkeypatch.setattr(*steps[at])


def test_a_late_label_counts_unpaired_and_once(small_log):
    small_log.random_traffic(100)
    row = small_log.served({"v1": 0, "v2": 1})
    small_log.log(row)
    small_log.random_traffic(20, seed=1)
    small_log.archive()
    before = small_log.report()
    small_log.give(row, 0)
    small_log.give(row, 0)
    small_log.process(*projections())
    after = small_log.report()
    assert [each.n for each in after.comparisons] == [each.n for each in before.comparisons]
    assert after.variants[0].labelled == before.variants[0].labelled + 1
    assert set(small_log.rebuild(*projections()).states_equal.values()) == {True}


def test_a_label_that_is_archived_is_known(small_log):
    row = small_log.served({"v1": 0, "v2": 1})
    small_log.log(row)
    small_log.give(row, 0)
    small_log.random_traffic(20)
    small_log.archive()
    assert sent(small_log, row, 0).duplicates == 1
    assert "recorded as 0" in sent(small_log, row, 1).message
    assert sent(small_log, row, 1, by="ada").corrected == 1
    assert sent(small_log, row, 1).duplicates == 1
    assert small_log.rebuild(*projections()).corrections == 1


def test_an_archived_outcome_that_is_corrected_moves_the_live_evidence(small_log):
    row = small_log.served({"v1": 0, "v2": 1})
    small_log.log(row)
    small_log.give(row, 0)
    small_log.random_traffic(20)
    small_log.archive()
    sent(small_log, row, 1, by="ada")
    small_log.process(*projections())
    assert small_log.report().corrections == 1


def test_on_s3_a_rebuild_is_the_same_and_late_labels_are_known(small_log, s3, tmp_path):
    row = small_log.served({"v1": 0, "v2": 1})
    small_log.log(row)
    small_log.give(row, 0)
    small_log.random_traffic(100, late=0.3)
    before = small_log.all_events()
    assert small_log.archive(place=place_of(f"s3://logs/{tmp_path.name}")).files == 2
    assert small_log.all_events() == before
    assert sent(small_log, row, 0).duplicates == 1
    assert "recorded as 0" in sent(small_log, row, 1).message
    small_log.random_traffic(20, seed=1)
    small_log.process(*projections())
    assert set(small_log.rebuild(*projections()).states_equal.values()) == {True}
    assert small_log.archive(place=place_of(f"s3://logs/{tmp_path.name}")).files == 2


def sent(small_log, row, value, by=None):
    outcome = Outcome(row.prediction_id, "actual", value, small_log.signer.verify(row.prediction_id), corrected_by=by)
    return FeedbackLog(small_log.database, small_log.clock).commit([[outcome]])[0]


def test_an_archive_that_is_gone_or_another_one_is_refused(small_log, tmp_path):
    small_log.random_traffic(50)
    small_log.archive()
    (tmp_path / "archive" / "manifest.json").rename(tmp_path / "moved")
    with pytest.raises(ArchiveUnavailable, match="set ARCHIVE_TO to where these files are now"):
        small_log.all_events()
    with pytest.raises(ArchiveUnavailable, match="set ARCHIVE_TO"):
        small_log.archive()


def test_rows_that_are_not_processed_or_not_old_enough_stay(small_log):
    small_log.random_traffic(50)
    assert small_log.archiver().run(small_log.now_us).predictions == 0
    small_log.process(*projections()[:2])
    done = small_log.archiver().run(small_log.now_us)
    assert (done.predictions, done.limited_by) == (0, "breakdown has processed predictions up to 0, outcomes up to 0")
    assert small_log.archive(before_us=small_log.now_us - 10**9).predictions == 0


def test_rows_whose_reward_window_is_open_stay(store_url, small_log):
    small_log.begin("two", metric="reward", reward_window_s=60.0)
    small_log.random_traffic(30, kinds=("reward",))
    done = small_log.archive()
    assert done.predictions < 29
    assert "waits for its reward" in done.limited_by


def test_a_changed_file_is_noticed_before_anything_is_removed(small_log, monkeypatch):
    small_log.random_traffic(50)
    put = Place.put

    def damaged(self, name, source):
        if name.startswith("predictions"):
            source.write_bytes(source.read_bytes()[:-1] + b"?")
        put(self, name, source)

    monkeypatch.setattr(Place, "put", damaged)
    with pytest.raises(ArchiveUnavailable, match="is not as it was written"):
        small_log.archive()
    assert small_log.left() == 50


def test_a_file_that_changes_behind_its_comparison_is_noticed_before_anything_is_removed(small_log):
    small_log.random_traffic(50)

    def damage(what, _seqs):
        if what == "comparing":
            [path] = (small_log.folder / "archive" / "predictions").rglob("*.parquet")
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(ArchiveUnavailable, match="is not as it was written"):
        small_log.archive(progress=damage)
    assert small_log.left() == 50


def test_an_archived_row_that_is_logged_once_more_does_not_stop_the_monitor(small_log):
    rows = [small_log.served({"v1": 0, "v2": 1}) for _ in range(60)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows[:30]])
    small_log.archive()
    small_log.log(rows[3])  # a late retry of the recorder: its key is in the log no more
    small_log.log(*[small_log.served({"v1": 0, "v2": 1}) for _ in range(5)])
    small_log.forget()
    for projection in projections():
        small_log.process(projection, batch_rows=2000)
    assert len(small_log.all_events(1000)) > 90


def test_the_file_of_a_store_gets_smaller(small_log, path_of_store):
    small_log.log(*[small_log.served({"v1": 0, "v2": 0}, features=f'["{"x" * 2000}"]') for _ in range(600)])
    small_log.database.close()
    before = path_of_store.stat().st_size
    small_log.archive()
    small_log.database.close()
    assert path_of_store.stat().st_size < before / 2


def test_weeks_of_a_server_that_are_archived_are_dropped(small_log, rows):
    if small_log.database.kind.file is not None:
        pytest.skip("a table for each week is PostgreSQL's")
    for _ in range(3):
        small_log.random_traffic(20)
        small_log.now_us += 8 * 86_400 * 1_000_000
    before = small_log.all_events()
    small_log.archive()
    assert len(rows("SELECT inhrelid FROM pg_inherits WHERE inhparent = CAST('log' AS regclass)")) == 1
    assert small_log.all_events() == before


def test_the_archive_of_another_log_is_refused_and_left_alone(small_log, tmp_path):
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'other.sqlite'}")) as database:
        other = ArchivedSmallLog(database, folder=tmp_path)
        other.begin()
        other.random_traffic(50, seed=5)
        other.archive()
    small_log.random_traffic(50)
    before = (tmp_path / "archive" / "manifest.json").read_bytes()
    with pytest.raises(ArchiveUnavailable, match=r"predictions 1 to 49 are not .* archive --set-aside"):
        small_log.archive()
    assert (small_log.left(), (tmp_path / "archive" / "manifest.json").read_bytes()) == (50, before)


def test_an_export_whose_rows_go_to_the_archive_meanwhile_ends(small_log):
    small_log.random_traffic(100)
    log = LogRows(small_log.database)
    first, end = log.ends()
    assert len(log.rows(first - 1, 50, end, Selection())) == 50
    small_log.archive()
    for read in (log.counts, lambda after, until, selection: log.rows(after, until, end, selection)):
        with pytest.raises(Contradiction, match=r"predictions up to seq 99 were moved to the archive .* export again"):
            read(50, 100, Selection())
    assert len(log.rows(99, 100, end, Selection())) == 1


def test_a_stream_that_is_behind_the_archive_ends_and_one_that_begins_starts_behind_it(small_log):
    small_log.random_traffic(100, late=0.3)
    small_log.archive()
    small_log.random_traffic(20, seed=1)
    log = LogRows(small_log.database)
    rows, outcomes = log.news(log.begin(), 1000)
    with pytest.raises(Contradiction, match="lines behind 98-2 were moved to the archive") as behind:
        log.news(Position(98, 2), 1000)
    assert log.news(position_of(behind.value.message.split()[-1]), 1000) == (rows, outcomes)
    assert [row.seq for row in rows] == [*range(100, 121)]


def test_a_stream_that_has_read_the_predictions_is_told_of_outcomes_that_went(small_log):
    small_log.random_traffic(100)
    small_log.archive()
    with pytest.raises(Contradiction, match="lines behind 100-3 "):
        LogRows(small_log.database).news(Position(100, 3), 1000)
