"""`bakeoff erase`: what is gone afterwards, what stays, and what a killed run leaves."""

import contextlib
import io
import itertools
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from app.cli import main
from app.cli.erase import LITESTREAM_KEEPS
from app.domain.erasure import Tombstones
from app.domain.log_order import in_order
from app.domain.outcome import Outcome
from app.domain.prediction_id import user_hash
from app.errors import UnknownPrediction
from app.monitor.breakdown import BreakdownProjection
from app.monitor.disagreements import DisagreementProjection
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import Rounds, apply_page
from app.services.archive.manifest import MANIFEST, read_manifest
from app.store import kinds
from app.store.archive.erasing import ErasableArchive
from app.store.archive.log import ArchivableLog
from app.store.archive.places import Place, place_of
from app.store.engine import Database
from app.store.erasing import ErasableLog
from app.store.erasures import Erasures
from app.store.keys import load_or_create
from app.store.kinds import READING
from app.store.outcomes import FeedbackLog
from tests.unit.store.archive import conftest as archives
from tests.unit.store.archive.conftest import ArchivedSmallLog, NoReferences
from tests.waiting import eventually

PERSON, OTHER, KEY = "ada@example.org", "bob", "order-of-ada"
NAME = "Augusta Ada King"


s3, s3_server = archives.s3, archives.s3_server


class Killed(Exception):
    pass


def projections():
    return ExperimentProjection(), DisagreementProjection(), BreakdownProjection(NoReferences())


class Log(ArchivedSmallLog):
    """A log in which one person is among others."""

    def rows_of(self, user, count, **named):
        found = []
        for place in range(count):
            wrong = int(place % 3 == 0)
            row = self.served({"v1": 0, "v2": wrong}, user=user, features=f'["{NAME} {place}"]', **named)
            self.log(row)
            self.give(row, wrong)
            found.append(row)
        return found


@pytest.fixture
def data_dir(tmp_path, monkeypatch, store_url):
    (tmp_path / "data").mkdir(exist_ok=True)
    settle(tmp_path, monkeypatch, store_url)
    return tmp_path / "data"


def settle(tmp_path, monkeypatch, store_url):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", store_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.cli.erase._QUEUED_S", 0.0)


@pytest.fixture
def keys(data_dir):
    return load_or_create(data_dir)


@pytest.fixture
def log(data_dir, keys, store_url, tmp_path):
    with made(keys, store_url, tmp_path) as small:
        yield small


@contextlib.contextmanager
def made(keys, store_url, tmp_path, place=None):
    """Rows of the person, archived and not, between rows of others; all processed."""
    with contextlib.closing(Database(store_url)) as database:
        small = Log(database, folder=tmp_path)
        small.begin(unit="auto")
        user = user_hash(keys.salt, PERSON)
        small.random_traffic(30, units=5)
        small.first = small.rows_of(user, 5, own_key=KEY)
        small.random_traffic(30, units=5, seed=1)
        small.archive(place=place)
        small.random_traffic(30, units=5, seed=2)
        small.last = small.rows_of(user, 5)
        small.random_traffic(30, units=5, seed=3)
        small.process(*projections())
        small.user = user
        yield small


def erase(*words):
    return main(["erase", *words])


def everywhere(log, tmp_path):
    """All bytes in which the person may be found."""
    log.database.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "deployment.key"]
    return b"".join(path.read_bytes() for path in files) + repr(tables(log)).encode()


def tables(log):
    names = (
        "log predictions feedback corrections disagreements monitor_users monitor_units monitor_windows monitor_state"
    )
    with log.database.begin(READING) as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]
            for name in (*names.split(), "monitor_state", "decisions", "erased", "erasures")
        }


def others(events, log):
    gone = {row.prediction_id for row in (*log.first, *log.last)}
    return [event for event in events if subject(event) not in gone]


def subject(event):
    found = getattr(event, "row", None) or getattr(event, "outcome", None)
    return None if found is None else found.prediction_id


