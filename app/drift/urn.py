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
    faded = [recent]
    for block in counts:
        faded.append(recent_after(faded[-1], block))
    return Urns(alpha=before, recent=np.stack(faded), counts=counts, bins=bins)


def block_e_values(urns: Urns, highest: np.ndarray) -> np.ndarray:
    """The e-values of the blocks: shape (bets, blocks, streams); `highest` is each stream's last bin.

    With N = Σα, c a block's counts and q the bet's mass of each bin,
    E = Π Γ(Nq+c) Γ(α) / (Γ(Nq) Γ(α+c)): two Dirichlet-multinomial likelihoods of the same total, so that its mean
    under exchangeability is exactly 1. Both are products over the block's requests: (Nq + o) / (α + o), where o
    earlier requests of the block fell into the same bin.
    """
    edges, totals = _edges(urns.alpha), urns.alpha.sum(axis=2)
    late, alpha = urns.recent[:-1].ravel(), urns.alpha.ravel()
    late_totals = urns.recent[:-1].sum(axis=2)
    here = np.arange(totals.size).reshape(totals.shape)
    first_edge, first_bin = here * (urns.alpha.shape[2] + 1), here * urns.alpha.shape[2]
    e_values, mass = np.ones((BETS, *totals.shape)), np.empty((BETS, *totals.shape))
    # Over the m positions of a block and not over requests: each step is one call for all blocks, streams and bets.
    for position in range(urns.bins.shape[1]):
        bins = urns.bins[:, position].astype(np.int64)
        earlier = (urns.bins[:, :position] == urns.bins[:, position : position + 1]).sum(axis=1)
        balls = alpha[first_bin + bins]
        mass[:TABLED] = _mass(edges, first_edge + bins)
        share, lowest, top = balls / totals, bins == 0, bins == highest
        mass[BELOW] = beyond_mass(share, lowest, BEYOND)
        mass[ABOVE] = beyond_mass(share, top, BEYOND)
        mass[FEW_BELOW] = beyond_mass(share, lowest, FEW_BEYOND)
        mass[FEW_ABOVE] = beyond_mass(share, top, FEW_BEYOND)
        mass[RECENT] = recent_mass(share, late[first_bin + bins], late_totals)
        mass *= totals
        mass += earlier
        mass /= balls + earlier
        e_values *= mass
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


def _mass(edges: tuple[np.ndarray, np.ndarray], lower: np.ndarray) -> np.ndarray:
    """The mass that each bet gives to the bins above the edges numbered `lower`: shape (bets, …)."""
    mass = _g(edges, lower + 1)
    mass -= _g(edges, lower)
    return mass


def _g(edges: tuple[np.ndarray, np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """G of every bet at the edges numbered `wanted`, read between two nodes of the table: shape (bets, …)."""
    values, rises = table()
    nodes = edges[0][wanted]
    g: np.ndarray = rises.take(nodes, axis=1)
    g *= edges[1][wanted]
    g += values.take(nodes, axis=1)
    return g
