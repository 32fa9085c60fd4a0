"""Equivalence without a single label: two versions whose answers hardly differ cannot differ much in accuracy.

Model: |accuracy difference| ≤ P(answers differ), a rate tested against "at least ε" with the alternative Beta(.5, 25)
truncated to (0, ε). Assumption: requests are exchangeable draws of the traffic. Promise: P(it ever says `equivalent`
although the answers differ at a rate ≥ ε) ≤ α. Source: one-sided beta mixtures, Howard et al., arXiv 1810.08240.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from scipy.special import betaln

from app.stats.strongest import Strongest
from app.stats.tails import log_beta_cdf

# The alternative expects few disagreements (mean 2 %): versions of one model, of which this is to be proven, have few.
_A, _B = 0.5, 25.0


class AgreementState(msgspec.Struct, frozen=True):
    """Requests that both versions answered, on how many the answers differed, and the strongest evidence so far."""

    n: int = 0
    differ: int = 0
    strongest: Strongest = Strongest()


def log_e(differ: int, n: int, margin: float) -> float:
    """ln E against "the answers differ at a rate of at least `margin`" (0 < margin < 1)."""
    a, b = _A + differ, _B + n - differ
    gained = float(betaln(a, b)) - float(betaln(_A, _B))
    truncated = log_beta_cdf(margin, a, b) - log_beta_cdf(margin, _A, _B)
    return gained + truncated - differ * math.log(margin) - (n - differ) * math.log1p(-margin)


def follow(state: AgreementState, differs: np.ndarray, margin: float) -> AgreementState:
    """The state after a batch of requests, shape (requests,), in order: whether the two answers differed.

    The evidence is remembered as if it was computed at each request.
    """
    n, differ, memory = state.n, state.differ, state.strongest
    # Between disagreements the evidence only grows, so its maximum lies at the end of a run of agreements.
    for run in _runs_of_agreement(differs):
        n += run
        memory = memory.remember(log_e(differ, n, margin), n, 1)
        n, differ = n + 1, differ + 1
    # The last run has no disagreement behind it.
    return AgreementState(n - 1, differ - 1, memory)


def _runs_of_agreement(differs: np.ndarray) -> list[int]:
    """Lengths of the runs of agreements before, between and after the disagreements."""
    at = np.flatnonzero(differs)
    runs: list[int] = (np.diff(np.concatenate(([-1], at, [len(differs)]))) - 1).tolist()
    return runs
