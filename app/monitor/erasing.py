"""What the monitor's derived state has of a person, and that state without it.

Counts and sums stay: they say how often something happened, not to whom. What stands for one person or one case goes:
units and users are rows of their own, and here is what states have inside. A user's hash becomes a random number, so
that the rows of the present block still have one caller; nobody can tell whose it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec.structs import replace

from app.domain.erasure import Traces
from app.domain.log_event import PredictionRow
from app.drift.callers import Acquaintance, Caller
from app.drift.crowds import CrowdState
from app.drift.detector_state import DetectorState
from app.drift.waiting import WaitingRow
from app.monitor.drift.projection import WatchedVersion
from app.monitor.drift.samples import key_hash
from app.monitor.experiment.projection import NAME as EXPERIMENT
from app.monitor.experiment.units import key_identity, row_hash, user_unit
from app.services.queries.drift_records import NAME as DRIFT
from app.stats.distinct_rows import scrambled

_Names: TypeAlias = Mapping[int, int]
_USER_BITS, _ROW_BITS = 48, 64


def traces_of(rows: Iterable[PredictionRow], users: Collection[int]) -> Traces:
    """What derived state may have of these rows, and of users (hashes) of whom all goes."""
    units, cases, features = set[int](users), set[int](), set[int]()
    units.update(user_unit(user) for user in users)
    for row in rows:
        own = row_hash(row)
        units.update((own, *key_identity(row)))
        cases.add(key_hash(row))
        features.add(scrambled(own))
    return Traces(frozenset(users), frozenset(units), frozenset(cases - {0}), frozenset(features))


class StateCleaner:
    """Takes what identifies a person out of states."""

    def __init__(self) -> None:
        self._names: dict[int, int] = {}

    def concerns(self, name: str) -> bool:
        """Whether the state of that name, without its space, may have anything of a person."""
        kind, _, rest = name.partition("/")
        # Below the name of a version there are its report and its timeline, which have figures of all rows only.
        return kind in (EXPERIMENT, DRIFT) and bool(rest) and "/" not in rest

    def cleaned(self, name: str, body: str, traces: Traces) -> str | None:
        """The state without these traces; None where it has none of them."""
        clean = self._drift if name.startswith(f"{DRIFT}/") else _experiment
        return clean(body, traces)

    def _drift(self, body: str, traces: Traces) -> str | None:
        try:
            watched = msgspec.json.decode(body, type=WatchedVersion)
        except msgspec.MsgspecError:
            return "{}"  # another release wrote it: the monitor begins such a state anew
        for user in traces.users - self._names.keys():
            self._names[user] = 1 + secrets.randbelow(2**_USER_BITS - 1)
        names = {user: self._names[user] for user in traces.users}
        state = watched.state
        state = replace(
            state,
            inputs=_detector(state.inputs, names, traces),
            outputs=None if state.outputs is None else _detector(state.outputs, names, traces),
        )
        return None if state == watched.state else msgspec.json.encode(replace(watched, state=state)).decode()


def _experiment(body: str, traces: Traces) -> str | None:
    state: dict[str, Any] = msgspec.json.decode(body)
    changed = False
    for pair in state.get("pairs", {}).values():
        rows = pair.get("rows", {})
        votes = rows.get("votes", {})
        if any(int(row) in traces.features for row in votes):
            # The votes of a row stay, under a number that stands for no features.
            rows["votes"] = {
                str(secrets.randbits(_ROW_BITS)) if int(row) in traces.features else row: each
                for row, each in votes.items()
            }
            changed = True
    return msgspec.json.encode(state).decode() if changed else None


def _detector(state: DetectorState, names: _Names, traces: Traces) -> DetectorState:
    crowd = state.crowd
    return replace(
        state,
        crowd=replace(
            crowd,
            known=_acquaintance(crowd.known, names, traces),
            gathered=None if crowd.gathered is None else _waiting(crowd.gathered, names),
            waiting=tuple(sorted(_waiting(row, names) for row in crowd.waiting)),
            admitted=_admitted(crowd, names),
        ),
    )


def _acquaintance(known: Acquaintance, names: _Names, traces: Traces) -> Acquaintance:
    keys = np.frombuffer(known.keys, dtype="<u4")
    return replace(
        known,
        users=_renamed(known.users, names),
        often=tuple((stretch, _renamed(users, names)) for stretch, users in known.often),
        keys=keys[~np.isin(keys, np.array(sorted(traces.cases), dtype=np.int64))].tobytes(),
    )


def _renamed(users: Iterable[tuple[int, int]], names: _Names) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((names.get(user, user), count) for user, count in users))


def _admitted(crowd: CrowdState, names: _Names) -> tuple[tuple[Caller, tuple[int, ...]], ...]:
    return tuple(sorted((_caller(caller, names), blocks) for caller, blocks in crowd.admitted))


def _waiting(row: WaitingRow, names: _Names) -> WaitingRow:
    return replace(row, caller=_caller(row.caller, names))


def _caller(caller: Caller, names: _Names) -> Caller:
    kind, number = caller
    return (kind, names.get(number, number)) if kind == 0 else caller
