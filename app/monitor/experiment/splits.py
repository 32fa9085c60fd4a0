"""The split at which chance drew the version of a request, where some versions lacked a column.

Such a request is drawn among the other versions, at their weights normalised. Requests that lack a column may be of
another population, so its draws are counted apart from those of all versions, and each pair of versions is compared on
requests alone that both could have answered. That a column is absent is known before the draw, so within requests of
one split chance still makes versions comparable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec


class Split(NamedTuple):
    """`number` is the config revision; where a version with traffic took no part, a negative number that stands for
    the revision and these versions. `shares` are the probabilities by version.
    """

    number: int
    shares: Mapping[str, float]

    @property
    def is_reduced(self) -> bool:
        """Whether a version with traffic took no part."""
        return self.number < 0

    @property
    def is_drawn(self) -> bool:
        """Whether chance had a choice, or would have had if the weights left one."""
        return not self.is_reduced or sum(share > 0 for share in self.shares.values()) > 1


def split_of(epoch: int, weights: Mapping[str, float], lacking: Collection[str]) -> Split:
    """The split of a request in a config revision with these weights; `lacking` are the versions that took no part."""
    if not lacking:
        return Split(epoch, weights)
    left_out = sorted(version for version in lacking if weights.get(version, 0.0) > 0)
    if not left_out:
        return Split(epoch, weights)
    rest = {version: weight for version, weight in weights.items() if version not in lacking}
    total = sum(rest.values())
    shares = {version: weight / total if total > 0 else 0.0 for version, weight in rest.items()}
    # A number that any replay gives again, and that a column of 64 bits holds.
    digest = blake2b(msgspec.json.encode([epoch, *left_out]), digest_size=8).digest()
    return Split(-1 - (int.from_bytes(digest) >> 1), shares)
