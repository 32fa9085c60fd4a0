"""The Pólya urn of a stream: the e-value of a block of requests, given the reference and the requests before it."""

from __future__ import annotations

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


class Urns(msgspec.Struct, frozen=True):
    """The urns before each of consecutive blocks, and the blocks.

    `alpha`, shape (blocks, streams, bins), float64: gaps plus live counts before the block. `recent`, one block
    longer: faded counts before each block and after the last. `counts`: the blocks' own. `bins`, shape
    (blocks, m, streams), uint8: the bin of each request.
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
    before: np.ndarray = np.empty_like(counts)
    before[0] = alpha
    before[1:] = alpha + np.cumsum(counts[:-1] * absorbing[:, None], axis=0)
    faded = np.empty((len(counts) + 1, *recent.shape))
    faded[0] = recent
    for block, added in enumerate(counts):
        faded[block + 1] = recent_after(faded[block], added)
    return Urns(alpha=before, recent=faded, counts=counts, bins=bins)


def block_e_values(urns: Urns, highest: np.ndarray) -> np.ndarray:
    """The e-values of the blocks: shape (bets, blocks, streams); `highest` is each stream's last bin.

    With N = Σα, c a block's counts and q the bet's mass of each bin,
    E = Π Γ(Nq+c) Γ(α) / (Γ(Nq) Γ(α+c)): two Dirichlet-multinomial likelihoods of the same total, so that its mean
    under exchangeability is exactly 1. Both are products over the block's requests: (Nq + o) / (α + o), where o
    earlier requests of the block fell into the same bin.
    """
    totals = urns.alpha.sum(axis=2)
    blocks, streams, width = urns.alpha.shape
    cell = np.arange(blocks * streams).reshape(blocks, streams)
    # In the order of the requests of a block: arrays of shape (m, blocks, streams).
    bins = urns.bins.transpose(1, 0, 2).astype(np.int64)
    earlier = _earlier(urns.bins)
    own = cell * width + bins
    balls = urns.alpha.take(own)
    # Numerators are divided by N, and multiplied by it at the end: one operation for all bets.
    again = earlier / totals
    e_values = np.empty((BETS, blocks, streams))
    e_values[:TABLED] = _tabled(urns.alpha, cell * (width + 1) + bins, again)
    late = urns.recent[:-1].take(own)
    others = _other_masses(balls / totals, (bins == 0, bins == highest), (late, urns.recent[:-1].sum(axis=2)), again)
    e_values[TABLED:] = 1.0
    scale = np.ones_like(totals)
    for position in range(len(bins)):
        e_values[TABLED:] *= others[:, position]
        scale *= totals / (balls[position] + earlier[position])
    e_values *= scale
    return e_values


def block_counts(blocks: np.ndarray, bins: int) -> np.ndarray:
    """The number of requests of each block in each bin, shape (blocks, streams, bins), float64."""
    count, _, streams = blocks.shape
    cells = (np.arange(count)[:, None, None] * streams + np.arange(streams)) * bins + blocks
    counts: np.ndarray = np.bincount(cells.ravel(), minlength=count * streams * bins).reshape(count, streams, bins)
    return counts.astype(np.float64)


def _edges(urns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of all bins' edges in the bets' table, flat: node numbers, and fractions of the way to the next."""
    inside = np.zeros((*urns.shape[:2], urns.shape[2] + 1))
    np.cumsum(urns, axis=2, out=inside[:, :, 1:])
    places = positions(inside, inside[:, :, -1:]).ravel()
    nodes: np.ndarray = places.astype(np.int64)
    return nodes, places - nodes


def _tabled(alpha: np.ndarray, lower: np.ndarray, again: np.ndarray) -> np.ndarray:
    """The products over a block's requests of the tabled bets' mass of the request's bin: (`TABLED`, blocks, streams).

    `lower` are the flat numbers of the bins' lower edges, and `again` is added to the mass; shape (m, …).
    """
    nodes, fractions = _edges(alpha)
    ends = np.stack([lower, lower + 1], axis=1)
    nodes, fractions = nodes.take(ends), fractions.take(ends)[..., None]
    product: np.ndarray = np.ones((*lower.shape[1:], TABLED))
    # Over the m positions of a block and not over requests: each step is one call for all blocks, streams and bets.
    for position in range(len(lower)):
        g = _g(nodes[position], fractions[position])
        mass = g[1]
        mass -= g[0]
        mass += again[position][..., None]
        product *= mass
    return np.moveaxis(product, 2, 0)


def _g(nodes: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """G of every tabled bet at places between two nodes of the table: shape (…, `TABLED`); `fractions` end in 1."""
    values, rises = table()
    g: np.ndarray = rises.take(nodes, axis=0)
    g *= fractions
    g += values.take(nodes, axis=0)
    return g


def _other_masses(
    share: np.ndarray, ends: tuple[np.ndarray, np.ndarray], late: tuple[np.ndarray, np.ndarray], again: np.ndarray
) -> np.ndarray:
    """The mass of the other bets on every request's bin, plus `again`: shape (bets less `TABLED`, m, blocks, streams).

    `share` is the null's; `ends` say whether the bin is the first and whether it is the last; `late` are the bin's
    faded counts and their total over the bins.
    """
    mass = np.empty((BETS - TABLED, *share.shape))
    mass[BELOW - TABLED] = beyond_mass(share, ends[0], BEYOND)
    mass[ABOVE - TABLED] = beyond_mass(share, ends[1], BEYOND)
    mass[FEW_BELOW - TABLED] = beyond_mass(share, ends[0], FEW_BEYOND)
    mass[FEW_ABOVE - TABLED] = beyond_mass(share, ends[1], FEW_BEYOND)
    mass[RECENT - TABLED] = recent_mass(share, *late)
    mass += again
    return mass


def _earlier(bins: np.ndarray) -> np.ndarray:
    """How many earlier requests of its block fell into the same bin, for each request: shape (m, blocks, streams)."""
    rows = np.ascontiguousarray(bins.transpose(1, 0, 2))
    earlier = np.zeros(rows.shape, np.uint8)
    for position in range(1, len(rows)):
        np.add.reduce(rows[:position] == rows[position], axis=0, dtype=np.uint8, out=earlier[position])
    return earlier.astype(np.float64)
