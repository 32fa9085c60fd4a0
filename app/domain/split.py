"""The split: the share of the traffic that each version gets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.errors import InvalidRequest

# Above this the sum of many weights could overflow a float.
_SUM_MAY_OVERFLOW = 1e290


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights divided by their sum, in the given order.

    Raises `InvalidRequest` (its `field` names the version) unless every weight is a finite number ≥ 0 and one is
    above 0.
    """
    for version, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InvalidRequest(f"the weight of {version!r} must be a number", field=version)
        if not math.isfinite(weight) or weight < 0:
            raise InvalidRequest(f"the weight of {version!r} must be finite and not negative", field=version)
    largest = max(weights.values(), default=0)
    if largest <= 0:
        raise InvalidRequest("at least one weight must be above zero", field="weights")
    if largest > _SUM_MAY_OVERFLOW:
        weights = {version: weight / largest for version, weight in weights.items()}
    # fsum, so that the weights do not depend on the order in which versions are given.
    total = math.fsum(weights.values())
    return {version: weight / total for version, weight in weights.items()}
