"""The Pólya urn of a stream: the e-value of a block of requests, given the reference and the requests before it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from app.drift.bets import (
    ABOVE,
    BELOW,
    BETS,
    BEYOND,
    FEW_ABOVE,
    FEW_BELOW,
    FEW_BEYOND,
    RECENT,
    TABLED,
    beyond_mass,
    positions,
    recent_after,
    recent_mass,
    table,
)

# The bets on values beyond all known ones, below and above, with the share of the requests that they expect there.
_BEYOND: Final = (((BELOW, ABOVE), BEYOND), ((FEW_BELOW, FEW_ABOVE), FEW_BEYOND))


class Urns(msgspec.Struct, frozen=True):
    """The urns before each of consecutive blocks, and the blocks.

    `alpha`, shape (blocks, streams, bins), float64: gaps plus live counts before the block. `recent`, one block
    longer: faded counts before each block and after the last. `counts`: the blocks' own. `bins`, shape
    (m, blocks, streams), uint8: the bin of each request.
    """

    alpha: np.ndarray
    recent: np.ndarray
    counts: np.ndarray
    bins: np.ndarray


def urns_before(alpha: np.ndarray, recent: np.ndarray, bins: np.ndarray, absorbing: np.ndarray) -> Urns:
    """The urns before each block of `bins`, from the two arrays before the first, shape (streams, bins).

    A stream that is not `absorbing` keeps its alpha: its requests do not count as normal.
    """
    counts = block_counts(bins, alpha.shape[1])
    learnt = counts if absorbing.all() else counts * absorbing[:, None]
    before = np.empty_like(counts)
    before[0] = alpha
    for block, added in enumerate(learnt[:-1]):
        np.add(before[block], added, out=before[block + 1])
    return Urns(alpha=before, recent=recent_after(recent, counts), counts=counts, bins=bins)


def block_e_values(urns: Urns, highest: np.ndarray) -> np.ndarray:
    """The e-values of the blocks: shape (blocks, bets, streams); `highest` is each stream's last bin.

    With N = Σα, c a block's counts and q the bet's mass of each bin,
    E = Π Γ(Nq+c) Γ(α) / (Γ(Nq) Γ(α+c)): two Dirichlet-multinomial likelihoods of the same total, so that its mean
    under exchangeability is exactly 1. Both are products over the block's requests: (Nq + o) / (α + o), where o
    earlier requests of the block fell into the same bin.
    """
    blocks, streams, width = urns.alpha.shape
    bins, recent = urns.bins, urns.recent[:-1]
    # Arrays of shape (m, blocks, streams).
    own = np.arange(0, blocks * streams * width, width).reshape(blocks, streams) + bins
    upper, balls = _cumulated(urns.alpha), urns.alpha.take(own)
    totals = np.ascontiguousarray(upper[:, :, -1])
    # Of the lower and the upper edge of each request's bin.
    below = np.empty((len(own), 2, blocks, streams))
    below[:, 1] = upper.take(own)
    np.subtract(below[:, 1], balls, out=below[:, 0])
    earlier = _earlier(bins)
    share, again = balls / totals, earlier / totals
    # Numerators are divided by N, and multiplied by it at the end: one operation for all bets.
    balls += earlier
    scale = _product(np.divide(totals, balls, out=balls))
    e_values = np.empty((blocks, BETS, streams))
    e_values[:, :TABLED] = _tabled(positions(below, totals), again).swapaxes(1, 2)
    ends = bins == 0, bins == highest.astype(np.uint8)
    for bets, expected in _BEYOND:
        common = _product((1 - expected) * share + again)
        for bet, outermost in zip(bets, ends, strict=True):
            e_values[:, bet] = _beyond(common, share, outermost, again, expected)
    late = recent_mass(share, recent.take(own), recent.sum(axis=2))
    e_values[:, RECENT] = _product(np.add(late, again, out=late))
    e_values *= scale[:, None]
    return e_values


def block_counts(bins: np.ndarray, width: int) -> np.ndarray:
    """The number of requests of each block in each of `width` bins, shape (blocks, streams, width), float64.

    `bins` has shape (m, blocks, streams).
    """
    _, blocks, streams = bins.shape
    cells = np.arange(0, blocks * streams * width, width).reshape(blocks, streams) + bins
    counts: np.ndarray = np.bincount(cells.ravel(), minlength=blocks * streams * width)
    return counts.reshape(blocks, streams, width).astype(np.float64)


def _tabled(places: np.ndarray, again: np.ndarray) -> np.ndarray:
    """The products over a block's requests of the tabled bets' mass of the request's bin: (blocks, streams, `TABLED`).

    `places` in the bets' table are those of the lower and upper edges of the bins, shape (m, 2, blocks, streams), and
    `again` is added to the mass.
    """
    values, rises = table()
    whole = np.floor(places)
    nodes, fractions = whole.astype(np.intp), np.subtract(places, whole, out=whole)
    shape = (*again.shape[1:], TABLED)
    product, g, value = np.ones(shape), np.empty((2, *shape)), np.empty((2, *shape))
    # Over the m positions of a block and not over requests: each step is one call for all blocks, streams and bets.
    for at, fraction, more in zip(nodes, fractions, again, strict=True):
        rises.take(at, axis=0, out=g, mode="clip")
        g *= _for_each_bet(fraction)
        values.take(at, axis=0, out=value, mode="clip")
        g += value
        mass = np.subtract(g[1], g[0], out=g[1])
        mass += _for_each_bet(more)
        product *= mass
    return product


def _for_each_bet(numbers: np.ndarray) -> np.ndarray:
    """Each number as often as there are tabled bets, in a further axis."""
    # As they lie in memory: to stretch an axis within the arithmetic takes twice as long.
    return np.repeat(numbers.ravel(), TABLED).reshape(*numbers.shape, TABLED)


def _beyond(
    common: np.ndarray, share: np.ndarray, outermost: np.ndarray, again: np.ndarray, expected: float
) -> np.ndarray:
    """The product over a block's requests of the mass of a bet on values beyond all known ones.

    It is the `common` one of all such bets, but for the few blocks with a request in the `outermost` bin.
    """
    cells = np.flatnonzero(outermost.any(axis=0))
    own, at_end, more = (each.reshape(len(each), -1).take(cells, axis=1) for each in (share, outermost, again))
    product = common.copy()
    product.put(cells, _product(beyond_mass(own, at_end, expected) + more))
    return product


def _cumulated(urns: np.ndarray) -> np.ndarray:
    """The sums of each urn's bins from the first one on; NumPy's own function takes three times as long."""
    upper = urns.copy()
    for place in range(1, urns.shape[2]):
        upper[:, :, place] += upper[:, :, place - 1]
    return upper


def _product(factors: np.ndarray) -> np.ndarray:
    """The product over the first axis, in its order whatever the shape; `factors` are used up."""
    product: np.ndarray = factors[0]
    for each in factors[1:]:
        product *= each
    return product


def _earlier(bins: np.ndarray) -> np.ndarray:
    """How many earlier requests of its block fell into the same bin, for each request: shape (m, blocks, streams)."""
    earlier = np.zeros(bins.shape, np.uint8)
    for position in range(1, len(bins)):
        same = (bins[:position] == bins[position]).view(np.uint8)
        np.add.reduce(same, axis=0, dtype=np.uint8, out=earlier[position])
    return earlier.astype(np.float64)
