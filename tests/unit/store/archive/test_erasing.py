"""Files without a person's rows: what the manifest says of them, and readers that had the old ones open."""

import errno
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app.domain.erasure import Wanted
from app.errors import ArchiveUnavailable
from app.services.archive.manifest import MANIFEST, read_manifest
from app.store.archive import erasing
from app.store.archive.erasing import ErasableArchive
from app.store.archive.places import Place, place_of
from app.store.archive.source import ArchivedLog

PERSON, WANTED = 77, Wanted(frozenset({77}))


@pytest.fixture
def place(tmp_path):
    return place_of(str(tmp_path / "archive"))


@pytest.fixture
def archived(small_log):
    """A day with three rows of the person, another with none of others."""
    small_log.random_traffic(20)
    small_log.log(*[small_log.served({"v1": 0, "v2": 1}, user=PERSON) for _ in range(3)])
    small_log.now_us += 86_400 * 1_000_000
    small_log.log(small_log.served({"v1": 0, "v2": 1}, user=PERSON))
    small_log.now_us += 86_400 * 1_000_000
    small_log.random_traffic(20, seed=1)
    small_log.archive()
    return small_log


def manifest_at(place):
    return read_manifest(place.read(MANIFEST), place.text)


def erased(place, tmp_path):
    before = manifest_at(place)
    archive = ErasableArchive(place, before, tmp_path)
    found = archive.found(WANTED)
    archive.rewrite(WANTED, found, "2026-08-01T00:00:00Z")
    return archive, before, found


def test_only_files_with_the_rows_are_written_again_and_an_empty_one_goes(archived, place, tmp_path):
    archive, before, found = erased(place, tmp_path)
    archive.delete_replaced(found)
    after = manifest_at(place)
    assert len(after.files) == len(before.files) - 1
    [again] = [file for file in after.files if file.revision]
    assert (again.rows, again.erased, again.name.endswith("-r1.parquet")) == (20, 3, True)
    assert {*place.sizes()} == {MANIFEST, *(file.name for file in after.files)}
    assert pq.read_table(tmp_path / "archive" / again.name, partitioning=None).column("user").null_count == 20


def test_who_has_read_an_old_file_reads_the_new_one(archived, place, tmp_path):
    [mark] = marks(archived)
    reader = ArchivedLog()
    before = reader.predictions(mark, 0, 100, 5)
    archive, _, found = erased(place, tmp_path)
    archive.delete_replaced(found)
    after = reader.predictions(mark, 0, 100, 100)
    assert before == after[:5]
    assert PERSON not in {row.user_hash for row in ArchivedLog().predictions(mark, 0, 100, 100)}


def test_no_reader_keeps_an_erased_row_on_the_disk(archived, place, tmp_path):
    [mark] = marks(archived)
    reader = ArchivedLog()
    rows = reader.predictions(mark, 0, 100, 100)
    reader.outcomes_of(mark, {row.prediction_id for row in rows})
    archive, _, found = erased(place, tmp_path)
    archive.delete_replaced(found)
    assert [name for name in open_files() if str(tmp_path / "archive") in name] == []


def open_files():
    """What this process has open; a file that was deleted has that behind its name."""
    links = Path("/proc/self/fd")
    if not links.exists():
        pytest.skip("the kernel does not list open files")
    return [str(link.readlink()) for link in links.iterdir() if link.is_symlink()]


def marks(log):
    mark = log.archivable.mark()
    assert mark is not None
    return [mark]


def test_a_file_that_was_not_written_as_it_should_be_changes_nothing(archived, place, tmp_path, monkeypatch):
    before, put = manifest_at(place), Place.put

    def damaged(self, name, source):
        source.write_bytes(source.read_bytes()[:-1] + b"?")
        put(self, name, source)

    monkeypatch.setattr(Place, "put", damaged)
    with pytest.raises(ArchiveUnavailable, match="still has its former files"):
        erased(place, tmp_path)
    assert manifest_at(place) == before


def test_a_disk_without_room_for_the_new_files_is_named_and_changes_nothing(archived, place, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = manifest_at(place)
    monkeypatch.setattr(erasing, "parquet_writer", full)
    with pytest.raises(ArchiveUnavailable, match=r"No space left on device\. The archive still has its former files"):
        erased(place, tmp_path)
    assert manifest_at(place) == before
    assert not [*tmp_path.glob(".archive-*")]
