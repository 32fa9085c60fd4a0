"""Packs the answers of a block's versions, as `packing.py` says how a body has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.domain.logged_rows import AnswersPart, RowBlock
from app.domain.prediction import Outputs
from app.store.packing import CLASS_END, NO_SHARES, NUMBER, Bytes, as_bytes

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
    # Together if they are alike, for a call of numpy takes as long as twenty rows.
    alike: dict[int, dict[str, Sequence[AnswersPart]]] = {}
    for version, parts in block.answers.items():
        kinds = {_kind_of(part.outputs) for part in parts}
        kind = kinds.pop()
        if kinds or kind is None:
            return None
        alike.setdefault(kind, {})[version] = parts
    found: dict[str, PackedAnswers] = {}
    for kind, versions in alike.items():
        answers = _answers(kind, versions, len(block))
        if answers is None:
            return None
        found |= answers
    return {version: found[version] for version in block.answers}


def served_answers(block: RowBlock, answers: Mapping[str, PackedAnswers], of: np.ndarray) -> np.ndarray:
    """What the version that served each row answered, as ids have it."""
    if len(answers) == 1 or len(block.exposures) == 1:
        return answers[block.exposures[0].version].served
    start_of = {version: at * len(block) for at, version in enumerate(answers)}
    starts = np.array([start_of[exposure.version] for exposure in block.exposures])
    served = np.concatenate([each.served for each in answers.values()])
    found: np.ndarray = served.take(starts[of] + np.arange(len(block)))
    return found


@np.errstate(over="ignore")
def _answers(kind: int, versions: Mapping[str, Sequence[AnswersPart]], rows: int) -> dict[str, PackedAnswers] | None:
    """The answers of one kind by version; None where some cannot be packed."""
    outputs = [part.outputs for parts in versions.values() for part in parts]
    values: dict[str, np.ndarray] = {field: _joined(outputs, field) for field in _record(kind, "<f4").names or ()}
    fits = np.array(True)
    for field, given in values.items():
        if field != _CLASS:
            fits = given.astype("<f4") == given
            if not np.isfinite(given).all():
                return None
        # A version that had no finite answer has no minimum.
        elif given.min(initial=0) < 0 or given.max(initial=0) >= CLASS_END:
            return None
    has_narrow = fits.all()
    found, start = {}, 0
    for version, parts in versions.items():
        places = parts[0].places if len(parts) == 1 else np.concatenate([part.places for part in parts])
        own = slice(start, start := start + len(places))
        dtype = "<f4" if has_narrow or fits[own].all() else "<f8"
        has_all = len(places) == rows
        whole = (np.empty if has_all else np.zeros)(rows, _record(kind, dtype))
        for field, given in values.items():
            whole[field][places] = given[own]
        found[version] = PackedAnswers(
            dtype,
            kind,
            as_bytes(whole),
            whole[_VALUE if kind == NUMBER else _CLASS],
            None if has_all else _mask(places, rows),
        )
    return found


_CLASS, _SHARES, _VALUE = "class_ids", "probabilities", "values"


@lru_cache(256)
def _record(kind: int, dtype: str) -> np.dtype:
    """An answer of that kind, with the names that `Outputs` has for its parts."""
    if kind == NUMBER:
        return np.dtype([(_VALUE, dtype)])
    return np.dtype([(_CLASS, "<i2"), *([] if kind == NO_SHARES else [(_SHARES, dtype, (kind,))])])


def _mask(places: np.ndarray, rows: int) -> np.ndarray:
    given = np.zeros(rows, np.bool_)
    given[places] = True
    return given


def _joined(outputs: Sequence[Outputs], field: str) -> np.ndarray:
    arrays: list[np.ndarray] = [getattr(each, field) for each in outputs]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _kind_of(outputs: Outputs) -> int | None:
    """How many shares of classes there are, as a form says it."""
    if outputs.values is not None:
        return NUMBER if outputs.values.ndim == 1 else None
    if outputs.class_ids is None or outputs.class_ids.ndim != 1:
        return None
    if outputs.probabilities is None:
        return NO_SHARES
    return outputs.probabilities.shape[1] or None if outputs.probabilities.ndim == 2 else None
