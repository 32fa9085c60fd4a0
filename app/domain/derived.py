"""What one step of the monitor changes in the derived state: written in one transaction with the cursor, or not."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.report import TimelinePoint


class UserFact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a user in an experiment in which users are the units.

    `epoch` and `version` are those of the first exposure; `exposed`: it is in the log; `moved`: another version
    answered the user later; `labelled`, `rewarded`: the user's one vote of that kind has been cast.
    """

    user_hash: int
    epoch: int
    version: str
    exposed: bool = False
    moved: bool = False
    labelled: bool = False
    rewarded: bool = False


class PlacedPoint(msgspec.Struct, frozen=True):
    """A point of an experiment's timeline; `at_us` is µs since 1970."""

    experiment_id: str
    at_us: int
    point: TimelinePoint


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder wants to be written after some events.

    `cursor_body`: JSON kept with the folder's cursor. `states`: JSON by name below the folder's own. `users`: facts by
    experiment.
    """

    cursor_body: str = "{}"
    states: Mapping[str, str] = msgspec.field(default_factory=dict)
    points: tuple[PlacedPoint, ...] = ()
    users: Mapping[str, tuple[UserFact, ...]] = msgspec.field(default_factory=dict)
