"""Packs the answers of a block's versions, as `packing.py` says how a body has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.domain.logged_rows import AnswersPart, RowBlock
from app.domain.prediction import Outputs
from app.store.packing import NO_SHARES, NUMBER, Bytes, as_bytes

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


@np.errstate(over="ignore")
def all_answers(block: RowBlock) -> dict[str, PackedAnswers] | None:
    """The answers by version; None where some cannot be packed."""
    if len(block.answers) > _MOST_VERSIONS:
        return None
    # Together if they are alike, for a call of numpy takes as long as twenty rows.
    together = _answers(block.answers, len(block), "<f4")
    if together is not None:
        return together
    found: dict[str, PackedAnswers] = {}
    for version, parts in block.answers.items():
        alone = {version: parts}
        answers = _answers(alone, len(block), "<f4") or _answers(alone, len(block), "<f8")
        if answers is None:
            return None
        found |= answers
    return found


def served_answers(block: RowBlock, answers: Mapping[str, PackedAnswers], of: np.ndarray) -> np.ndarray:
    """What the version that served each row answered, as ids have it."""
    if len(answers) == 1 or len(block.exposures) == 1:
        return answers[block.exposures[0].version].served
    start_of = {version: at * len(block) for at, version in enumerate(answers)}
    starts = np.array([start_of[exposure.version] for exposure in block.exposures])
    served = np.concatenate([each.served for each in answers.values()])
    found: np.ndarray = served.take(starts[of] + np.arange(len(block)))
    return found


def _answers(versions: Mapping[str, Sequence[AnswersPart]], rows: int, dtype: str) -> dict[str, PackedAnswers] | None:
    """None where they are not all of one kind that numbers of this type can express."""
    outputs = [part.outputs for parts in versions.values() for part in parts]
    kinds = {*map(_kind_of, outputs)}
    if len(kinds) > 1 or None in kinds:
        return None
    [kind] = kinds
    assert kind is not None
    # The rows of all versions are one array, one version behind the other.
    places, given = _places(versions, rows)
    record = _record(kind, dtype)
    whole = (np.empty if given is None else np.zeros)(len(versions) * rows, record)
    for field in record.fields or ():
        values = _joined(outputs, field)
        narrow = values.astype(record[field].base)
        # NaN is not even itself. No minimum: a version that had no finite answer has none.
        if not (narrow == values).all() or (field == _CLASS and (narrow < 0).any()):
            return None
        if field != _CLASS and not np.isfinite(narrow).all():
            return None
        whole[field][places] = narrow
    return {
        version: _part(whole, given, kind, dtype, slice(at * rows, (at + 1) * rows))
        for at, version in enumerate(versions)
    }


_CLASS, _SHARES, _VALUE = "class_ids", "probabilities", "values"


@lru_cache(256)
def _record(kind: int, dtype: str) -> np.dtype:
    """An answer of that kind, with the names that `Outputs` has for its parts."""
    if kind == NUMBER:
        return np.dtype([(_VALUE, dtype)])
    return np.dtype([(_CLASS, "<i2"), *([] if kind == NO_SHARES else [(_SHARES, dtype, (kind,))])])


def _places(versions: Mapping[str, Sequence[AnswersPart]], rows: int) -> tuple[np.ndarray | slice, np.ndarray | None]:
    """Where the rows of all parts are in the rows of all versions, and of these which have an answer (None: all)."""
    found = [
        part.places + at * rows if at else part.places for at, parts in enumerate(versions.values()) for part in parts
    ]
    total, number = len(versions) * rows, sum(map(len, found))
    if number == total and len(found) == len(versions):
        return slice(None), None
    places = found[0] if len(found) == 1 else np.concatenate(found)
    if number == total:
        return places, None
    given = np.zeros(total, np.bool_)
    given[places] = True
    return places, given


def _part(whole: np.ndarray, given: np.ndarray | None, kind: int, dtype: str, own: slice) -> PackedAnswers:
    served = whole[_VALUE if kind == NUMBER else _CLASS][own]
    has_all = given is None or given[own].all()
    return PackedAnswers(
        dtype if kind else "<f4", kind, as_bytes(whole[own]), served, None if has_all or given is None else given[own]
    )


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
