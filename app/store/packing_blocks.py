"""Packs blocks of columns as `packing.py` packs rows, which says how a body is made; no text is made on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from app.domain.logged_rows import AnswersPart, RowBlock
from app.domain.prediction import Exposure, Outputs
from app.domain.prediction_id import RAW_LENGTH, raw_ids
from app.store.forms import Form
from app.store.packing import (
    ANSWER,
    CLASS_END,
    KEY,
    LATENCY_END,
    MARKS,
    NO_SHARES,
    NUMBER,
    REST,
    TAG,
    TIME_LENGTH,
    USER,
    USER_END,
    Bytes,
    as_bytes,
    as_float32,
    narrowed,
)
from app.store.request_ids import bytes_of_requests, request_keys

_MOST_VERSIONS = 60  # a bit each in an int64
_TIME_END, _MARKS_END = 2 ** (8 * TIME_LENGTH), 2**64
_OF_EXPOSURE = attrgetter("version", "chosen", "assignment", "epoch", "propensity", "counts", "synthetic")
# What rows of one form share: the exposure's and the kind of their requests' ids, the marks of their ids (None: each
# has its own), which versions answered, and which failed.
_Shared: TypeAlias = tuple[tuple[Any, ...], int | None, int, tuple[str, ...]]


class PackedRows(NamedTuple):
    """Rows of one form to write: their places in the block, ascending, and by row columns of `log` (arrays of objects).

    No object is made for a row: in large batches, these would cost more than the packing.
    """

    form: Form
    places: np.ndarray
    keys: np.ndarray
    request_keys: np.ndarray
    bodies: np.ndarray


class _Answers(NamedTuple):
    """A version's answers: type and kind as in a form, by row the bytes, what ids say, and whether there is one."""

    dtype: str
    kind: int
    body: Bytes
    served: np.ndarray
    given: np.ndarray


class _Columns(NamedTuple):
    """Parts of the bodies of a block, by row, with what they have in common."""

    ids: Bytes
    requests: Bytes
    users: Bytes
    latencies: Bytes
    features: Bytes
    numbers: str
    digits: int
    columns: int
    answers: Mapping[str, _Answers]
    found_by: np.ndarray


def packed_block(block: RowBlock) -> list[PackedRows] | None:
    """The rows of the block by form; None where one of them cannot be packed as a row of numbers."""
    exposures = block.exposures
    raw = raw_ids([each for exposure in exposures for each in exposure.prediction_ids])
    answers = {version: _answers(parts, len(block)) for version, parts in block.answers.items()}
    latencies = [round(exposure.latency_s * 1e6) for exposure in exposures]
    users, times = [each.user_hash for each in exposures], [each.served_at_us for each in exposures]
    known = {version: found for version, found in answers.items() if found is not None}
    if (
        raw is None
        or len(known) < len(answers)
        or len(known) > _MOST_VERSIONS
        or not (_are_within(latencies, LATENCY_END) and _are_within(users, USER_END) and _are_within(times, _TIME_END))
    ):
        return None
    # The exposure of each row.
    of = np.repeat(np.arange(len(exposures)), [len(exposure) for exposure in exposures])
    ids = np.frombuffer(raw, np.uint8).reshape(-1, RAW_LENGTH)
    if not np.array_equal(ids[:, :TIME_LENGTH], as_bytes(np.array(times, ">u8"))[of, -TIME_LENGTH:]):
        return None
    request_ids = [exposure.request_id for exposure in exposures]
    kinds, requests = bytes_of_requests(request_ids)
    numbers, digits, features = narrowed(_with_nulls(block.features))
    columns = _Columns(
        ids,
        requests[of],
        as_bytes(np.array(users, ">u8"))[of, 2:],
        as_bytes(np.array(latencies, "<u4"))[of],
        as_bytes(features),
        numbers,
        digits,
        block.features.shape[1],
        known,
        np.array(request_keys(request_ids, kinds, requests, times), np.object_)[of],
    )
    return [*_packed(block, columns, _groups(block, columns, kinds, of), of)]


def _are_within(numbers: Sequence[int], end: int) -> bool:
    return min(numbers) >= 0 and max(numbers) < end


def _with_nulls(features: np.ndarray) -> np.ndarray:
    """The features as float64; what JSON has no number for is null."""
    values = features.astype(np.float64, copy=False)
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def _answers(parts: Sequence[AnswersPart], rows: int) -> _Answers | None:
    """None where they are not all of one kind that can be packed."""
    kinds = {_kind_of(part.outputs) for part in parts}
    if len(kinds) > 1 or None in kinds:
        return None
    [kind] = kinds
    assert kind is not None
    given = np.zeros(rows, np.bool_)
    for part in parts:
        given[part.places] = True
    bodies, served, dtype = [], np.zeros(rows), "<f4"
    if kind != NUMBER:
        served = _spread(parts, "class_ids", rows)
        if served.min() < 0 or served.max() >= CLASS_END:
            return None
        bodies.append(as_bytes(served.astype("<i2")))
    if kind != NO_SHARES:
        values = _spread(parts, "values" if kind == NUMBER else "probabilities", rows)
        if not np.isfinite(values).all():
            return None
        narrow = values if values.dtype == np.float32 else as_float32(values)
        dtype = "<f8" if narrow is None else "<f4"
        served = values if kind == NUMBER else served
        bodies.append(as_bytes((values if narrow is None else narrow).astype(dtype, copy=False)))
    return _Answers(dtype, kind, bodies[0] if len(bodies) == 1 else np.concatenate(bodies, axis=1), served, given)


