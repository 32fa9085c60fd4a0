"""backup and restore: a restore gives what was backed up, overwrites nothing, and is complete or not done at all."""

import fcntl
import io
import os
import re
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cli import main
from app.domain.manifest import FileSum
from app.files import lock
from app.inference.registry import ModelRegistry
from app.store.backup import RestoreTargets, put_in_place, staging
from app.store.deployment import DeploymentKey
from app.store.engine import Database
from app.store.host_files import SharedProgress
from app.store.keys import load_or_create
from app.store.predictions import PredictionLog
from app.store.stamps import stamped_at_s
from tests.unit.store.stored_rows import logged


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with models/ and data/, for tests that only read it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_DIR", str(home / "models"))
        patch.setenv("DATA_DIR", str(home / "data"))
        assert main(["train"]) == 0
    return home


class Deployment:
    """The folders of a deployment, and the commands run on them."""

    def __init__(self, home, patch):
        self.home, self.patch = home, patch
        self.data, self.models = home / "data", home / "models"
        self.store = self.data / "bakeoff.sqlite"

    def run(self, *words):
        self.patch.setenv("MODEL_DIR", str(self.models))
        self.patch.setenv("DATA_DIR", str(self.data))
        return main(list(words))

    def log(self, first, last):
        database = Database(f"sqlite:///{self.store}")
        PredictionLog(database).append([logged(number) for number in range(first, last)])
        database.close()

    def rows(self):
        # Closed here: the last one that closes it removes the file of the write-ahead log.
        with closing(sqlite3.connect(self.store)) as connection:
            return list(connection.iterdump())


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "here")
    deployment = Deployment(tmp_path / "here", monkeypatch)
    deployment.log(0, 50)
    return deployment


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    return Deployment(tmp_path / "elsewhere", monkeypatch)


@pytest.fixture
def backup(here, tmp_path):
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    return tmp_path / "b.tar.gz"


def test_a_restore_gives_what_was_backed_up(here, backup, elsewhere):
    assert elsewhere.run("restore", str(backup)) == 0
    assert elsewhere.rows() == here.rows()
    assert load_or_create(elsewhere.data) == load_or_create(here.data)
    registry = ModelRegistry(elsewhere.models, load_or_create(here.data).registry)
    assert registry.names() == ("v1", "v2")
    assert registry.aliases() == ModelRegistry(here.models, b"").aliases()


def test_a_named_key_is_in_the_backup_and_no_backup_with_another_is_restored(here, elsewhere, tmp_path, monkeypatch):
    named = (here.data / "keys" / "deployment.key").rename(tmp_path / "secret")
    monkeypatch.setenv("DEPLOYMENT_KEY_FILE", str(named))
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert elsewhere.run("restore", str(tmp_path / "b.tar.gz")) == 0
    assert (elsewhere.data / "keys" / "deployment.key").read_bytes() == named.read_bytes()
    named.write_text("ab" * 32)
    assert elsewhere.run("restore", "--force", str(tmp_path / "b.tar.gz")) == 1
    assert ModelRegistry(elsewhere.models, load_or_create(elsewhere.data).registry).manifest("v1")


def test_a_restore_gives_the_references_too_and_moves_the_former_ones_aside(here, elsewhere, tmp_path):
    refresh = ("publish", "--refresh-reference", "v1", "--reference", "iris")
    assert here.run(*refresh) == here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert elsewhere.run("restore", str(tmp_path / "b.tar.gz")) == elsewhere.run(*refresh) == 0
    assert elsewhere.run("restore", str(tmp_path / "b.tar.gz"), "--force") == 0
    registry = ModelRegistry(elsewhere.models, load_or_create(elsewhere.data).registry)
    assert [each.manifest.number for each in registry.references("v1").valid] == [1]
    former = elsewhere.models.glob(".replaced-*/.references/*/reference.json")
    assert sorted(path.parent.name for path in former) == ["v1.1", "v1.2"]


def test_the_release_before_references_takes_their_files_for_the_registrys_own(here, tmp_path):
    """Its pattern of names, which refuses a backup with any other; the file is in place of a folder and ignored."""
    names_of_the_release_before = re.compile(
        r"store\.sqlite|keys/deployment\.key|admin\.token|models/(?:[a-z0-9_]+/)?[A-Za-z0-9_.][A-Za-z0-9_.\-]*|backup\.json"
    )
    assert here.run("publish", "--refresh-reference", "v1", "--reference", "iris") == 0
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = archive.getnames()
    assert "models/.references.v1.1.reference.json" in names
    assert all(names_of_the_release_before.fullmatch(name) for name in names)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=st.integers(0, 400))