def test_nothing_of_the_person_is_left_and_all_of_the_others_is(log, tmp_path, capsys):
    expected = others(log.all_events(), log)
    assert erase("--user", PERSON, "--yes") == 0
    assert "archive: 5 predictions, 5 outcomes, 2 files" in capsys.readouterr().out
    assert log.all_events() == expected
    found = everywhere(log, tmp_path)
    traces = [
        NAME,
        KEY,
        PERSON,
        str(log.user),
        f"{log.user:012x}",
        *(row.prediction_id for row in log.first + log.last),
    ]
    assert [each for each in traces if each.encode() in found] == []


def test_a_rebuild_counts_without_the_person_and_says_so(log, capsys):
    erase("--user", PERSON, "--yes")
    before = log.report()
    rebuilt = log.rebuild(*projections())
    after = log.report()
    assert rebuilt.states_equal["experiment"] is False
    assert sum(each.requests for each in before.variants) == 130
    assert sum(each.requests for each in after.variants) == 120
    assert sum(each.rows for each in Erasures(log.database).since_rebuild()) == 20


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_what_would_go_is_said_and_stays(log, capsys, words):
    before = tables(log)
    assert erase("--user", PERSON, *words) == (0 if words else 1)
    shown = capsys.readouterr()
    assert "Would be erased:\n  log and state: 5 predictions, 5 outcomes" in shown.out
    assert ("add --yes" in shown.err) == (not words)
    assert tables(log) == before


def test_json_has_the_counts_and_the_audit_log_a_hash(log, capsys):
    assert erase("--key", KEY, "--yes", "--json", "--actor", "eve") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["archive"] == {"predictions": 5, "outcomes": 5, "files": 2}
    assert done["experiments"] == {"one": [5, 5]}
    entry = tables(log)["decisions"][-1]
    assert "eve" in entry
    assert "erase" in entry
    assert KEY not in repr(entry)


def outcome(log, row, **changes):
    return Outcome(row.prediction_id, "actual", 0, log.signer.verify(row.prediction_id), **changes)


def test_no_outcome_of_an_erased_prediction_is_accepted(log, keys, capsys):
    unlabelled = log.served({"v1": 0, "v2": 0}, user=log.user)
    log.log(unlabelled)
    erase("--user", PERSON, "--yes")
    erase("--key", "order-1", "--yes")
    feedback = FeedbackLog(log.database, log.clock, tombstones=Tombstones(keys.erased))
    other = log.served({"v1": 0, "v2": 0})
    given = [outcome(log, row) for row in (unlabelled, other)]
    refused, accepted = feedback.commit([[each] for each in given])
    assert isinstance(refused, UnknownPrediction)
    assert refused.message.endswith("no outcome of it is accepted")
    assert accepted.accepted == 1


def test_an_outcome_that_was_corrected_leaves_the_audit_log(log, tmp_path):
    row = log.last[0]
    FeedbackLog(log.database, log.clock).commit([[outcome(log, row, corrected_by="ada")]])
    assert row.prediction_id in repr(tables(log)["decisions"])
    erase("--user", PERSON, "--yes")
    assert row.prediction_id not in repr(tables(log))
    assert "1 outcome replaced; 1 of them erased" in repr(tables(log)["decisions"])
    log.process(*projections())


def test_a_request_is_erased_by_its_id(log, capsys):
    row = log.served({"v1": 0, "v2": 0}, request_id="call-of-ada")
    log.log(row)
    assert erase("--request-id", "call-of-ada", "--yes") == 0
    assert "call-of-ada" not in repr(tables(log))
    assert "1 prediction" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ErasableLog, "_batch"),
        (Place, "put"),
        (ErasableArchive, "_compare"),
        (ErasableArchive, "delete_replaced"),
        (ArchivableLog, "put_mark"),
        (Erasures, "end"),
    ],
)
def test_a_run_that_was_killed_is_continued(log, tmp_path, monkeypatch, store_url, owner, name):
    expected = others(log.all_events(), log)
    die(monkeypatch, owner, name)
    with pytest.raises(Killed):
        erase("--user", PERSON, "--key", KEY, "--yes")
    monkeypatch.undo()
    settle(tmp_path, monkeypatch, store_url)
    assert erase("--user", PERSON, "--key", KEY, "--yes") == 0
    assert log.all_events() == expected
    found = everywhere(log, tmp_path)
    assert [each for each in (NAME, KEY, f"{log.user:012x}") if each.encode() in found] == []
    [erasure] = Erasures(log.database).since_rebuild()
    assert (erasure.ended_us is not None, erasure.rows) == (True, 20)


