"""How far the log is processed, without the monitor's code, which takes more memory than archiving itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.log_event import Cursor
from app.domain.monitor_state import PROJECTIONS
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.metric_states import MetricStates
from app.store.projections import ProjectionStore
from app.store.statements import CURSOR


class _Generation(msgspec.Struct):
    number: int


class _Register(msgspec.Struct):
    live: Mapping[str, _Generation] = {}


def cursors(database: Database) -> dict[str, Cursor]:
    """The cursor of each projection, and of each secondary metric of the newest experiment, by name.

    One that has not begun is at the start of the log. Raises `StoreUnavailable`.
    """
    states, metrics, log = ProjectionStore(database, _no_clock), MetricStates(database, _no_clock), EventLog(database)
    found = {name: states.cursor(name) for name in PROJECTIONS}
    newest = next(iter(log.experiments()), None)
    last = None if newest is None else log.last_configuration(newest.id)
    body = metrics.register()
    live = {} if body is None else msgspec.json.decode(body, type=_Register).live
    for name in () if last is None else last.metrics:
        found[name] = metrics.space(live[name].number).cursor(CURSOR) if name in live else Cursor()
    return found


def _no_clock() -> int:
    raise AssertionError("nothing is written here")
