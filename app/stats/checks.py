"""Sequential checks of the experiment itself: are versions assigned, and labelled, in the shares that were set?

Model: while the weights are constant (one config revision, here an epoch) each event belongs to version j with
probability p_j; the alternative is a Dirichlet(k p) around the shares with k = 100. One factor per epoch, multiplied.
Promise: P(a sound experiment ever fails the check) ≤ α = .001. For label rates the events are labelled requests: their
shares equal those of the assignments when all versions are labelled at one rate. Source: Lindon & Malek, NeurIPS 2022
(sequential multinomial test).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from scipy.special import gammaln

from app.stats.strongest import Strongest, decided, p_value, remember_path

# Low: a failed check blocks every decision about its experiment, and never recovers.
ALPHA = 0.001
CONCENTRATION = 100.0
# Stands for an infinite ln E (an event of a version with share 0): JSON has no infinity.
IMPOSSIBLE = 1e6


class EpochCounts(msgspec.Struct, frozen=True):
    """The shares set in one epoch and the events counted in it, by version in one fixed order."""

    shares: tuple[float, ...]
    counts: tuple[int, ...]


class RatioState(msgspec.Struct, frozen=True):
    """The counts of each epoch, by its number, and the strongest evidence ever against the shares."""

    epochs: Mapping[int, EpochCounts] = msgspec.field(default_factory=dict)
    strongest: Strongest = Strongest()

    @property
    def n(self) -> int:
        """Events counted."""
        return sum(sum(epoch.counts) for epoch in self.epochs.values())


class CheckResult(msgspec.Struct, frozen=True):
    """Whether a check holds; `ok` is false once E has ever reached 1/α. `fault`: what is wrong, where it knows more."""

    name: str
    ok: bool
    p_value: float
    log_e: float
    fault: str | None = None


def log_e(state: RatioState) -> float:
    """ln E against the shares now: the sum over epochs."""
    return min(IMPOSSIBLE, sum(_epoch_log_e(epoch) for epoch in state.epochs.values()))


def follow(state: RatioState, epoch: int, shares: tuple[float, ...], versions: np.ndarray) -> RatioState:
    """The state after a run of events of one epoch, in order; the evidence is remembered as of each event.

    `versions`, shape (events,), are positions in `shares`. The result does not depend on how a run is cut up.
    """
    before = state.epochs.get(epoch) or EpochCounts(shares, (0,) * len(shares))
    counts = np.cumsum(versions[:, None] == np.arange(len(shares)), axis=0) + np.asarray(before.counts)
    # The factors of other epochs stay as they are while this one's events are counted.
    others = sum(_epoch_log_e(counted) for number, counted in state.epochs.items() if number != epoch)
    log_es = np.minimum(others + _log_e(np.asarray(before.shares), counts), IMPOSSIBLE)
    memory = remember_path(state.strongest, log_es, np.ones(len(log_es)), state.n)
    after = EpochCounts(before.shares, tuple(counts[-1].tolist()) if len(counts) else before.counts)
    return RatioState({**state.epochs, epoch: after}, memory)


def result(name: str, state: RatioState, alpha: float = ALPHA) -> CheckResult:
    """The check as reports show it. Once failed it stays failed: its error rate covers the whole experiment."""
    return CheckResult(name, not decided(state.strongest, alpha), p_value(state.strongest), log_e(state))


def _epoch_log_e(epoch: EpochCounts) -> float:
    return float(_log_e(np.asarray(epoch.shares), np.asarray([epoch.counts]))[0])


def _log_e(shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """ln E of each row of counts, shape (rows, versions)."""
    possible = shares > 0
    prior, seen = CONCENTRATION * shares[possible], counts[:, possible]
    total = counts.sum(axis=1)
    per_version = gammaln(prior + seen) - gammaln(prior) - seen * np.log(shares[possible])
    evidence: np.ndarray = gammaln(CONCENTRATION) - gammaln(CONCENTRATION + total) + per_version.sum(axis=1)
    return np.where(counts[:, ~possible].any(axis=1), IMPOSSIBLE, evidence)
