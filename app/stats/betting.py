"""The wealth of a fixed mixture of bets against every difference on a grid: the core of all tests on numbers.

Model: X_t is bounded, |X_t| ≤ c_t with c_t known before X_t, and the hypothesis "the difference is δ" says
E[X_t | past] = δ. Node k bets λ = ± min(d_k s_t, b), b = .999/(c_t + |δ|), with a scale s_t known before X_t;
W_k ← W_k (1 + λ (X_t − δ)) is a non-negative martingale, and so is E_δ = Σ weight_k W_k. Promise: P(E_δ ever reaches
1/α) ≤ α under the hypothesis. Source: Waudby-Smith & Ramdas, arXiv 2010.09686.

Wealth is kept as mantissas and powers of two, which are split off exactly: nothing over- or underflows, and the
result does not depend, to the last bit, on how the outcomes are cut into batches.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

_PER_SIDE = 26
_REACH = 100
# Below 1, so that no outcome can take all of a bet's wealth: a factor is at least .001.
_CAUTION = 0.999
_GRAIN = 0.02
# How many outcomes are multiplied before mantissas and exponents are split again: .001 ** 32 is above the least float.
_CHUNK = 32
_LN2 = math.log(2.0)

# Largest first: only the first few can ever meet the cap on bets.
SIZES = np.geomspace(3.0, 0.01, _PER_SIDE)
# Geometric: dense around 0, where verdicts are made, and reaching 1 with few points.
_UPPER = np.append(_GRAIN * np.expm1(np.arange(1, _REACH) / _REACH * math.log1p(1 / _GRAIN)), 1.0)
GRID = np.concatenate((-_UPPER[::-1], [0.0], _UPPER))
ZERO = _REACH
_CAPPED = int(np.count_nonzero(SIZES > _CAUTION / 2))
SIGNED_SIZES = np.concatenate((SIZES, -SIZES))
_SIDE_WEIGHTS = np.exp(-(np.log(np.abs(SIGNED_SIZES) / 0.3) ** 2) / 2)
# Half of the wealth on each side: the test must not favour one of the versions.
WEIGHTS = _SIDE_WEIGHTS / _SIDE_WEIGHTS.sum()
FOR = SIGNED_SIZES > 0
_SHAPE = (len(SIGNED_SIZES), len(GRID))
# Written out over the grid, because numpy is slow at broadcasting single numbers along short rows.
_UNCAPPED_TABLE = np.repeat(SIZES[_CAPPED:, None], len(GRID), axis=1)
_MANTISSA, _EXPONENT = np.dtype("<f8"), np.dtype("<i4")


class Wealth(msgspec.Struct, frozen=True):
    """The wealth of every bet against every δ of `GRID`; constant memory, 125 kB.

    Row-major tables of shape (52, 201), little-endian: `mantissas` float64 in [½, 1), `exponents` int32.
    """

    mantissas: bytes
    exponents: bytes


class Bets(msgspec.Struct, frozen=True):
    """A batch of outcomes in order, each of shape (outcomes,): X, the scale s of the bets, and the bound c ≥ |X|."""

    x: np.ndarray
    scale: np.ndarray
    bound: np.ndarray


class EvidencePath(msgspec.Struct, frozen=True):
    """The evidence against "no difference" after each outcome of a batch, each of shape (outcomes,).

    `side` is 1 where the bets on the challenger hold the larger half of the wealth, −1 where the others do, 0 between.
    """

    log_e: np.ndarray
    side: np.ndarray


def initial_wealth() -> Wealth:
    """One unit in all: E = 1 against every δ."""
    mantissas, exponents = np.full(_SHAPE, 0.5, _MANTISSA), np.full(_SHAPE, 1, _EXPONENT)
    return Wealth(mantissas.tobytes(), exponents.tobytes())


def advance(wealth: Wealth, bets: Bets) -> tuple[Wealth, EvidencePath]:
    """The wealth after a batch of outcomes, and ln E at δ = 0 after each of them."""
    table, exponents = _opened(wealth)
    paths = []
    for start in range(0, len(bets.x), _CHUNK):
        part = slice(start, start + _CHUNK)
        at_zero = _multiply(table, bets.x[part], bets.scale[part], bets.bound[part])
        paths.append(_evidence(at_zero, exponents[:, ZERO]))
        # Before anything can underflow: a factor is at least .001.
        mantissas, shifts = np.frexp(table)
        table[...] = mantissas
        exponents += shifts
    log_e, side = (np.concatenate(parts) for parts in zip(*paths, strict=True)) if paths else (np.empty(0),) * 2
    return Wealth(table.tobytes(), exponents.tobytes()), EvidencePath(log_e, side)


def log_e(wealth: Wealth) -> float:
    """ln E against "no difference"."""
    table, exponents = _opened(wealth)
    return float(_evidence(table[None, :, ZERO], exponents[:, ZERO])[0][0])


def side(wealth: Wealth) -> int:
    """Which bets against "no difference" hold more wealth: 1 those on the challenger, −1 the others, 0 neither."""
    table, exponents = _opened(wealth)
    return int(_evidence(table[None, :, ZERO], exponents[:, ZERO])[1][0])


def log_wealth(wealth: Wealth) -> np.ndarray:
    """ln(weight_k W_k(δ)), shape (52, 201): rows as `SIGNED_SIZES`, columns as `GRID`."""
    table, exponents = _opened(wealth)
    logs: np.ndarray = np.log(table) + exponents * _LN2 + np.log(WEIGHTS)[:, None]
    return logs


def never_capped(reach: float) -> np.ndarray:
    """Which bets stay below the cap for all δ of each cell of the grid, shape (52, 200).

    `reach` is the largest s_t; s_t c_t ≤ 1 in every use of this module, so d ≤ .999/(1 + reach |δ|) is enough.
    """
    farthest = np.maximum(np.abs(GRID[:-1]), np.abs(GRID[1:]))
    below: np.ndarray = np.abs(SIGNED_SIZES)[:, None] <= _CAUTION / (1 + reach * farthest)
    return below


def _opened(wealth: Wealth) -> tuple[np.ndarray, np.ndarray]:
    """Copies to work on: the mantissas and the exponents."""
    mantissas = np.frombuffer(wealth.mantissas, _MANTISSA).reshape(_SHAPE)
    return mantissas.copy(), np.frombuffer(wealth.exponents, _EXPONENT).reshape(_SHAPE).copy()


def _multiply(table: np.ndarray, x: np.ndarray, scale: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Multiply the table, in place, by the factors of each outcome; its column at δ = 0 after each, (outcomes, 52)."""
    gaps = x[:, None] - GRID
    capped = _capped_gains(gaps, scale, bound)
    uncapped = gaps * scale[:, None]
    path = np.empty((len(x), _SHAPE[0]))
    gains, factors = np.empty((_PER_SIDE, len(GRID))), np.empty(_SHAPE)
    # Element by element, without a matrix product: those round differently on different machines (ADR 7).
    for at in range(len(x)):
        gains[:_CAPPED] = capped[at]
        np.multiply(_UNCAPPED_TABLE, uncapped[at], out=gains[_CAPPED:])
        np.add(1.0, gains, out=factors[:_PER_SIDE])
        np.subtract(1.0, gains, out=factors[_PER_SIDE:])
        np.multiply(table, factors, out=table)
        path[at] = table[:, ZERO]
    return path


def _capped_gains(gaps: np.ndarray, scale: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """|λ| (X − δ) of the large bets, shape (outcomes, sizes, grid)."""
    caps = _CAUTION / (bound[:, None] + np.abs(GRID))
    gains: np.ndarray = np.minimum((SIZES[:_CAPPED] * scale[:, None])[:, :, None], caps[:, None, :])
    gains *= gaps[:, None, :]
    return gains


def _evidence(at_zero: np.ndarray, exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln E and the leading side from the wealth at δ = 0, shape (outcomes, 52), times 2^exponents."""
    top = int(exponents.max())
    held = at_zero * np.ldexp(WEIGHTS, exponents - top)
    mantissas, shifts = np.frexp(held.sum(axis=1))
    log_es: np.ndarray = np.log(mantissas) + (shifts + top) * _LN2
    return log_es, np.sign((held * np.sign(SIGNED_SIZES)).sum(axis=1))
