"""Packs blocks of columns as `packing.py` packs rows, which says how a body is made; no text is made on the way.

A block often has some tens of rows: then what counts is how often numpy is called, which takes a microsecond each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.logged_rows import RowBlock
from app.domain.prediction_id import RAW_LENGTH, raw_ids
from app.store.forms import Form, PackedBlock
from app.store.packing import (
    ANSWER,
    KEY,
    MARKS,
    REST,
    TAG,
    USER,
    USER_END,
    Bytes,
    as_bytes,
    narrowed,
)
from app.store.packing_answers import PackedAnswers, all_answers, served_answers
from app.store.request_ids import bytes_of_requests, request_keys

# The bytes of an id as numbers. `time` has one byte too many behind it, and `user` two before it.
_ID = np.dtype(
    {
        "names": ["time", "marks", "user", "answer"],
        "formats": [">u8", ">i8", ">u8", ">u8"],
        "offsets": [0, MARKS.start, USER.stop - 8, ANSWER.start],
        "itemsize": RAW_LENGTH,
    }
)


class _Columns(NamedTuple):
    """Parts of the bodies of a block, by row, with what they have in common.

    `of` is the exposure of each row, `requests` how the id of each exposure's request is written. `marks` are those of
    the ids; `plain` has the rows whose ids say nothing but what the form, the user and the answer of the version say.
    """

    of: np.ndarray
    ids: Bytes
    requests: Sequence[str]
    request_bytes: Bytes
    users: Bytes
    latencies: Bytes
    features: Bytes
    numbers: str
    digits: int
    answers: Mapping[str, PackedAnswers]
    marks: np.ndarray
    plain: np.ndarray


def packed_block(block: RowBlock) -> PackedBlock | None:
    """The rows of the block; None where one of them cannot be packed as a row of numbers."""
    exposures, rows = block.exposures, len(block)
    # A part of one batch has the bytes of its ids already.
    ids_of = [exposure.prediction_ids for exposure in exposures]
    raw = raw_ids(ids_of[0] if len(ids_of) == 1 else [*chain.from_iterable(ids_of)])
    answers = all_answers(block)
    if raw is None or answers is None:
        return None
    try:
        # Negative numbers, and those that are too large, are errors.
        times = np.array([each.served_at_us for each in exposures], np.uint64)
        users = np.array([each.user_hash for each in exposures], np.uint64)
        latencies = np.array([round(each.latency_s * 1e6) for each in exposures], "<u4")
    except OverflowError:
        return None
    of = np.arange(rows)
    spread: slice | np.ndarray = slice(None)
    if len(exposures) < rows:
        spread = of = np.repeat(np.arange(len(exposures)), [len(exposure) for exposure in exposures])
    ids = np.frombuffer(raw, _ID)
    if not (ids["time"] >> 8 == times[spread]).all() or int(users.max()) >= USER_END:
        return None
    request_ids = [exposure.request_id for exposure in exposures]
    kinds, requests = bytes_of_requests(request_ids)
    found_by = request_keys(request_ids, kinds, requests, times)
    numbers, digits, features = narrowed(_with_nulls(block.features))
    plain = _are_plain(ids, users[spread], served_answers(block, answers, of))
    columns = _Columns(
        of,
        np.frombuffer(raw, np.uint8).reshape(rows, RAW_LENGTH),
        kinds,
        requests[spread],
        as_bytes(users.astype(">u8"))[spread, 2:],
        as_bytes(latencies)[spread],
        as_bytes(features),
        numbers,
        digits,
        answers,
        ids["marks"] if plain.all() else np.where(plain, ids["marks"], 0),
        plain,
    )
    forms, form_of, bodies, lengths = _packed(block, columns)
    return PackedBlock(
        forms,
        form_of,
        columns.ids[:, KEY],
        found_by if len(exposures) == rows else [found_by[at] for at in of.tolist()],
        block.own_keys,
        bodies,
        lengths,
    )


def _with_nulls(features: np.ndarray) -> np.ndarray:
    """The features as float64; what JSON has no number for is null."""
    values = features.astype(np.float64, copy=False)
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def _packed(block: RowBlock, columns: _Columns) -> tuple[list[Form], np.ndarray, Bytes, np.ndarray]:
    """The forms of the rows, and by row which one it has, its body, and how long that is."""
    forms: list[Form] = []
    parts: list[tuple[np.ndarray, Bytes]] = []
    form_of, lengths = np.zeros((2, len(block)), np.intp)
    heads: dict[tuple[bool, bool, bool], Bytes] = {}
    for places in _alike(block, columns):
        form = _form(block, columns, int(places[0]))
        head = form.request != "text", form.marks != "", form.user
        if head not in heads:
            heads[head] = _heads(columns, *head)
        form_of[places] = len(forms)
        forms.append(form)
        own = [heads[head], *(columns.answers[version].body for version, _, _ in form.answers)]
        whole = np.concatenate([each.take(places, 0) for each in own], axis=1)
        lengths[places] = whole.shape[1]
        if form.request == "text":
            ids = [block.exposures[at].request_id for at in columns.of[places].tolist()]
            behind = [msgspec.json.encode([each]) for each in ids]
            lengths[places] += [*map(len, behind)]
            whole = np.concatenate([whole, as_bytes(np.array(behind))], axis=1)
        parts.append((places, whole))
    bodies = np.zeros((len(block), max(whole.shape[1] for _, whole in parts)), np.uint8)
    for places, whole in parts:
        bodies[places, : whole.shape[1]] = whole
    return forms, form_of, bodies, lengths


def _heads(columns: _Columns, is_short: bool, is_plain: bool, has_user: bool) -> Bytes:
    """What precedes the answers in the bodies of all rows, as those of such a form have it."""
    parts = [columns.request_bytes] if is_short else []
    parts.append(columns.ids[:, TAG if is_plain else REST])
    parts += [columns.users, columns.latencies] if has_user else [columns.latencies]
    return np.concatenate([*parts, columns.features], axis=1)


def _alike(block: RowBlock, columns: _Columns) -> Iterator[np.ndarray]:
    """The places of rows of one form, for each form."""
    facts = _facts(block, columns)
    single = len(block.exposures) == len(block)
    marks: Iterable[int] = columns.marks.tolist() if single else repeat(0)
    numbers: dict[object, int] = {}
    shared = [
        numbers.setdefault(
            (
                each.version,
                each.chosen,
                each.assignment,
                each.epoch,
                each.propensity,
                each.counts,
                each.synthetic,
                each.user_hash != 0,
                kind,
                mark,
            ),
            len(numbers),
        )
        for each, kind, mark in zip(block.exposures, columns.requests, marks, strict=False)
    ]
    number_of = np.array(shared)[columns.of]
    for number in range(len(numbers)):
        (places,) = (number_of == number).nonzero()
        yield from _parted(places, facts)


def _facts(block: RowBlock, columns: _Columns) -> list[np.ndarray]:
    """Numbers by row, which are the same in rows of one form, beside what their exposures and the marks have."""
    facts: list[np.ndarray] = []
    if not columns.plain.all():
        facts.append(columns.plain)
    if len(block.exposures) < len(block):
        facts.append(columns.marks)
    partly = [each.given for each in columns.answers.values() if each.given is not None]
    if partly:
        facts += [np.array(partly).T.dot(1 << np.arange(len(partly)))]
    if block.failed:
        failures: dict[tuple[str, ...], int] = {(): 0}
        failed = np.zeros(len(block), np.int64)
        for place, versions in block.failed.items():
            failed[place] = failures.setdefault(tuple(versions), len(failures))
        facts.append(failed)
    return facts


def _parted(places: np.ndarray, facts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The places by equal facts. A pass for each kind: there are few, and a step of Python for each row costs more."""
    if not facts:
        yield places
        return
    values = facts[0].take(places)
    while len(places):
        same = values == values[0]
        yield from _parted(places[same], facts[1:])
        places, values = places[~same], values[~same]


