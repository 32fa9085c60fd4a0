"""Independent random choice by weight: the default policy, on which the statistics need the fewest assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.routing.choice import Choice


def choose(weights: Mapping[str, float], eligible: Sequence[str], draw: float, user_hash: int) -> Choice:
    """The version in which `draw`, uniform on [0, 1), falls when the eligible versions share it by weight.

    If no eligible version has weight, they share it equally: an answer is worth more than the split. A version of
    weight 0 is never chosen while another has weight.
    """
    shares = [weights.get(version, 0.0) for version in eligible]
    total = sum(shares)
    if total <= 0:
        shares, total = [1.0] * len(eligible), float(len(eligible))
    threshold = draw * total
    chosen = 0
    for index, share in enumerate(shares):
        if share <= 0:
            continue
        # Also the answer if rounding leaves the threshold above the last share.
        chosen = index
        if threshold < share:
            break
        threshold -= share
    return Choice(version=eligible[chosen], propensity=shares[chosen] / total, assignment="weighted")
