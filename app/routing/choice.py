"""The contract of routing policies: their signature and their result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.prediction import Assignment


class Choice(msgspec.Struct, frozen=True):
    """The version that is to answer, the probability with which the policy chose it, and the rule."""

    version: str
    propensity: float | None
    assignment: Assignment


class Policy(Protocol):
    """Chooses among `eligible` versions from a uniform `draw` on [0, 1) and the user's hash (0: none)."""

    def __call__(
        self, weights: Mapping[str, float], eligible: Sequence[str], draw: float, user_hash: int
    ) -> Choice: ...
