"""The projections' derived state in the store, which advances in one transaction with its cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, UserFact
from app.store.engine import Database
from app.store.kinds import MONITORING, READING, RECORDING
from app.store.statements import REBUILD, REPORTS, statements


class ProjectionStore:
    """Cursors, states, timelines and users. Every call raises `StoreUnavailable` where the store cannot be used.

    `space` is a prefix of all names and experiment ids (`REBUILD`, or empty for the live state): a rebuild writes
    beside the live state until it takes its place. `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int], space: str = "") -> None:
        self._database = database
        self._now_us = now_us
        self._space = space

    def cursor(self, projection: str) -> Cursor:
        """How much of the log a projection has processed; the start where it has not begun."""
        with self._database.begin(READING) as connection:
            return _cursor(connection, self._space + projection)

    def states(self, names: Iterable[str]) -> dict[str, str]:
        """The JSON of those of `names` (in full, such as `experiment/ID`) that exist."""
        wanted = _json([self._space + name for name in names])
        with self._database.begin(READING) as connection:
            return {row.name[len(self._space) :]: row.body for row in _execute(connection, "states", names=wanted)}

    def all_states(self, projection: str) -> dict[str, str]:
        """The JSON of every state of a projection, by name."""
        with self._database.begin(READING) as connection:
            rows = _execute(connection, "states_of", name=self._space + projection)
            return {row.name[len(self._space) :]: row.body for row in rows}

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]:
        """The known facts about users of an experiment, by hash; unknown users are left out."""
        values = {"experiment_id": self._space + experiment_id, "hashes": _json(sorted(hashes))}
        with self._database.begin(READING) as connection:
            return {row.user_hash: _user(row) for row in _execute(connection, "users", **values)}

    def commit(self, projection: str, before: Cursor, after: Cursor, changes: Changes) -> bool:
        """Write `changes` and move the cursor from `before` to `after`; False, and no change, if it is elsewhere."""
        place = {"predictions": after.predictions, "outcomes": after.outcomes, "at_us": self._now_us()}
        with self._database.begin(MONITORING) as connection:
            # Compared under the write lock: a rebuild may have replaced the state since `before` was read.
            if _cursor(connection, self._space + projection) != before:
                return False
            for name, body in {"": changes.cursor_body, **changes.states}.items():
                full = f"{self._space}{projection}/{name}" if name else self._space + projection
                connection.execute(text(statements("monitor")["put_state"]), {"name": full, "body": body, **place})
            self._put_points(connection, changes)
            self._put_users(connection, changes.users)
        return True

    def discard(self, projections: Sequence[str]) -> None:
        """Delete everything in this store's own space, before a rebuild and after one that failed."""
        with self._database.begin(MONITORING) as connection:
            _clear(connection, self._space, projections)

    def take_the_place(self, projections: Sequence[str], at: Mapping[str, Cursor]) -> bool:
        """Replace the live state by the state in this space, in one transaction.

        False, and no change, where a live projection has moved on from its cursor in `at`.
        """
        with self._database.begin(MONITORING) as connection:
            # A live monitor that went on has processed rows that this space has not: replacing would lose them.
            if any(_cursor(connection, projection) != at[projection] for projection in projections):
                return False
            _clear(connection, "", projections)
            for statement in ("adopt_state", "adopt_points", "adopt_users"):
                connection.execute(text(statements("monitor")[statement]), {"space": self._space})
        return True

    def _put_points(self, connection: Connection, changes: Changes) -> None:
        rows = [
            {
                "experiment_id": self._space + placed.experiment_id,
                "challenger": placed.point.challenger,
                "n": placed.point.n,
                "at_us": placed.at_us,
                "body": _json(placed.point),
            }
            for placed in changes.points
        ]
        if rows:
            connection.execute(text(statements("monitor")["put_point"]), rows)

    def _put_users(self, connection: Connection, users: Mapping[str, Sequence[UserFact]]) -> None:
        rows = [
            {"experiment_id": self._space + experiment_id, **msgspec.structs.asdict(fact)}
            for experiment_id, facts in users.items()
            for fact in facts
        ]
        if rows:
            connection.execute(text(statements("monitor")["put_user"]), rows)


class NoticeState:
    """What the webhook has been sent, as one JSON text. A rebuild leaves it alone, or it would send old notices again.

    Every call raises `StoreUnavailable` where the store cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def notified(self) -> str | None:
        """The text put last; None before the first."""
        with self._database.begin(READING) as connection:
            body = connection.execute(text(statements("notices")["notified"])).scalar()
        return None if body is None else str(body)

    def put_notified(self, body: str) -> None:
        """Replace the text."""
        with self._database.begin(RECORDING) as connection:
            connection.execute(text(statements("notices")["put_notified"]), {"body": body})


def _cursor(connection: Connection, name: str) -> Cursor:
    rows = _execute(connection, "cursor", name=name)
    return Cursor(*rows[0]) if rows else Cursor()


def _clear(connection: Connection, space: str, projections: Sequence[str]) -> None:
    # Reports are made of the states, so they go with them.
    for name in (*projections, REPORTS.rstrip("/")):
        connection.execute(text(statements("monitor")["drop_state"]), {"name": space + name})
    # Points and users have no name to begin with: inside the rebuild's space, or everything outside it.
    inside = {"space": REBUILD, "inside": bool(space)}
    for statement in ("drop_points", "drop_users"):
        connection.execute(text(statements("monitor")[statement]), inside)


def _user(row: Any) -> UserFact:
    user_hash, epoch, version, *flags = row
    exposed, moved, labelled, rewarded = map(bool, flags)  # SQLite gives 0 and 1
    return UserFact(
        user_hash=user_hash,
        epoch=epoch,
        version=version,
        exposed=exposed,
        moved=moved,
        labelled=labelled,
        rewarded=rewarded,
    )


def _execute(connection: Connection, statement: str, /, **parameters: object) -> Sequence[Any]:
    return connection.execute(text(statements("monitor", connection.dialect.name)[statement]), parameters).all()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
