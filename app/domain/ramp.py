"""A ramp: a version's share of the traffic, raised step by step as long as nothing speaks against it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp that runs: part of the configuration in force.

    `steps` are shares in (0, 1], strictly increasing; the one numbered `step`, from 0, is in force since
    `step_since_us` (µs since 1970). The epochs of the step are those above `after_epoch`. `before` is the split that a
    crossed guardrail brings back. `held` says why the next step has not come though its time has; None while nothing
    holds it.
    """

    version: str
    steps: tuple[float, ...]
    every_seconds: int
    step: int = 0
    step_since_us: int = 0
    after_epoch: int = 0
    before: Mapping[str, float] = msgspec.field(default_factory=dict)
    held: str | None = None

    @property
    def next_step_at_us(self) -> int:
        """When the next step may come, or on the last one when the ramp may end (µs since 1970)."""
        return self.step_since_us + self.every_seconds * 1_000_000

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.step + 1 >= len(self.steps)