def test_any_number_of_rows_is_restored(here, elsewhere, tmp_path, rows):
    here.log(1000, 1000 + rows)
    file = tmp_path / "b.tar.gz"
    assert here.run("backup", "--to", str(file)) == 0
    assert elsewhere.run("restore", str(file), "--force") == 0
    assert elsewhere.rows() == here.rows()


def test_a_backup_while_others_write_holds_a_prefix_of_the_log(here, elsewhere, tmp_path):
    stop = threading.Event()

    def write():
        number = 1000
        while not stop.is_set():
            here.log(number, number + 20)
            number += 20

    writer = threading.Thread(target=write)
    writer.start()
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    stop.set()
    writer.join()
    assert elsewhere.run("restore", str(tmp_path / "b.tar.gz")) == 0
    kept = [row for row in elsewhere.rows() if row.startswith('INSERT INTO "predictions"')]
    assert kept == [row for row in here.rows() if row.startswith('INSERT INTO "predictions"')][: len(kept)]


def test_others_may_not_read_a_backup(backup):
    assert backup.stat().st_mode & 0o777 == 0o600


def test_others_may_not_read_restored_files(backup, elsewhere):
    elsewhere.run("restore", str(backup))
    assert elsewhere.store.stat().st_mode & 0o077 == 0
    assert (elsewhere.data / "keys" / "deployment.key").stat().st_mode & 0o077 == 0


def test_a_folder_gets_a_file_named_by_the_time(here, tmp_path):
    (tmp_path / "backups").mkdir()
    assert here.run("backup", "--to", str(tmp_path / "backups")) == 0
    [file] = (tmp_path / "backups").iterdir()
    assert tarfile.is_tarfile(file)


def test_only_a_complete_backup_in_a_file_is_stamped(here, backup, tmp_path, capsysbinary):
    made_at_s = stamped_at_s(here.data, "backup")
    assert made_at_s is not None
    os.utime(here.data / "backup.stamp", (1, 1))
    assert here.run("backup", "--to", "-") == 0
    assert here.run("backup", "--without-log", "--to", str(tmp_path / "small.tar.gz")) == 0
    assert here.run("backup", "--to", "/proc/nothing/b.tar.gz") == 1
    assert stamped_at_s(here.data, "backup") == 1


def test_a_copy_of_the_log_that_would_fill_the_disk_is_not_begun(here, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage._replace(free=200 * 1024**2 + 1))
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 1
    said = capsys.readouterr().err
    assert f"210 MB are free at {tmp_path}, and a copy of the log needs 210 MB there" in said
    assert "free some space" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]
    assert here.run("backup", "--without-log", "--to", str(tmp_path / "b.tar.gz")) == 0


def test_a_backup_without_the_log_has_the_key_and_the_models(here, elsewhere, tmp_path, capsys):
    small = tmp_path / "small.tar.gz"
    assert here.run("backup", "--without-log", "--to", str(small)) == 0
    assert "no log, as asked" in capsys.readouterr().out
    assert elsewhere.run("restore", str(small)) == 0
    assert load_or_create(elsewhere.data) == load_or_create(here.data)
    assert ModelRegistry(elsewhere.models, load_or_create(here.data).registry).names() == ("v1", "v2")
    assert not elsewhere.store.exists()