def die(monkeypatch, owner, name, after=0):
    """Have a call fail, the one after so many that do what they should."""
    calls, whole = itertools.count(), getattr(owner, name)

    def dead(*args, **options):
        if next(calls) >= after:
            raise Killed
        return whole(*args, **options)

    monkeypatch.setattr(owner, name, dead)


@pytest.mark.parametrize(
    ("name", "after"), [("put", 0), ("put", 1), ("put", 2), ("delete", 0), ("delete", 1), ("is_same", 3)]
)
def test_on_s3_a_run_that_was_killed_half_way_doubles_and_leaves_nothing(
    data_dir, keys, store_url, tmp_path, s3, monkeypatch, name, after
):
    place = place_of(f"s3://logs/{tmp_path.name}")
    with made(keys, store_url, tmp_path, place) as log:
        expected = others(log.all_events(), log)
        with monkeypatch.context() as killed:
            die(killed, Place, name, after)
            with pytest.raises(Killed):
                erase("--user", PERSON, "--key", KEY, "--yes")
        # A server frees the lock when it has seen that its session ended.
        eventually(lambda: erase("--user", PERSON, "--key", KEY, "--yes") == 0)
        assert log.all_events() == expected
        listed = {file.name: file.bytes for file in read_manifest(place.read(MANIFEST), place.text).files}
        assert {each: size for each, size in place.sizes().items() if each != MANIFEST} == listed
        found = everywhere(log, tmp_path) + b"".join(rows_in(place, each) for each in listed)
        assert [each for each in (NAME, KEY, f"{log.user:012x}") if each.encode() in found] == []
        [erasure] = Erasures(log.database).since_rebuild()
        assert (erasure.ended_us is not None, erasure.rows) == (True, 20)


def rows_in(place, name):
    """The rows of an archived file, as text: in the file they are compressed."""
    return repr(pq.read_table(io.BytesIO(place.read(name))).to_pylist()).encode()


def test_a_step_of_the_monitor_that_read_the_rows_before_writes_nothing(log):
    more = log.rows_of(log.user, 3)
    states, projection = log.stored_states, ExperimentProjection()
    before = states.cursor(projection.name)
    page = log.events.page(before, 100)
    erase("--user", PERSON, "--yes")
    apply_page(projection, log.events, states, before, (page, in_order(page)))
    assert len(more) == 3
    assert states.cursor(projection.name) == before
    assert log.process(projection) == 0


def test_a_page_that_projections_share_is_written_by_none_of_them_after_an_erasure(log):
    log.rows_of(log.user, 3)
    states, first, second = log.stored_states, ExperimentProjection(), DisagreementProjection()
    rounds, before = Rounds(log.events, states), states.cursor(second.name)
    assert rounds.step(first) > 0
    erase("--user", PERSON, "--yes")
    assert rounds.step(second) > 0
    assert states.cursor(second.name) == before
    assert rounds.step(second) == 0


def test_it_does_not_run_beside_archiving(log, data_dir, capsys):
    with kinds.monitor_lock(data_dir, log.database.kind, kinds.ARCHIVE) as lock:
        assert lock.acquire()
        assert erase("--user", PERSON, "--yes") == 1
    assert "archived already, or erased from" in capsys.readouterr().err


def test_archiving_goes_on_after_an_erasure(log):
    erase("--user", PERSON, "--yes")
    log.random_traffic(10, seed=9)
    expected = log.all_events()
    log.archive()
    assert log.all_events() == expected


@pytest.mark.parametrize("words", [[], ["--user", ""]])
def test_whose_rows_must_be_said(log, capsys, words):
    assert erase(*words) == 1
    assert "say whose rows" in capsys.readouterr().err


def test_litestream_keeps_what_is_said():
    configuration = (Path(__file__).parents[3] / "docker" / "litestream.yml").read_text()
    assert f"retention: {LITESTREAM_KEEPS.total_seconds() / 3600:.0f}h" in configuration
