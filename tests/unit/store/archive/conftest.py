"""A small log with an archive beside it."""

import contextlib
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from app.domain.log_event import Cursor
from app.domain.log_order import in_order
from app.monitor.breakdown import BreakdownProjection
from app.monitor.disagreements import DisagreementProjection
from app.monitor.experiment.projection import ExperimentProjection
from app.store.archive.archiver import Archiver
from app.store.archive.log import ArchivableLog
from app.store.archive.places import place_of
from app.store.archive.writing import SpanWriter
from app.store.engine import Database
from app.store.log_rows import LogRows
from tests.builders import two_class_contract
from tests.infra.terraform_runs import aws_stand_in
from tests.unit.monitor.small_log import SmallLog

CONTRACTS = {name: two_class_contract("a") for name in ("v1", "v2")}


class NoReferences:
    def of(self, version):
        return ()

    def features(self, version):
        return CONTRACTS[version].features


def projections():
    return ExperimentProjection(), DisagreementProjection(), BreakdownProjection(NoReferences())


@dataclass
class ArchivedSmallLog(SmallLog):
    """A small log, its projections, and its archive."""

    folder: Path = Path()

    @property
    def archivable(self):
        return ArchivableLog(self.database, self.clock, pause=lambda _s: None)

    def archiver(self, log=None, place=None, **options):
        states = self.stored_states
        return Archiver(
            log or self.archivable,
            place or place_of(str(self.folder / "archive")),
            SpanWriter(log or self.archivable, CONTRACTS, {1: "v1", 2: "v2"}),
            lambda: {each.name: states.cursor(each.name) for each in projections()},
            lambda: LogRows(self.database).ends()[1],
            self.clock,
            self.folder,
            **options,
        )

    def archive(self, before_us=None, **options):
        self.process(*projections())
        return self.archiver(**options).run(self.now_us + 1 if before_us is None else before_us)

    def all_events(self, limit=50):
        cursor, found = Cursor(), []
        while len(page := self.events.page(cursor, limit)):
            found += in_order(page)
            cursor = page.cursor
        return found

    def left(self):
        """How many predictions are still in the tables."""
        from sqlalchemy import text

        from app.store.kinds import READING

        with self.database.begin(READING) as connection:
            return sum(
                connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in ("predictions", "log")
            )


@pytest.fixture(scope="session")
def s3_server():
    """The address of a server with the bucket `logs`."""
    with aws_stand_in() as address:
        requests.put(f"{address}/logs", timeout=60).raise_for_status()
        yield address


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A server that imitates S3, with the bucket `logs`, is the one that is used."""
    known = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (known | {"AWS_ENDPOINT_URL": s3_server}).items():
        monkeypatch.setenv(name, value)


class SilentServer:
    """Accepts connections, and says nothing; until it `hangs_up`, at once."""

    def __init__(self):
        self.calls, self.hangs_up = 0, False
        self._socket, self._open = socket.create_server(("127.0.0.1", 0)), []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):  # it was closed
            while True:
                self._open.append(self._socket.accept()[0])
                self.calls += 1
                if self.hangs_up:
                    self._open.pop().close()

    def close(self):
        with contextlib.suppress(OSError):  # it is closed
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def silent_server():
    with contextlib.closing(SilentServer()) as server:
        yield server


@pytest.fixture
def small_log(store_url, tmp_path):
    with contextlib.closing(Database(store_url)) as database:
        log = ArchivedSmallLog(database, folder=tmp_path)
        log.begin()
        yield log


@pytest.fixture
def path_of_store(small_log):
    """The file of a store on SQLite."""
    file = small_log.database.kind.file
    if file is None:
        pytest.skip("a server keeps its own files")
    return file


@pytest.fixture
def database(small_log):
    return small_log.database
