"""Packs blocks of columns as `packing.py` packs rows, which says how a body is made; no text is made on the way.

A block often has some tens of rows: then what counts is how often numpy is called, which takes a microsecond each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.domain.logged_rows import RowBlock
from app.domain.prediction_id import RAW_LENGTH, raw_ids
from app.store.forms import Form, KnownForm
from app.store.packing import (
    ANSWER,
    KEY,
    LATENCY_END,
    MARKS,
    REST,
    TAG,
    TIME_LENGTH,
    USER,
    USER_END,
    Bytes,
    as_bytes,
    narrowed,
)
from app.store.packing_answers import PackedAnswers, all_answers
from app.store.request_ids import bytes_of_requests, request_keys

_TIME_END = 2 ** (8 * TIME_LENGTH)
# The columns of `log`.
COLUMNS = ("seq", "id", "version", "form", "request", "own_key", "body")
_SAID = slice(USER.start, ANSWER.stop)
_OF_EXPOSURE = attrgetter("version", "chosen", "assignment", "epoch", "propensity", "counts", "synthetic")


class PackedBlock(NamedTuple):
    """The rows of a block to write: the forms that they have, and by row the place of its form and columns of `log`."""

    forms: Sequence[Form]
    form_of: Sequence[int]
    keys: Sequence[bytes]
    request_keys: Sequence[int | None]
    own_keys: Sequence[str | None]
    bodies: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.keys)


class _Columns(NamedTuple):
    """Parts of the bodies of a block, by row, with what they have in common.

    `of` is the exposure of each row, `requests` how the id of each exposure's request is written.
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


def packed_block(block: RowBlock) -> PackedBlock | None:
    """The rows of the block; None where one of them cannot be packed as a row of numbers."""
    exposures, rows = block.exposures, len(block)
    # A part of one batch has the bytes of its ids already.
    ids_of = [exposure.prediction_ids for exposure in exposures]
    raw = raw_ids(ids_of[0] if len(ids_of) == 1 else [*chain.from_iterable(ids_of)])
    answers = all_answers(block)
    latencies = [round(exposure.latency_s * 1e6) for exposure in exposures]
    users, times = [each.user_hash for each in exposures], [each.served_at_us for each in exposures]
    if (
        raw is None
        or answers is None
        or not (_are_within(latencies, LATENCY_END) and _are_within(users, USER_END) and _are_within(times, _TIME_END))
    ):
        return None
    of = np.arange(rows)
    spread: slice | np.ndarray = slice(None)
    if len(exposures) < rows:
        spread = of = np.repeat(np.arange(len(exposures)), [len(exposure) for exposure in exposures])
    ids = np.frombuffer(raw, np.uint8).reshape(-1, RAW_LENGTH)
    if not (ids[:, :TIME_LENGTH] == as_bytes(np.array(times, ">u8"))[spread, -TIME_LENGTH:]).all():
        return None
    request_ids = [exposure.request_id for exposure in exposures]
    kinds, requests = bytes_of_requests(request_ids)
    found_by = request_keys(request_ids, kinds, requests, times)
    numbers, digits, features = narrowed(_with_nulls(block.features))
    columns = _Columns(
        of,
        ids,
        kinds,
        requests[spread],
        as_bytes(np.array(users, ">u8"))[spread, 2:],
        as_bytes(np.array(latencies, "<u4"))[spread],
        as_bytes(features),
        numbers,
        digits,
        answers,
    )
    forms, form_of, bodies = _packed(block, columns)
    return PackedBlock(
        forms,
        form_of,
        _as_objects(ids[:, KEY]).tolist(),
        found_by if len(exposures) == rows else [found_by[at] for at in of.tolist()],
        block.own_keys,
        bodies,
    )


def columns_of(blocks: Sequence[PackedBlock], forms: Mapping[Form, KnownForm], first: int) -> list[Sequence[Any]]:
    """The values of `COLUMNS` of the blocks' rows, under numbers from `first` on."""
    keys: list[bytes] = []
    versions: list[int] = []
    numbers: list[int] = []
    request_keys: list[int | None] = []
    own_keys: list[str | None] = []
    bodies: list[bytes] = []
    for block in blocks:
        known = [forms[form] for form in block.forms]
        keys += block.keys
        versions += [known[at].version for at in block.form_of]
        numbers += [known[at].id for at in block.form_of]
        request_keys += block.request_keys
        own_keys += block.own_keys
        bodies += block.bodies
    return [range(first, first + len(keys)), keys, versions, numbers, request_keys, own_keys, bodies]


