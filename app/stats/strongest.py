"""The memory of a comparison: the strongest evidence that it has ever shown. P-value and verdict follow from it."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from app.stats.estimates import bar


class Strongest(msgspec.Struct, frozen=True):
    """The largest ln E so far (0 at the start: E = 1), after how many outcomes, and which side led then.

    `side` is 1 where the evidence was for the challenger (or the event watched for), −1 against it, 0 for neither.
    """

    log_e: float = 0.0
    n: int = 0
    side: int = 0

    def remember(self, log_e: float, n: int, side: int) -> Strongest:
        """The memory after evidence of `log_e` at `n` outcomes; a tie keeps the earlier moment."""
        return Strongest(log_e, n, side) if log_e > self.log_e else self


def remember_path(memory: Strongest, log_es: np.ndarray, sides: np.ndarray, n_before: int) -> Strongest:
    """The memory after evidence at each of the outcomes `n_before` + 1, `n_before` + 2, …; shapes (outcomes,)."""
    if not len(log_es):
        return memory
    at = int(np.argmax(log_es))
    return memory.remember(float(log_es[at]), n_before + at + 1, int(sides[at]))


def p_value(memory: Strongest) -> float:
    """The anytime-valid p-value min(1, 1 / max E).

    Under the hypothesis P(it is ever ≤ α) ≤ α, however often one looks (Ville; Ramdas et al., arXiv 2210.01948).
    """
    return min(1.0, math.exp(-memory.log_e))


def decided(memory: Strongest, alpha: float) -> bool:
    """Whether E has ever reached 1/α; wrong with probability ≤ α over the whole experiment."""
    return memory.log_e >= bar(alpha)
