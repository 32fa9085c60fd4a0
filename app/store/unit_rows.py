"""Rows of units and of open windows: their bodies are JSON arrays without the defaults at the end.

Names would make a row three times as long, and an experiment may have 10⁸ units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from app.domain.monitor_state import OpenWindow, UnitFact, UnitPair


class _UnitBody(msgspec.Struct, frozen=True, array_like=True):
    pairs: tuple[UnitPair, ...] = ()
    bad: int = 0
    counted: float | None = None


class _WindowBody(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    version: str
    kind: str
    differs: tuple[bool | None, ...]
    features: msgspec.Raw
    reward: float | None = None
    lacking: tuple[str, ...] = ()


_NO_FEATURES = b"0"
_UNITS = msgspec.json.Decoder(list[_UnitBody])
_ENCODER = msgspec.json.Encoder()
_WINDOW = msgspec.json.Decoder(_WindowBody)


def unit_bodies(facts: Iterable[UnitFact]) -> list[str]:
    """The bodies of rows with these facts."""
    return _ENCODER.encode_lines([*map(_unit_body, facts)]).decode().split("\n")[:-1]


def _unit_body(fact: UnitFact) -> list[object]:
    pairs = [*map(_short, fact.pairs)]
    if fact.counted is not None:
        return [pairs, fact.bad, fact.counted]
    return [pairs, fact.bad] if fact.bad else [pairs]


def _short(pair: UnitPair) -> list[int | bool | None]:
    if pair.late:
        return [pair.first, pair.differs, pair.voted, pair.vote, True]
    if pair.vote is not None:
        return [pair.first, pair.differs, pair.voted, pair.vote]
    if pair.voted:
        return [pair.first, pair.differs, True]
    if pair.differs is not None:
        return [pair.first, pair.differs]
    return [] if pair.first is None else [pair.first]


def units_of(rows: Sequence[Any]) -> dict[int, UnitFact]:
    """The facts in rows with the columns `unit` and `body`, by unit."""
    bodies = _UNITS.decode(f"[{','.join([body for _, body in rows])}]")
    return {
        unit: UnitFact(unit=unit, pairs=body.pairs, bad=body.bad, counted=body.counted)
        for (unit, _), body in zip(rows, bodies, strict=True)
    }


def window_row(experiment: int, window: OpenWindow) -> dict[str, object]:
    """The row of a window, by column; `experiment` is the experiment's number there."""
    # The features are JSON already: as a string they would be escaped.
    features = msgspec.Raw(window.features.encode() or _NO_FEATURES)
    values = [window.epoch, window.version, window.kind, window.differs, features]
    if window.lacking:
        values += [window.reward, window.lacking]
    elif window.reward is not None:
        values.append(window.reward)
    body = _json(values)
    return {"experiment": experiment, "seq": window.seq, "closes_at_us": window.closes_at_us, "body": body}


def window_of(row: Any) -> OpenWindow:
    """The window in a row with the columns `seq`, `closes_at_us` and `body`."""
    body = _WINDOW.decode(row.body)
    features = bytes(body.features)
    return OpenWindow(
        seq=row.seq,
        closes_at_us=row.closes_at_us,
        epoch=body.epoch,
        version=body.version,
        kind=body.kind,
        differs=body.differs,
        features="" if features == _NO_FEATURES else features.decode(),
        reward=body.reward,
        lacking=body.lacking,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
