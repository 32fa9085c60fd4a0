"""The derived state of secondary metrics, each in a space of its own, and the register of these spaces.

Units, windows and sticky users of a space are kept under numbers above those of the experiments' own two sides, so that
no rebuild of the experiments, of this release or of an earlier one, reaches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, text

from app.domain.log_event import Cursor
from app.domain.monitor_state import UserFact
from app.store.engine import Database
from app.store.kinds import MONITORING, READING
from app.store.projections import ProjectionStore
from app.store.statements import METRICS, METRICS_REGISTER, metrics_name, statements

_ROWS_AT_ONCE = 2_000
# The first number of a space, how many numbers each has, and where those of its users begin. All fit 64 bits.
_FIRST, _PER_SPACE, _USERS = 2**62, 2**32, 2**31


class MetricSpace(ProjectionStore):
    """The state of one metric from one start on; `number` is that of the space, from 1."""

    def __init__(self, database: Database, now_us: Callable[[], int], number: int) -> None:
        super().__init__(database, now_us, _space(number))
        self._base = _FIRST + number * _PER_SPACE

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]:
        """The known facts about users of an experiment, by hash; unknown users are left out."""
        with self._database.begin(READING) as connection:
            number = self._numbers(connection, [experiment_id])[experiment_id] + _USERS
            query = text(statements("monitor", connection.dialect.name)["units"])
            rows = connection.execute(query, {"experiment": number, "units": _json(sorted(hashes))}).all()
        return {row.unit: msgspec.json.decode(row.body, type=UserFact) for row in rows}

    def _numbers(self, connection: Connection, experiment_ids: Iterable[str]) -> dict[str, int]:
        # Whichever side the experiments are on: a number that identifies the experiment is all that is wanted.
        return {name: self._base + abs(number) for name, number in super()._numbers(connection, experiment_ids).items()}

    def _put_users(self, connection: Connection, users: Mapping[str, Sequence[UserFact]]) -> None:
        concerned = [name for name in users if users[name]]
        numbers = self._numbers(connection, concerned) if concerned else {}
        rows = [
            {"experiment": numbers[name] + _USERS, "unit": fact.user_hash, "body": _json(fact)}
            for name in concerned
            for fact in users[name]
        ]
        if rows:
            connection.execute(text(statements("monitor")["put_unit"]), rows)


class MetricStates:
    """The spaces of secondary metrics, their register, and their reports.

    Every call raises `StoreUnavailable` where the store cannot be used. `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us
        # Kept, because a space knows what was erased since its cursor was read.
        self._spaces: dict[int, MetricSpace] = {}

    def space(self, number: int) -> MetricSpace:
        """The space with that number."""
        if number not in self._spaces:
            self._spaces[number] = MetricSpace(self._database, self._now_us, number)
        return self._spaces[number]

    def register(self) -> str | None:
        """The register as it was put last; None before the first."""
        with self._database.begin(READING) as connection:
            return _body(connection)

    def put_register(self, before: str | None, body: str) -> bool:
        """Replace the register; False, and no change, where it is not `before` any more."""
        with self._database.begin(MONITORING) as connection:
            if _body(connection) != before:
                return False
            self._put(connection, METRICS_REGISTER, body)
        return True

    def put_report(self, experiment_id: str, body: str) -> None:
        """Replace the reports (JSON) of the secondary metrics of an experiment."""
        with self._database.begin(MONITORING) as connection:
            self._put(connection, metrics_name(experiment_id), body)

    def discard(self, number: int) -> bool:
        """Delete a part of a space; True where some of it is left."""
        low = _FIRST + number * _PER_SPACE
        some = {"low": low, "high": low + _PER_SPACE - 1, "limit": _ROWS_AT_ONCE}
        named = statements("monitor")
        with self._database.begin(MONITORING) as connection:
            connection.execute(text(named["drop_state"]), {"name": _space(number).rstrip("/")})
            gone = [connection.execute(text(named[f"drop_some_{kind}"]), some) for kind in ("units", "windows")]
            return any(result.rowcount == _ROWS_AT_ONCE for result in gone)

    def any_window(self) -> bool:
        """Whether a secondary metric waits for rewards."""
        with self._database.begin(READING) as connection:
            query = text(statements("monitor")["any_window"])
            return bool(connection.execute(query, {"low": _FIRST + 1, "high": 2**63 - 1}).all())

    def _put(self, connection: Connection, name: str, body: str) -> None:
        values = {"name": name, "body": body, "at_us": self._now_us(), **msgspec.structs.asdict(Cursor())}
        connection.execute(text(statements("monitor")["put_state"]), values)


def _space(number: int) -> str:
    return f"{METRICS}{number}/"


def _body(connection: Connection) -> str | None:
    rows = connection.execute(text(statements("monitor")["row"]), {"name": METRICS_REGISTER}).all()
    return str(rows[0].body) if rows else None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