@pytest.fixture
def archive(tmp_path):
    """A folder of archived rows; a backup looks at its manifest only."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "manifest.json").write_text('{"files": ["2026-11-27.parquet"]}\n')
    (tmp_path / "archive" / "2026-11-27.parquet").write_bytes(os.urandom(1000))
    return tmp_path / "archive"


def gone(archive):
    shutil.rmtree(archive)


def grown(archive):
    (archive / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda _: None, "with the manifest that it had"), (gone, "copy it there"), (grown, "changed since the backup")],
    ids=["as it was", "missing", "changed"],
)
def test_a_restore_says_what_became_of_the_archive(here, elsewhere, archive, tmp_path, capsys, change, said):
    assert here.run("backup", "--archive", str(archive), "--to", str(tmp_path / "b.tar.gz")) == 0
    with tarfile.open(tmp_path / "b.tar.gz") as backup:
        assert not [name for name in backup.getnames() if "parquet" in name]
        assert b"2026-11-27.parquet" in backup.extractfile("backup.json").read()
    change(archive)
    assert elsewhere.run("restore", str(tmp_path / "b.tar.gz")) == 0
    assert said in capsys.readouterr().out


def test_the_archive_of_the_settings_is_named_once_there_is_one(here, archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARCHIVE_TO", str(tmp_path / "nothing yet"))
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert "it has the manifest, not the files" not in capsys.readouterr().out
    monkeypatch.setenv("ARCHIVE_TO", str(archive))
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert "it has the manifest, not the files" in capsys.readouterr().out


def test_a_folder_that_is_no_archive_is_refused(here, tmp_path, capsys):
    assert here.run("backup", "--archive", str(tmp_path), "--to", str(tmp_path / "b.tar.gz")) == 1
    assert "manifest.json: No such file" in capsys.readouterr().err
    assert not (tmp_path / "b.tar.gz").exists()


def test_the_release_before_reads_a_backup_that_names_an_archive(here, archive, tmp_path):
    class ContentsOfTheReleaseBefore(msgspec.Struct, frozen=True, kw_only=True):
        format: int
        created_at: str
        release: str
        files: dict[str, FileSum]

    assert here.run("backup", "--archive", str(archive), "--to", str(tmp_path / "b.tar.gz")) == 0
    with tarfile.open(tmp_path / "b.tar.gz") as backup:
        text = backup.extractfile("backup.json").read()
    assert msgspec.json.decode(text, type=ContentsOfTheReleaseBefore).format == 1


def test_a_key_that_is_not_that_of_the_log_is_told(here, tmp_path, capsys):
    with closing(Database(f"sqlite:///{here.store}")) as database:
        own, other = load_or_create(here.data).fingerprint, "f" * 32
        for fingerprint, warned in ((own, False), (other, True)):
            DeploymentKey(database, fingerprint).accept()
            assert here.run("backup", "--to", str(tmp_path / f"{fingerprint}.tar.gz")) == 0
            assert ("not the key that belongs to it" in capsys.readouterr().err) is warned
    (here.data / "keys" / "deployment.key").write_text("cut")
    assert here.run("backup", "--to", str(tmp_path / "last.tar.gz")) == 0
    assert "is not a key file" in capsys.readouterr().err


def test_without_a_key_there_is_nothing_to_back_up(elsewhere, tmp_path, capsys):
    assert elsewhere.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 1
    assert "is DATA_DIR right?" in capsys.readouterr().err
    assert not (tmp_path / "b.tar.gz").exists()


def test_a_damaged_store_is_not_backed_up(here, tmp_path, capsys):
    with here.store.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 1
    assert "bakeoff.sqlite" in capsys.readouterr().err
    assert list(tmp_path.glob("*b.tar.gz*")) == []


def test_a_refused_version_is_backed_up_with_a_warning(here, tmp_path, capsys):
    file = next(path for path in (here.models / "v2").iterdir() if path.name.startswith("model."))
    file.chmod(0o644)
    file.write_bytes(b"torn")
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    said = capsys.readouterr()
    assert "it has versions v1, v2 and" in said.out
    assert "warning: it has v2 as that is here, which is refused: " in said.err
    assert "has 4 bytes" in said.err
    assert "v1" not in said.err
    assert here.run("retire", "v2") == 0
    capsys.readouterr()
    assert here.run("backup", "--to", str(tmp_path / "b.tar.gz")) == 0
    assert "v2 as that is here" not in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(here, capsys):
    assert here.run("backup", "--to", "/proc/nothing/b.tar.gz") == 1
    assert "/proc/nothing" in capsys.readouterr().err


def test_nothing_is_overwritten_without_force(here, backup, capsys):
    before = here.rows()
    here.log(60, 70)
    now = here.rows()
    assert here.run("restore", str(backup)) == 1
    assert "--force" in capsys.readouterr().err
    assert here.rows() == now != before


def test_with_force_the_former_data_are_kept(here, backup):
    before = here.rows()
    here.log(60, 70)
    now = here.rows()
    assert here.run("restore", str(backup), "--force") == 0
    assert here.rows() == before
    [aside] = here.data.glob(".replaced-*")
    with closing(sqlite3.connect(aside / "bakeoff.sqlite")) as connection:
        assert list(connection.iterdump()) == now


def test_ordinals_of_versions_published_since_are_not_reused(here, backup):
    (here.models / ".last_ordinal").write_text("7\n")
    assert here.run("restore", str(backup), "--force") == 0
    assert (here.models / ".last_ordinal").read_text() == "7\n"


def test_an_ordinal_that_cannot_be_kept_is_not_called_no_change(here, backup, monkeypatch, capsys):
    (here.models / ".last_ordinal").write_text("7\n")

    def no_room(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.cli.restore.keep_last_ordinal", no_room)
    assert here.run("restore", str(backup), "--force") == 1
    shown = capsys.readouterr().err
    assert "the backup is restored" in shown
    assert "write 7 into it" in shown
    assert "nothing was changed" not in shown


def test_it_refuses_while_a_monitor_runs(backup, elsewhere, capsys):
    elsewhere.data.mkdir(parents=True)
    with lock(elsewhere.data / "monitor.lock"):
        assert elsewhere.run("restore", str(backup)) == 1
    assert "a monitor runs" in capsys.readouterr().err


def test_it_refuses_while_an_api_runs(backup, elsewhere, capsys):
    elsewhere.data.mkdir(parents=True)
    progress = SharedProgress(elsewhere.data / "progress")
    progress.open()
    assert elsewhere.run("restore", str(backup)) == 1
    assert "an API runs" in capsys.readouterr().err
    progress.close()
    assert elsewhere.run("restore", str(backup)) == 0


def test_files_of_a_dead_api_do_not_prevent_a_restore(backup, elsewhere):
    (elsewhere.data / "progress").mkdir(parents=True)
    (elsewhere.data / "progress" / "1-dead.progress").write_bytes(bytes(16))
    assert elsewhere.run("restore", str(backup)) == 0


def rewritten(backup, change):
    """The backup with its entries as `change` gives them: (name, bytes) pairs in, pairs out."""
    with tarfile.open(backup) as archive:
        entries = [(entry.name, archive.extractfile(entry).read()) for entry in archive]
    with tarfile.open(backup, "w:gz") as archive:
        for name, data in change(entries):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


FOREIGN = {
    "a changed byte": lambda entries: [(n, d[:-1] + b"?" if n.endswith("joblib") else d) for n, d in entries],
    "a missing file": lambda entries: [(n, d) for n, d in entries if not n.endswith("aliases.json")],
    "one file more": lambda entries: [("models/v9/model.joblib", b""), *entries],
    "a way out": lambda entries: [("models/../../evil", b""), *entries],
    "an absolute path": lambda entries: [("/tmp/evil", b""), *entries],
    "no list": lambda entries: entries[:-1],
    "another format": lambda entries: [*entries[:-1], (entries[-1][0], entries[-1][1].replace(b'": 1,', b'": 9,', 1))],
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_changed_backup_is_refused_and_nothing_is_restored(backup, elsewhere, change, capsys):
    rewritten(backup, change)
    assert elsewhere.run("restore", str(backup)) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert [path for path in elsewhere.home.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.9999])
def test_a_backup_that_was_cut_short_is_refused(backup, elsewhere, share, capsys):
    os.truncate(backup, int(backup.stat().st_size * share))
    assert elsewhere.run("restore", str(backup)) == 1
    assert f"{backup}: it is not a backup, or was cut short" in capsys.readouterr().err
    assert not elsewhere.store.exists()


def test_a_move_that_fails_undoes_the_others(here, tmp_path):
    homes = RestoreTargets(here.data, here.store, here.models)
    before = here.rows()
    with staging(homes), pytest.raises(FileNotFoundError, match="sqlite"):
        put_in_place(homes, ["store.sqlite"], "now")  # never staged
    assert here.rows() == before
    assert (here.models / "v1" / "manifest.json").exists()


def test_a_lock_of_another_folder_does_not_prevent_a_restore(backup, elsewhere, tmp_path):
    with (tmp_path / "monitor.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert elsewhere.run("restore", str(backup)) == 0