def _kind_of(outputs: Outputs) -> int | None:
    """How many shares of classes there are, as a form says it."""
    if outputs.values is not None:
        return NUMBER if outputs.values.ndim == 1 else None
    if outputs.class_ids is None or outputs.class_ids.ndim != 1:
        return None
    if outputs.probabilities is None:
        return NO_SHARES
    return outputs.probabilities.shape[1] or None if outputs.probabilities.ndim == 2 else None


def _spread(parts: Sequence[AnswersPart], name: str, rows: int) -> np.ndarray:
    """One array of all parts, with zeros in the other rows."""
    arrays: list[np.ndarray] = [getattr(part.outputs, name) for part in parts]
    if len(parts) == 1 and len(parts[0].places) == rows:
        return arrays[0]
    whole = np.zeros((rows, *arrays[0].shape[1:]), np.result_type(*arrays))
    for part, array in zip(parts, arrays, strict=True):
        whole[part.places] = array
    return whole


def _groups(block: RowBlock, columns: _Columns, kinds: Sequence[str], of: np.ndarray) -> dict[_Shared, np.ndarray]:
    """The places of the rows of each form."""
    numbers: dict[tuple[Any, ...], int] = {}
    shared = [
        numbers.setdefault((*_OF_EXPOSURE(each), each.user_hash != 0, kind), len(numbers))
        for each, kind in zip(block.exposures, kinds, strict=True)
    ]
    marks = np.ascontiguousarray(columns.ids[:, MARKS]).view(">i8")[:, 0].astype(np.int64)
    plain = _are_plain(block, columns, of)
    answered = np.zeros(len(block), np.int64)
    for number, each in enumerate(columns.answers.values()):
        answered += each.given.astype(np.int64) << number
    failures: dict[tuple[str, ...], int] = {(): 0}
    failed = np.zeros(len(block), np.int64)
    for place, versions in block.failed.items():
        failed[place] = failures.setdefault(tuple(versions), len(failures))
    facts = np.stack([np.array(shared)[of], np.where(plain, marks, 0), plain, answered, failed], axis=1)
    exposures, failing = [*numbers], [*failures]
    groups = {}
    for places in _alike(facts):
        number, mark, is_plain, who, which = facts[places[0]].tolist()
        groups[exposures[number], mark % _MARKS_END if is_plain else None, who, failing[which]] = places
    return groups


def _alike(facts: np.ndarray) -> Iterator[np.ndarray]:
    """The places of equal rows. A pass for each kind: there are few, and a step of Python for each row costs more."""
    left = np.arange(len(facts))
    while len(left):
        same = (facts[left] == facts[left[0]]).all(axis=1)
        yield left[same]
        left = left[~same]


def _are_plain(block: RowBlock, columns: _Columns, of: np.ndarray) -> np.ndarray:
    """Whether each id says nothing but what the form, the user and the answer of the version say."""
    versions = [exposure.version for exposure in block.exposures]
    served = np.zeros(len(block), ">f8")
    for version in set(versions):
        own = np.array([each == version for each in versions])[of]
        served[own] = columns.answers[version].served[own]
    users = (columns.ids[:, USER] == columns.users).all(axis=1)
    return np.asarray(users & (columns.ids[:, ANSWER] == as_bytes(served)).all(axis=1))


def _packed(
    block: RowBlock, columns: _Columns, groups: Mapping[_Shared, np.ndarray], of: np.ndarray
) -> Iterator[PackedRows]:
    for shared, places in groups.items():
        own, marks, who, _ = shared
        version, has_user, request = own[0], own[-2], own[-1]
        given = [name for number, name in enumerate(columns.answers) if who >> number & 1 and name != version]
        answers = {name: columns.answers[name] for name in (version, *given)}
        parts = [columns.requests] if request != "text" else []
        parts.append(columns.ids[:, REST if marks is None else TAG])
        parts += [columns.users, columns.latencies] if has_user else [columns.latencies]
        parts += [columns.features, *(each.body for each in answers.values())]
        bodies = _as_objects(np.concatenate([part[places] for part in parts], axis=1))
        if request == "text":
            ids = [block.exposures[at].request_id for at in of[places].tolist()]
            bodies += np.array([msgspec.json.encode([each]) for each in ids], np.object_)
        form = _form(block.exposures[of[places[0]]], shared, columns, answers)
        keys = _as_objects(columns.ids[places, KEY])
        yield PackedRows(form, places, keys, columns.found_by[places], bodies)


def _as_objects(rows: Bytes) -> np.ndarray:
    """The bytes of each row as one object."""
    whole = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}")[:, 0]
    found: np.ndarray = whole.astype(np.object_)
    return found


def _form(first: Exposure, shared: _Shared, columns: _Columns, answers: Mapping[str, _Answers]) -> Form:
    own, marks, _, failed = shared
    version, chosen, assignment, epoch, propensity, counts, synthetic, has_user, request = own
    layout = first.layout.logged_for(first.version)
    return Form(
        version,
        chosen,
        assignment,
        epoch,
        propensity,
        counts,
        synthetic,
        None if layout is None else layout.id,
        msgspec.json.encode(failed).decode() if failed else None,
        first.layout.lacking_text,
        "" if marks is None else marks.to_bytes(8).hex(),
        has_user,
        request,
        columns.columns,
        (),
        columns.numbers,
        columns.digits,
        tuple((name, each.dtype, each.kind) for name, each in answers.items()),
    )
