"""Which content each version of the deployment has, and which are retired, as the store has it for all hosts."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, text

from app.clock import now_us
from app.domain.decision import RETIRE
from app.domain.timestamps import iso_utc
from app.services.control.retirement import uses
from app.services.ports import RetirementRecord, VersionRecord
from app.store.configurations import latest_of
from app.store.engine import Database
from app.store.kinds import DURABLE, READING
from app.store.statements import statements


class StoredVersions:
    """`VersionRows` of the store. Making one touches nothing; a store that is not there yet has and gets no rows.

    `admit` raises `StoreUnavailable` where the store is that of another deployment.
    """

    def __init__(
        self,
        database: Database,
        admit: Callable[[], object] = lambda: None,
        actor: str = "",
        clock_us: Callable[[], int] = now_us,
    ) -> None:
        self._database = database
        self._admit = admit
        self._actor = actor
        self._clock_us = clock_us

    def publish(self, published: VersionRecord) -> None:
        """See `VersionRows`."""
        if self._is_there():
            with self._database.begin(DURABLE) as connection:
                self._put(connection, published)

    def compare(self, found: Sequence[VersionRecord]) -> Mapping[str, VersionRecord]:
        """See `VersionRows`. With SQLite there is one host, whose folder alone says which version is meant."""
        if not self._is_there():
            return {}
        with self._database.begin(READING) as connection:
            meant = _meant(_rows(connection), found)
        if self._unrecorded(found, meant):
            # Under the lock of all writers: of two hosts that find a version at once, one is the first.
            with self._database.begin(DURABLE) as connection:
                meant = _meant(_rows(connection), found)
                for each in self._unrecorded(found, meant):
                    self._put(connection, each)
                meant = _meant(_rows(connection), found)
        if not self.shared:
            return {}
        return {name: other for name, other in meant.items() if other is not None}

    def known(self) -> Sequence[VersionRecord]:
        """See `VersionRows`. With SQLite none: a folder that was removed there frees its name."""
        if not self.shared or not self._is_there():
            return []
        with self._database.begin(READING) as connection:
            return _rows(connection)

    def retirements(self) -> Mapping[str, RetirementRecord]:
        """See `VersionRows`."""
        if not self._is_there():
            return {}
        with self._database.begin(READING) as connection:
            configuration = latest_of(connection)
            rows = connection.execute(text(statements("decisions")["retirements"])).all()
            published = connection.execute(text(statements("deployment")["published"])).all()
        used: Collection[str] = () if configuration is None else uses(configuration)
        return {
            row.version: RetirementRecord(
                retired=row.action == RETIRE,
                at=iso_utc(row.at_us),
                by=row.actor,
                note=row.note,
                used=row.version in used,
                since=tuple(
                    each.manifest for each in published if each.version == row.version and each.newest_us > row.at_us
                ),
            )
            for row in rows
        }

    def _is_there(self) -> bool:
        file = self._database.kind.file
        if file is not None and not file.exists():
            return False
        self._admit()
        return True

    @property
    def shared(self) -> bool:
        """See `VersionRows`."""
        return self._database.kind.server is not None

    def _unrecorded(
        self, found: Sequence[VersionRecord], meant: Mapping[str, VersionRecord | None]
    ) -> list[VersionRecord]:
        """Those without a row, and on one host those that were replaced. Of two with one number neither is said to be
        meant: whoever loads them refuses one."""
        numbers = Counter(each.ordinal for each in found)
        return [
            each
            for each in found
            if numbers[each.ordinal] == 1
            and (each.version not in meant or (not self.shared and meant[each.version] is not None))
        ]

    def _put(self, connection: Connection, version: VersionRecord) -> None:
        own = {"host": socket.gethostname(), "actor": self._actor, "recorded_us": self._clock_us()}
        connection.execute(text(statements("deployment")["put_version"]), msgspec.structs.asdict(version) | own)


def _rows(connection: Connection) -> list[VersionRecord]:
    """All records, the newest last."""
    rows = connection.execute(text(statements("deployment")["versions"]))
    return [VersionRecord(**row) for row in rows.mappings()]


def _meant(rows: Iterable[VersionRecord], found: Sequence[VersionRecord]) -> dict[str, VersionRecord | None]:
    """By the name of a version that was found, the one that its name and ordinal mean, or None if that is itself.

    A version that nobody has recorded is not there.
    """
    newest: dict[str | int, tuple[int, VersionRecord]] = {}
    for number, row in enumerate(rows):
        newest[row.version] = newest[row.ordinal] = number, row
    meant: dict[str, VersionRecord | None] = {}
    for each in found:
        known = [newest[key] for key in (each.version, each.ordinal) if key in newest]
        if known:
            _, row = max(known)
            same = (row.version, row.manifest) == (each.version, each.manifest)
            meant[each.version] = None if same else row
    return meant
