"""Rows of the table `log`: what many rows share is a form, kept once, and the rest of a row is packed into bytes.

A body has, in this order: the request's id (16 bytes; absent in a form whose ids are texts), the rest of the prediction
id (its tag, 12 bytes; or 34 bytes where the row does not say what they hold), the user's hash (6, if there is one), the
latency (µs, 4), the numeric features, the answers, and behind these, as a JSON array, what has no fixed length: the
columns of text, and the request's id as text. Numbers are little-endian. Features are whole numbers of 2 or 4 bytes
where all values are decimals of few digits, and answers are float32 where that loses nothing: most runtimes compute so.

Only what comes back to the last character is packed. Any other row stays in the table `predictions`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from app.domain.prediction_id import RAW_LENGTH, raw_ids
from app.store.forms import Form, StoredRow
from app.store.request_ids import REQUEST_BYTES, kind_of_request, request_bytes, request_key

# A prediction is known by the time, the process and the counter of its id; all ids sort by them.
KEY_LENGTH, TIME_LENGTH = 14, 7
KEY, MARKS, USER, ANSWER, TAG = slice(14), slice(14, 22), slice(22, 28), slice(28, 36), slice(36, 48)
REST = slice(14, 48)
LATENCY_END, USER_END, CLASS_END = 2**32, 2**48, 2**15
_WHOLE_TYPES = (("<i2", 2**15), ("<i4", 2**31))
_MOST_DIGITS = 4
NUMBER, NO_SHARES = -1, 0
_MOST_REMEMBERED = 4096
Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


class PackedRow(NamedTuple):
    """A row to write: its place among the rows given, its form, and columns of `log`."""

    place: int
    form: Form
    key: bytes
    request_key: int | None
    body: bytes


class Packer:
    """Packs rows. It remembers which columns have had text, so that a null there makes no form of its own."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int | None, int], frozenset[int]] = {}

    def packed(self, rows: Sequence[StoredRow]) -> list[PackedRow]:
        """Those of the rows that can be packed."""
        raw = raw_ids([row.prediction_id for row in rows])
        features = _decoded_or_none([row.features for row in rows])
        answers = _decoded_or_none([row.answers for row in rows])
        if raw is None or features is None or answers is None:
            # One of them has an id that is none of this service, or a text that is no JSON.
            alone = ((place, self.packed([row])) for place, row in enumerate(rows) if len(rows) > 1)
            return [each._replace(place=place) for place, packed in alone for each in packed]
        groups: dict[Form, list[int]] = {}
        for place, row in enumerate(rows):
            own = raw[place * RAW_LENGTH : (place + 1) * RAW_LENGTH]
            form = self._form(row, own, features[place], answers[place])
            if form is not None:
                groups.setdefault(form, []).append(place)
        ids = np.frombuffer(raw, np.uint8).reshape(-1, RAW_LENGTH)
        return [
            packed
            for form, places in groups.items()
            for packed in _packed(
                form, places, [rows[place] for place in places], ids[places], features, [answers[p] for p in places]
            )
        ]

    def _form(self, row: StoredRow, raw: bytes, features: Any, answers: Any) -> Form | None:
        """The row's form, in which the types of numbers are still open; None where it cannot be packed."""
        if (
            type(features) is not list
            or type(answers) is not dict
            or int.from_bytes(raw[:TIME_LENGTH]) != row.served_at_us
            or not (0 <= row.latency_us < LATENCY_END and 0 <= row.user_hash < USER_END)
        ):
            return None
        texts, given = self._text_columns(row, features), _answers_of(answers)
        if texts is None or given is None:
            return None
        return Form(
            row.version,
            row.chosen,
            row.assignment,
            row.epoch,
            row.propensity,
            row.counts,
            row.synthetic,
            row.layout,
            row.failed,
            row.lacking,
            raw[MARKS].hex() if _is_plain(row, raw, answers) else "",
            row.user_hash != 0,
            kind_of_request(row.request_id),
            len(features),
            texts,
            "",
            0,
            given,
        )

    def _text_columns(self, row: StoredRow, features: list[Any]) -> tuple[int, ...] | None:
        """The places of text, None where a value is neither that nor a number of a column without text."""
        columns = row.version, row.layout, len(features)
        known = self._texts.get(columns, frozenset())
        types = set(map(type, features))
        if not known and types == {float}:
            return ()
        found = {place for place, value in enumerate(features) if type(value) is str}
        if not found <= known:
            known |= found
            self._texts = {**(self._texts if len(self._texts) < _MOST_REMEMBERED else {}), columns: known}
        # A column that was of text in one row may have numbers in another: then this row has columns of its own.
        for texts in (known, found):
            if all(
                value is None or type(value) is (str if at in texts else float) for at, value in enumerate(features)
            ):
                return tuple(sorted(texts))
        return None


def _is_plain(row: StoredRow, raw: bytes, answers: Mapping[str, Any]) -> bool:
    """Whether the id says nothing but what the form, the user and the answer of the version say."""
    own = answers.get(row.version, {})
    served = own.get("v", own.get("c"))
    if served is None or raw[USER] != row.user_hash.to_bytes(6, "big"):
        return False
    return raw[ANSWER] == struct.pack(">d", served)


