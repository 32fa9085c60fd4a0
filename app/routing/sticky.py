"""The same version for the same user, by weighted rendezvous: each version draws a time from the user, the first wins.

Version i of weight w gets the time -ln(u)/w, u uniform on (0, 1) from a hash of user and version: exponential of rate
w, so that i is the first with probability w / Σw exactly. A change of one weight changes one version's time alone.
What is guaranteed when weights change: docs/adr/0012-sticky-by-weighted-rendezvous.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log

from app.routing import weighted
from app.routing.choice import Choice

_HASH_BYTES = 8
# 53 bits, as many as a float holds: more could round up to 1, whose time would be 0 for every weight.
_UNIT = 2.0**-53


def choose(weights: Mapping[str, float], eligible: Sequence[str], draw: float, user_hash: int) -> Choice:
    """The user's version among the eligible, with its share as the probability; for no user (0) a weighted draw.

    The user's hash is salted, so nobody outside can predict a user's version. If no eligible version has weight, they
    share equally.
    """
    if not user_hash:
        return weighted.choose(weights, eligible, draw, user_hash)
    shares = [weights.get(version, 0.0) for version in eligible]
    total = sum(shares)
    if total <= 0:
        shares, total = [1.0] * len(eligible), float(len(eligible))
    key = user_hash.to_bytes(_HASH_BYTES, "big")
    first, earliest = 0, float("inf")
    for index, share in enumerate(shares):
        # A version of weight 0 costs no hash, and its time would be infinite.
        if share > 0:
            time = exponential(key, eligible[index]) / share
            if time < earliest:
                first, earliest = index, time
    return Choice(version=eligible[first], propensity=shares[first] / total, assignment="sticky")


def exponential(key: bytes, version: str) -> float:
    """An exponential number of rate 1 that belongs to the user of `key` and to `version`: 53 hashed bits, never 0."""
    number = int.from_bytes(blake2b(version.encode(), key=key, digest_size=_HASH_BYTES).digest(), "big")
    return -log(((number >> 11) + 0.5) * _UNIT)
