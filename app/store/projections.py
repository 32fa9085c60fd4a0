"""The projections' derived state in the store, which advances in one transaction with its cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, OpenWindow, UnitFact, UserFact
from app.store.disagreements import put_disagreements
from app.store.engine import Database
from app.store.kinds import MONITORING, READING, RECORDING
from app.store.logged import mark
from app.store.sqlite import execute_all
from app.store.statements import CURSOR, ERASED, REBUILD, REPORTS, SIDE, statements
from app.store.unit_rows import unit_bodies, units_of, window_of, window_row

# Rows of units or windows that are deleted in one transaction: some tens of milliseconds under the write lock.
_ROWS_AT_ONCE = 2_000
_MOST_EXPERIMENTS = 2**62


class ProjectionStore:
    """Cursors, states, timelines, users, units and windows.

    Every call raises `StoreUnavailable` where the store cannot be used. `space` is a prefix of all names and experiment
    ids (`REBUILD`, or empty for the live state): a rebuild writes beside the live state until it takes its place. There
    may be more units than can be renamed in a moment, so they have two sides, and the live one is noted in a row.
    `now_us` is the clock (µs since 1970).
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

    def units(self, experiment_id: str, units: Iterable[int]) -> dict[int, UnitFact]:
        """The known facts about units of an experiment, by unit; unknown units are left out."""
        with self._database.begin(READING) as connection:
            experiment = self._numbers(connection, [experiment_id])[experiment_id]
            rows = _execute(connection, "units", experiment=experiment, units=_json(sorted(units)))
        return units_of(rows)

    def windows(self, experiment_id: str, seqs: Iterable[int], closing_before_us: int) -> dict[int, OpenWindow]:
        """The open windows of the predictions with these seqs, and all that close before a time (µs), by seq."""
        with self._database.begin(READING) as connection:
            experiment = self._numbers(connection, [experiment_id])[experiment_id]
            values = {"seqs": _json(sorted(seqs)), "before_us": closing_before_us}
            rows = _execute(connection, "windows", experiment=experiment, **values)
        return {row.seq: window_of(row) for row in rows}

    def any_window(self) -> bool:
        """Whether any experiment has an open window. One indexed read."""
        with self._database.begin(READING) as connection:
            return bool(_execute(connection, "any_window", **_numbers_of(self._side(connection))))

    def commit(
        self, projection: str, before: Cursor, after: Cursor, changes: Changes, erased: int | None = None
    ) -> bool:
        """Write `changes` and move the cursor from `before` to `after`; False, and no change, if it is elsewhere.

        False also where something was erased since the mark of erasures was `erased` (None: that is not asked):
        `changes` may be of rows that are gone.
        """
        place = {**msgspec.structs.asdict(after), "at_us": self._now_us()}
        with self._database.begin(MONITORING) as connection:
            # Compared under the write lock: a rebuild may have replaced the state since `before` was read.
            if _cursor(connection, self._space + projection) != before:
                return False
            if erased is not None and erased != (mark(connection, ERASED) or 0):
                return False
            for name, body in {"": changes.cursor_body, **changes.states}.items():
                full = f"{self._space}{projection}/{name}" if name else self._space + projection
                connection.execute(text(statements("monitor")["put_state"]), {"name": full, "body": body, **place})
            self._put_points(connection, changes)
            self._put_users(connection, changes.users)
            self._put_units_and_windows(connection, changes)
            put_disagreements(connection, changes)
        return True

    def discard(self, projections: Sequence[str]) -> bool:
        """Delete what is in this store's own space, before a rebuild and after one; True where some of it is left.

        It is called until nothing is left, because deleting many units in one transaction would make others wait.
        """
        with self._database.begin(MONITORING) as connection:
            _clear(connection, self._space, projections)
            if CURSOR not in projections:
                return False
            some = {**_numbers_of(self._side(connection)), "limit": _ROWS_AT_ONCE}
            named = statements("monitor")
            gone = [connection.execute(text(named[f"drop_some_{kind}"]), some) for kind in ("units", "windows")]
            return any(result.rowcount == _ROWS_AT_ONCE for result in gone)

    def take_the_place(self, projections: Sequence[str], at: Mapping[str, Cursor]) -> bool:
        """Replace the live state by the state in this space, in one transaction.

        False, and no change, where a live projection has moved on from its cursor in `at`. What was live of units and
        windows is then in this space, to be discarded.
        """
        with self._database.begin(MONITORING) as connection:
            # A live monitor that went on has processed rows that this space has not: replacing would lose them.
            if any(_cursor(connection, projection) != at[projection] for projection in projections):
                return False
            side = self._side(connection)
            _clear(connection, "", projections)
            for name in _names(projections):
                connection.execute(text(statements("monitor")["adopt_state"]), {"space": self._space, "name": name})
            if CURSOR in projections:
                for statement in ("adopt_points", "adopt_users"):
                    connection.execute(text(statements("monitor")[statement]), {"space": self._space})
                values = {"name": SIDE, "body": str(side), **msgspec.structs.asdict(Cursor()), "at_us": 0}
                connection.execute(text(statements("monitor")["put_state"]), values)
        return True

    def _side(self, connection: Connection) -> int:
        """The side of this space: 1 or −1, the sign of the experiments' numbers."""
        rows = _execute(connection, "row", name=SIDE)
        return self._side_of(rows[0].body if rows else None)

    def _side_of(self, live: str | None) -> int:
        return int(live or 1) * (-1 if self._space else 1)

    def _numbers(self, connection: Connection, experiment_ids: Iterable[str]) -> dict[str, int]:
        """The experiments' numbers in units and windows, by id."""
        rows = _execute(connection, "ordinals", ids=_json(sorted(experiment_ids)), side=SIDE)
        return {row.id: row.ordinal * self._side_of(row.side) for row in rows}

    def _put_units_and_windows(self, connection: Connection, changes: Changes) -> None:
        named = statements("monitor", connection.dialect.name)
        concerned = {*changes.units, *changes.windows, *changes.closed}
        numbers = self._numbers(connection, concerned) if concerned else {}
        units = [(numbers[name], each) for name in changes.units for each in changes.units[name]]
        units.sort(key=_place)
        bodies = unit_bodies(each for _, each in units)
        rows = [
            {"experiment": number, "unit": each.unit, "body": body}
            for (number, each), body in zip(units, bodies, strict=True)
        ]
        execute_all(connection, "monitor", "put_unit", rows)
        windows = [window_row(numbers[name], each) for name in changes.windows for each in changes.windows[name]]
        execute_all(connection, "monitor", "put_window", windows)
        for name, seqs in changes.closed.items():
            connection.execute(text(named["close_windows"]), {"experiment": numbers[name], "seqs": _json(seqs)})

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
        execute_all(connection, "monitor", "put_point", rows)

    def _put_users(self, connection: Connection, users: Mapping[str, Sequence[UserFact]]) -> None:
        rows = [
            {"experiment_id": self._space + experiment_id, **msgspec.structs.asdict(fact)}
            for experiment_id, facts in users.items()
            for fact in facts
        ]
        execute_all(connection, "monitor", "put_user", rows)


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
    """Delete states, and with those of experiments what only they have, without units and windows."""
    for name in _names(projections):
        connection.execute(text(statements("monitor")["drop_state"]), {"name": space + name})
    if CURSOR in projections:
        # Points and users have no name to begin with: inside the rebuild's space, or everything outside it.
        inside = {"space": REBUILD, "inside": bool(space)}
        for statement in ("drop_points", "drop_users"):
            connection.execute(text(statements("monitor")[statement]), inside)


def _names(projections: Sequence[str]) -> tuple[str, ...]:
    # Reports are made of the experiments' states, so they go with them.
    return (*projections, REPORTS.rstrip("/")) if CURSOR in projections else tuple(projections)


def _numbers_of(side: int) -> dict[str, int]:
    """The least and the greatest number of an experiment on a side."""
    return {"low": 1, "high": _MOST_EXPERIMENTS} if side > 0 else {"low": -_MOST_EXPERIMENTS, "high": -1}


def _place(numbered: tuple[int, UnitFact]) -> tuple[int, int]:
    return numbered[0], numbered[1].unit


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