def _answers_of(answers: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...] | None:
    found = []
    for version, answer in answers.items():
        kind = _kind_of(answer)
        if kind is None:
            return None
        found.append((version, "", kind))
    return tuple(found)


def _kind_of(answer: Any) -> int | None:
    if type(answer) is not dict:
        return None
    names = tuple(answer)
    if names == ("v",):
        return NUMBER if type(answer["v"]) is float else None
    if names not in (("c",), ("c", "p")) or type(answer["c"]) is not int or not 0 <= answer["c"] < CLASS_END:
        return None
    shares = answer.get("p")
    if shares is None:
        return NO_SHARES if names == ("c",) else None
    is_shares = type(shares) is list and shares and set(map(type, shares)) == {float}
    return len(shares) if is_shares else None


def _facts(form: Form, rows: Sequence[StoredRow], ids: Bytes) -> list[Bytes]:
    """What precedes the features in a body: bytes of the request, of the id, of the user, of the latency."""
    parts: list[Bytes] = [ids[:, TAG if form.marks else REST]]
    if form.request != "text":
        raw = b"".join([request_bytes(row.request_id) for row in rows])
        parts.insert(0, np.frombuffer(raw, np.uint8).reshape(-1, REQUEST_BYTES))
    if form.user:
        parts.append(as_bytes(np.array([row.user_hash for row in rows], ">u8"))[:, 2:])
    return [*parts, as_bytes(np.array([row.latency_us for row in rows], "<u4"))]


def _answer(own: Sequence[Mapping[str, Any]], kind: int) -> tuple[list[Bytes], str]:
    """The bytes of a version's answers, and the type of the numbers among them."""
    parts: list[Bytes] = []
    if kind != NUMBER:
        parts.append(as_bytes(np.array([answer["c"] for answer in own], "<i2")))
    if kind == NO_SHARES:
        return parts, "<f4"
    name = "v" if kind == NUMBER else "p"
    values = np.array([answer[name] for answer in own], np.float64).reshape(len(own), -1)
    of = "<f8" if as_float32(values) is None else "<f4"
    return [*parts, as_bytes(values.astype(of))], of


def _packed(
    form: Form,
    places: Sequence[int],
    rows: Sequence[StoredRow],
    ids: Bytes,
    features: Sequence[list[Any]],
    answers: Sequence[Mapping[str, Any]],
) -> Iterator[PackedRow]:
    is_short = form.request != "text"
    texts = frozenset(form.texts)
    cells = [features[place] for place in places]
    numeric = [[value for at, value in enumerate(row) if at not in texts] for row in cells] if texts else cells
    numbers, digits, columns = narrowed(np.array(numeric, np.float64).reshape(len(rows), -1))
    parts = [*_facts(form, rows, ids), as_bytes(columns)]
    types = []
    for version, _, kind in form.answers:
        more, of = _answer([answer[version] for answer in answers], kind)
        parts += more
        types.append(of)
    whole = msgspec.structs.replace(
        form,
        numbers=numbers,
        digits=digits,
        answers=tuple((name, of, kind) for (name, _, kind), of in zip(form.answers, types, strict=True)),
    )
    fixed = np.concatenate(parts, axis=1)
    for place, row, own_cells, body, key in zip(places, rows, cells, fixed, ids[:, KEY], strict=True):
        rest = [own_cells[at] for at in form.texts] + ([] if is_short else [row.request_id])
        behind = msgspec.json.encode(rest) if rest else b""
        found_by = request_key(row.request_id, row.served_at_us)
        yield PackedRow(place, whole, key.tobytes(), found_by, body.tobytes() + behind)


def narrowed(values: np.ndarray) -> tuple[str, int, np.ndarray]:
    """The narrowest type that gives back all of the values, the digits behind the point, and the values in it."""
    # A whole number has no negative zero.
    largest = np.abs(values).max(initial=0)
    if largest < _WHOLE_TYPES[-1][1] and not (np.signbit(values) & (values == 0)).any():
        for digits in range(_MOST_DIGITS + 1):
            whole = np.rint(values * 10**digits)
            # Divided as it will be: the quotient of two exact numbers is the float64 next to the decimal.
            if (whole / 10**digits == values).all():
                for name, end in _WHOLE_TYPES:
                    if largest * 10**digits < end - 1:
                        return name, digits, whole.astype(name)
                break
    narrow = as_float32(values)
    return ("<f8", 0, values.astype("<f8")) if narrow is None else ("<f4", 0, narrow)


def as_float32(values: np.ndarray) -> np.ndarray | None:
    """The values as float32 where that loses nothing."""
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    same = narrow == values
    return narrow if same.all() or (same | np.isnan(values)).all() else None


def as_bytes(values: np.ndarray) -> Bytes:
    """The bytes of each row of an array."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def _decoded_or_none(texts: Sequence[str]) -> list[Any] | None:
    try:
        found = decoded(texts)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return found if len(found) == len(texts) else None


def decoded(texts: Sequence[str]) -> list[Any]:
    """The values of JSON texts. Raises `msgspec.DecodeError`."""
    found: list[Any] = msgspec.json.decode(f"[{','.join(texts)}]")
    return found
