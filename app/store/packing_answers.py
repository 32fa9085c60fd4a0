"""Packs the answers of a block's versions, as `packing.py` says how a body has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.domain.logged_rows import AnswersPart, RowBlock
from app.domain.prediction import Outputs
from app.store.packing import CLASS_END, NO_SHARES, NUMBER, Bytes, as_bytes, as_float32

_MOST_VERSIONS = 60  # a bit each in an int64


class PackedAnswers(NamedTuple):
    """A version's answers: type and kind as in a form, by row the bytes, what ids say, and whether there is one.

    `given` is None where all rows have one.
    """

    dtype: str
    kind: int
    body: Bytes
    served: np.ndarray
    given: np.ndarray | None


def all_answers(block: RowBlock) -> dict[str, PackedAnswers] | None:
    """The answers by version; None where some cannot be packed."""
    if len(block.answers) > _MOST_VERSIONS:
        return None
    found = {}
    for version, parts in block.answers.items():
        answers = _answers(parts, len(block))
        if answers is None:
            return None
        found[version] = answers
    return found


def _answers(parts: Sequence[AnswersPart], rows: int) -> PackedAnswers | None:
    """None where they are not all of one kind that can be packed."""
    kinds = {_kind_of(part.outputs) for part in parts}
    if len(kinds) > 1 or None in kinds:
        return None
    [kind] = kinds
    assert kind is not None
    places = parts[0].places if len(parts) == 1 else np.concatenate([part.places for part in parts])
    given = None
    if len(places) < rows:
        given = np.zeros(rows, np.bool_)
        given[places] = True
    bodies, served, dtype = [], np.zeros(rows), "<f4"
    if kind != NUMBER:
        served = _spread(parts, places, "class_ids", rows)
        if served.min() < 0 or served.max() >= CLASS_END:
            return None
        bodies.append(as_bytes(served.astype("<i2")))
    if kind != NO_SHARES:
        values = _spread(parts, places, "values" if kind == NUMBER else "probabilities", rows)
        if not np.isfinite(values).all():
            return None
        narrow = values if values.dtype == np.float32 else as_float32(values)
        dtype = "<f8" if narrow is None else "<f4"
        served = values if kind == NUMBER else served
        bodies.append(as_bytes((values if narrow is None else narrow).astype(dtype, copy=False)))
    return PackedAnswers(dtype, kind, bodies[0] if len(bodies) == 1 else np.concatenate(bodies, axis=1), served, given)


def _kind_of(outputs: Outputs) -> int | None:
    """How many shares of classes there are, as a form says it."""
    if outputs.values is not None:
        return NUMBER if outputs.values.ndim == 1 else None
    if outputs.class_ids is None or outputs.class_ids.ndim != 1:
        return None
    if outputs.probabilities is None:
        return NO_SHARES
    return outputs.probabilities.shape[1] or None if outputs.probabilities.ndim == 2 else None


def _spread(parts: Sequence[AnswersPart], places: np.ndarray, name: str, rows: int) -> np.ndarray:
    """One array of all parts, which have these places, with zeros in the other rows."""
    arrays: list[np.ndarray] = [getattr(part.outputs, name) for part in parts]
    if len(parts) == 1 and len(places) == rows:
        return arrays[0]
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    whole = (np.empty if len(places) == rows else np.zeros)((rows, *joined.shape[1:]), joined.dtype)
    whole[places] = joined
    return whole
