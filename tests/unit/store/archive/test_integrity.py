"""What is noticed of an archive that is damaged, of another log, or ahead of a log that was restored."""

import contextlib
import errno
import shutil
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from app.domain.outcome import Outcome
from app.errors import ArchiveUnavailable, StoreUnavailable
from app.services.archive.manifest import Manifest
from app.services.recording import feedback
from app.services.recording.feedback import Feedback, MayBeArchived
from app.store.archive.source import ArchivedLog
from app.store.archive.writing import SpanWriter
from app.store.engine import Database
from app.store.outcomes import FeedbackLog
from tests.builders import OwnKeys, live_models, models_of
from tests.unit.store.archive.conftest import ArchivedSmallLog, projections
from tests.waiting import eventually


@pytest.fixture
def folder(small_log):
    return small_log.folder / "archive"


def manifest_in(folder):
    return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)


@pytest.fixture
def other(tmp_path):
    """Another log, with an archive of its own in the same folder."""
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'other.sqlite'}")) as database:
        log = ArchivedSmallLog(database, folder=tmp_path / "other")
        log.folder.mkdir()
        log.begin()
        log.random_traffic(80, seed=5)
        yield log


@pytest.mark.parametrize("kind", ["predictions", "outcomes"])
def test_one_changed_bit_is_noticed_wherever_it_is(small_log, folder, kind):
    small_log.random_traffic(60, late=0.3)
    small_log.archive()
    events = small_log.all_events()
    [file] = manifest_in(folder).of(kind)
    path = folder / file.name
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ArchiveUnavailable, match=f"{file.name} .* is not as it was written"):
            small_log.all_events()
    path.write_bytes(whole)
    assert small_log.all_events() == events


def test_the_archive_of_another_log_is_not_read(small_log, folder, other):
    small_log.random_traffic(60)
    small_log.archive()
    other.archive()
    shutil.rmtree(folder)
    (other.folder / "archive").rename(folder)
    with pytest.raises(ArchiveUnavailable, match="is of another log: set ARCHIVE_TO to the archive of this one"):
        small_log.all_events()
    with pytest.raises(ArchiveUnavailable, match="it is the archive of another log"):
        small_log.archive()
    with pytest.raises(ArchiveUnavailable, match="it is the archive of another log"):
        small_log.archiver().set_aside()


def test_an_archive_without_a_number_of_its_log_gets_it_with_the_next_files(small_log, folder):
    small_log.random_traffic(60)
    small_log.archive()
    number = manifest_in(folder).log
    (folder / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest_in(folder), log=None)))
    small_log.random_traffic(60, seed=1)
    small_log.archive()
    assert (number is None, manifest_in(folder).log) == (False, number)


def test_a_log_that_was_restored_goes_on_once_the_rest_of_its_archive_is_set_aside(small_log, folder, path_of_store):
    small_log.random_traffic(60, late=0.3)
    small_log.archive()
    small_log.database.close()
    backup = path_of_store.read_bytes()
    small_log.random_traffic(60, seed=1, late=0.3)
    small_log.archive()
    small_log.database.close()
    path_of_store.write_bytes(backup)

    small_log.random_traffic(80, seed=2, late=0.3)
    events = small_log.all_events()
    with pytest.raises(ArchiveUnavailable, match=r"are not those of the log.* `bakeoff archive --set-aside`"):
        small_log.archive()
    lost = small_log.archiver().set_aside()
    assert sum(file.rows for file in lost if file.kind == "predictions") == 60
    [aside] = (folder / "aside").iterdir()
    assert manifest_in(aside).files == lost
    assert all((aside / file.name).stat().st_size == file.bytes for file in lost)
    assert not any((folder / file.name).exists() for file in lost)

    assert small_log.archiver().set_aside() == ()
    assert small_log.archive().predictions == 80
    assert small_log.all_events() == events
    assert manifest_in(aside).files == lost
    small_log.process(*projections())
    assert set(small_log.rebuild(*projections()).states_equal.values()) == {True}