def _are_plain(ids: np.ndarray, users: np.ndarray, served: np.ndarray) -> np.ndarray:
    """Whether each id says nothing but what the form, the user and the answer of the version say."""
    said: np.ndarray = (ids["user"] & (USER_END - 1) == users) & (ids["answer"] == served.astype(">f8").view(">u8"))
    return said


def _form(block: RowBlock, columns: _Columns, place: int) -> Form:
    """The form of the row at a place."""
    at = int(columns.of[place])
    first = block.exposures[at]
    failed = block.failed.get(place)
    given = [
        version
        for version, each in columns.answers.items()
        if version != first.version and (each.given is None or each.given[place])
    ]
    layout = first.layout.logged_for(first.version)
    return Form(
        first.version,
        first.chosen,
        first.assignment,
        first.epoch,
        first.propensity,
        first.counts,
        first.synthetic,
        None if layout is None else layout.id,
        msgspec.json.encode(failed).decode() if failed else None,
        first.layout.lacking_text,
        columns.ids[place, MARKS].tobytes().hex() if columns.plain[place] else "",
        first.user_hash != 0,
        columns.requests[at],
        block.features.shape[1],
        (),
        columns.numbers,
        columns.digits,
        tuple(
            (version, columns.answers[version].dtype, columns.answers[version].kind)
            for version in (first.version, *given)
        ),
    )
