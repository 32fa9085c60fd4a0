"""A PostgreSQL server of one's own: processes of Debian's package, in a temporary folder, on 127.0.0.1."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.waiting import eventually

PASSWORD = "word-of-the-tests"
_BINARIES = "/usr/lib/postgresql"
# It refuses to run as root.
_USER = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}


def binaries() -> Path | None:
    """Where the newest server's programs are; None where there is none."""
    found = sorted(Path(_BINARIES).glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresServer:
    """A server in `folder`, with the superuser `bakeoff`."""

    def __init__(self, programs: Path, folder: Path, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self._programs = programs
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make its files."""
        word = self._folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        command = [self._programs / "initdb", "-D", self._folder / "data", "-U", "bakeoff", "--pwfile", word]
        command += ["--auth=scram-sha-256", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True, **_USER)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *words],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **_USER,
            )
        eventually(self._answers, 60, (self._folder / "log").read_text, ignoring=psycopg.OperationalError)

    def _answers(self) -> bool:
        psycopg.connect(self.url()).close()
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends connections in order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within the block nothing of it runs, though the host takes its connections."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [self._process.pid, *map(int, children.read_text().split())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def url(self, schema: str = "public") -> str:
        """The URL of a schema of its database."""
        return f"postgresql://bakeoff:{PASSWORD}@127.0.0.1:{self.port}/postgres?options=-csearch_path%3D{schema}"

    def fresh(self) -> str:
        """The URL of a new, empty schema: made in a moment, where a database is half a thousand files."""
        schema = f"t{secrets.token_hex(8)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return self.url(schema)

    def drop(self, url: str) -> None:
        """Remove a schema; a server that has just been told to stop may still read it."""
        statement = f"DROP SCHEMA {url.rpartition('%3D')[2]} CASCADE"
        eventually(lambda: self.execute(statement) is None, ignoring=psycopg.errors.DeadlockDetected)

    def execute(self, statement: str) -> None:
        """Carry out a statement as the superuser."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def server(**settings: str) -> Iterator[PostgresServer]:
    """A running server with these settings of its own; nothing of it is left afterwards."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-postgres-"))
    try:
        if _USER:
            shutil.chown(folder, "nobody", "nogroup")
        running = PostgresServer(programs, folder, **settings)
        running.make()
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
