"""The changes of derived state that one step of a projection makes, written in one transaction with its cursor."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.report import TimelinePoint


class UserFact(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one user in an experiment whose units are users.

    `epoch` and `version` are those of the first exposure. `exposed`: that exposure is in the log. `moved`: another
    version answered the user later. `labelled`, `rewarded`: the user has been counted once in this way, and a user
    counts only once.
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
    """The writes of a projection after some events.

    `cursor_body`: JSON stored with the projection's cursor. `states`: JSON by name, under the projection's own name.
    `users`: facts by experiment.
    """

    cursor_body: str = "{}"
    states: Mapping[str, str] = msgspec.field(default_factory=dict)
    points: tuple[PlacedPoint, ...] = ()
    users: Mapping[str, tuple[UserFact, ...]] = msgspec.field(default_factory=dict)