def test_drafts_that_a_killed_run_has_left_are_deleted(small_log):
    left = small_log.folder / ".archive-killed"
    left.mkdir()
    (left / "draft.parquet").write_bytes(b"half")
    small_log.random_traffic(30)
    small_log.archive()
    assert not [*small_log.folder.glob(".archive-*")]


def test_a_disk_without_room_for_drafts_is_named(small_log, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    small_log.random_traffic(30)
    monkeypatch.setattr(SpanWriter, "write", write)
    reason = f"drafts of files cannot be written to {small_log.folder}: No space left on device. Nothing was removed"
    with pytest.raises(ArchiveUnavailable, match=reason):
        small_log.archive()
    assert small_log.left() == 30


def outcome_of(small_log, row, value):
    return Outcome(row.prediction_id, "actual", value, small_log.signer.verify(row.prediction_id))


def archived_and_fresh(small_log):
    """A prediction that is archived, and one of two hours later that is not."""
    old = small_log.served({"v1": 0, "v2": 1})
    small_log.log(old)
    small_log.random_traffic(20)
    small_log.archive()
    small_log.now_us += 2 * 3_600_000_000
    new = small_log.served({"v1": 0, "v2": 1})
    small_log.log(new)
    return old, new


def test_only_labels_that_may_be_archived_wait_for_an_archive_that_cannot_be_read(small_log, folder, caplog):
    old, new = archived_and_fresh(small_log)
    log = FeedbackLog(small_log.database, small_log.clock)
    outcomes = [[outcome_of(small_log, row, 0)] for row in (old, new, old)]
    folder.rename(folder.with_name("away"))
    unread, receipt, again = log.commit(outcomes)
    assert "cannot be read now: send it again" in unread.message == again.message
    assert receipt.accepted == 1
    assert [record.message for record in caplog.records].count("archive_unreadable") == 1
    folder.with_name("away").rename(folder)
    small_log.now_us += 11_000_000
    assert [each.accepted + each.duplicates for each in log.commit(outcomes)] == [1, 1, 1]


def test_without_the_archive_labels_that_may_be_in_it_are_left_until_it_has_failed(small_log, folder):
    old, new = archived_and_fresh(small_log)
    log, label = FeedbackLog(small_log.database, small_log.clock), [outcome_of(small_log, old, 0)]
    left, receipt = log.commit([label, [outcome_of(small_log, new, 0)]], archive=False)
    assert isinstance(left, MayBeArchived)
    assert receipt.accepted == 1
    folder.rename(folder.with_name("away"))
    log.commit([label])
    [refused] = log.commit([label], archive=False)
    assert isinstance(refused, StoreUnavailable)
    assert not isinstance(refused, MayBeArchived)
    assert refused.retry_after_s == 10


def test_an_archive_that_never_answers_leaves_threads_to_other_labels(small_log, s3, silent_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent_server.url)
    monkeypatch.setattr(feedback, "_ARCHIVE_S", 60.0)  # however long they wait
    old, new = archived_and_fresh(small_log)
    log = FeedbackLog(small_log.database, lambda: small_log.now_us, archive=ArchivedLog("s3://logs/x"))
    service = Feedback(live_models(models_of(v1=None)), small_log.signer, log, OwnKeys(), float)

    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(service.accept, [label_of(old)]) for _ in range(20)]
        assert threads.submit(service.accept, [label_of(new)]).result(30).accepted == 1
        eventually(lambda: sum(not each.done() for each in waiting) == 1 + feedback._ARCHIVE_CALLS)
        silent_server.close()
    errors = [each.exception() for each in waiting]
    assert [type(error) for error in errors] == [StoreUnavailable] * 20
    assert {error.retry_after_s for error in errors} == {1, 10}


def label_of(row):
    return {"prediction_id": row.prediction_id, "reward": 1.0}