def _are_within(numbers: Sequence[int], end: int) -> bool:
    return min(numbers) >= 0 and max(numbers) < end


def _with_nulls(features: np.ndarray) -> np.ndarray:
    """The features as float64; what JSON has no number for is null."""
    values = features.astype(np.float64, copy=False)
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def _packed(block: RowBlock, columns: _Columns) -> tuple[list[Form], list[int], list[bytes]]:
    """The forms of the rows, and by row which one it has, and its body."""
    plain = _are_plain(block, columns)
    forms: list[Form] = []
    form_of = np.zeros(len(block), np.intp)
    bodies = np.empty(len(block), np.object_)
    heads: dict[tuple[bool, bool, bool], Bytes] = {}
    for places in _alike(_facts(block, columns, plain)):
        form = _form(block, columns, int(places[0]), bool(plain[places[0]]))
        head = form.request != "text", form.marks != "", form.user
        if head not in heads:
            heads[head] = _heads(columns, *head)
        form_of[places] = len(forms)
        forms.append(form)
        parts = [heads[head], *(columns.answers[version].body for version, _, _ in form.answers)]
        own = _as_objects(np.concatenate([part[places] for part in parts], axis=1))
        if form.request == "text":
            ids = [block.exposures[at].request_id for at in columns.of[places].tolist()]
            own += np.array([msgspec.json.encode([each]) for each in ids], np.object_)
        bodies[places] = own
    return forms, form_of.tolist(), bodies.tolist()


def _heads(columns: _Columns, is_short: bool, is_plain: bool, has_user: bool) -> Bytes:
    """What precedes the answers in the bodies of all rows, as those of such a form have it."""
    parts = [columns.request_bytes] if is_short else []
    parts.append(columns.ids[:, TAG if is_plain else REST])
    parts += [columns.users, columns.latencies] if has_user else [columns.latencies]
    return np.concatenate([*parts, columns.features], axis=1)


def _facts(block: RowBlock, columns: _Columns, plain: np.ndarray) -> np.ndarray:
    """By row, numbers that are the same for rows of one form, and for no others."""
    numbers: dict[object, int] = {}
    shared = [
        numbers.setdefault((_OF_EXPOSURE(each), each.user_hash != 0, kind), len(numbers))
        for each, kind in zip(block.exposures, columns.requests, strict=True)
    ]
    marks = np.ascontiguousarray(columns.ids[:, MARKS]).view(">i8")[:, 0]
    facts = [np.array(shared)[columns.of], marks if plain.all() else np.where(plain, marks, 0), plain]
    partly = [each.given for each in columns.answers.values() if each.given is not None]
    if partly:
        facts.append(sum(given.astype(np.int64) << number for number, given in enumerate(partly)))
    if block.failed:
        failures: dict[tuple[str, ...], int] = {(): 0}
        failed = np.zeros(len(block), np.int64)
        for place, versions in block.failed.items():
            failed[place] = failures.setdefault(tuple(versions), len(failures))
        facts.append(failed)
    found = np.empty((len(block), len(facts)), np.int64)
    for at, fact in enumerate(facts):
        found[:, at] = fact
    return found


def _alike(facts: np.ndarray) -> Iterator[np.ndarray]:
    """The places of equal rows. A pass for each kind: there are few, and a step of Python for each row costs more."""
    left = np.arange(len(facts))
    while len(left):
        of_left = facts[left]
        same = (of_left == of_left[0]).all(axis=1)
        yield left[same]
        left = left[~same]


def _are_plain(block: RowBlock, columns: _Columns) -> np.ndarray:
    """Whether each id says nothing but what the form, the user and the answer of the version say."""
    rows = len(block)
    served = np.empty((len(columns.answers), rows), ">f8")
    for at, each in enumerate(columns.answers.values()):
        served[at] = each.served
    of_version = {version: at for at, version in enumerate(columns.answers)}
    own = np.array([of_version[exposure.version] for exposure in block.exposures])[columns.of]
    said = np.concatenate([columns.users, as_bytes(served[own, np.arange(rows)])], axis=1)
    plain: np.ndarray = (columns.ids[:, _SAID] == said).all(axis=1)
    return plain


def _as_objects(rows: Bytes) -> np.ndarray:
    """The bytes of each row as one object."""
    whole = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}")[:, 0]
    found: np.ndarray = whole.astype(np.object_)
    return found


def _form(block: RowBlock, columns: _Columns, place: int, is_plain: bool) -> Form:
    """The form of the row at a place, whose id `is_plain`."""
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
        columns.ids[place, MARKS].tobytes().hex() if is_plain else "",
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
