"""The forms of packed rows: what many rows of the table `log` share, each kept once in the table `forms`.

And blocks of rows that have them, as they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from sqlalchemy import Connection, Engine, text

from app.store.statements import statements

# What is remembered at the most: each revision of the configuration makes forms of its own.
_MOST = 4096


class StoredRow(NamedTuple):
    """A row of the log, whichever table it is in; the fields are those of `LoggedPrediction`, and its seq."""

    seq: int
    prediction_id: str
    served_at_us: int
    epoch: int
    version: str
    chosen: str
    assignment: str
    propensity: float | None
    counts: bool
    synthetic: bool
    user_hash: int
    features: str
    answers: str
    latency_us: int
    own_key: str | None
    failed: str | None
    layout: int | None
    lacking: str | None
    request_id: str


class Form(msgspec.Struct, frozen=True, array_like=True):
    """What the rows of one form share.

    `marks` are the bytes of their ids that say what was served, in hexadecimal; empty where each row has its own.
    `request` is how the requests' ids are written: `hex` (32 digits), `uuid` or `text`. Of the features `texts` are the
    places of text; the others have the type `numbers`, multiplied by ten to the power of `digits`. `answers` has for
    each version that answered the type of its numbers, and how many shares of classes there are (0: the class alone;
    −1: a number instead).
    """

    version: str
    chosen: str
    assignment: str
    epoch: int
    propensity: float | None
    counts: bool
    synthetic: bool
    layout: int | None
    failed: str | None
    lacking: str | None
    marks: str
    user: bool
    request: str
    columns: int
    texts: tuple[int, ...]
    numbers: str
    digits: int
    answers: tuple[tuple[str, str, int], ...]


# As `append_block` takes them apart: three numbers of so many bits are one of 63.
_BITS = 21
# The columns of `log`.
COLUMNS = ("seq", "id", "version", "form", "request", "own_key", "body")
_FORM = msgspec.json.Decoder(Form)


class KnownForm(NamedTuple):
    """A form in the store: its id, and the number that stands for its version in `log`."""

    id: int
    version: int


class PackedBlock(NamedTuple):
    """The rows of a block to write: the forms that they have, and by row the place of its form and columns of `log`.

    `keys` are bytes of the shape (rows, 14), and `bodies` of the shape (rows, those of the longest one), of which each
    row has as many as `lengths` says.
    """

    forms: Sequence[Form]
    form_of: np.ndarray
    keys: np.ndarray
    request_keys: Sequence[int | None]
    own_keys: Sequence[str | None]
    bodies: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.bodies)


def parameters_of(
    blocks: Iterable[PackedBlock], forms: Mapping[Form, KnownForm], first: int
) -> Iterator[dict[str, object]]:
    """What the statement `append_block` takes for each block, a few values for any number of rows, from `first` on."""
    for block in blocks:
        known = [forms[form] for form in block.forms]
        yield {
            "first": first,
            "keys": block.keys.tobytes(),
            "bodies": block.bodies.tobytes(),
            "width": block.bodies.shape[1],
            "rows": msgspec.json.encode(_numbers_of_rows(block, known)).decode(),
        }
        first += len(block)


def _numbers_of_rows(block: PackedBlock, known: Sequence[KnownForm]) -> list[int] | list[tuple[object, ...]]:
    """By row the version, form, length of the body, keys of the request and of the caller; one number where it can."""
    largest = max(block.bodies.shape[1], *chain.from_iterable(known))
    if largest < 1 << _BITS and block.request_keys.count(None) == block.own_keys.count(None) == len(block):
        heads = np.array([form.version << 2 * _BITS | form.id << _BITS for form in known])
        found: list[int] = (heads.take(block.form_of) | block.lengths).tolist()
        return found
    of, lengths = [known[at] for at in block.form_of.tolist()], block.lengths.tolist()
    return [
        (form.version, form.id, *others)
        for form, *others in zip(of, lengths, block.request_keys, block.own_keys, strict=True)
    ]


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
        keys += [key.tobytes() for key in block.keys]
        versions += [known[at].version for at in block.form_of.tolist()]
        numbers += [known[at].id for at in block.form_of.tolist()]
        request_keys += block.request_keys
        own_keys += block.own_keys
        bodies += [body[:length].tobytes() for body, length in zip(block.bodies, block.lengths.tolist(), strict=True)]
    return [range(first, first + len(keys)), keys, versions, numbers, request_keys, own_keys, bodies]


class FormReads:
    """Reads forms. What was read is kept: a form never changes."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._known: dict[int, Form] = {}

    def forms(self, connection: Connection, ids: Iterable[int]) -> Mapping[int, Form]:
        """The forms with these ids, by id."""
        if connection.engine is not self._engine:  # another file may have taken the place of the store
            self._engine, self._known = connection.engine, {}
        wanted = set(ids)
        known = self._known
        missing = wanted - known.keys()
        if missing:
            query = text(statements("logged", connection.dialect.name)["forms"])
            rows = connection.execute(query, {"ids": msgspec.json.encode(sorted(missing)).decode()})
            kept = known if len(known) < _MOST else {each: known[each] for each in wanted - missing}
            self._known = known = {**kept, **{row.id: _FORM.decode(row.body) for row in rows}}
        return known


class FormWrites:
    """Finds the ids of forms, and writes those that are new. For one thread, under the write lock."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._known: dict[Form, KnownForm] = {}

    def put(self, connection: Connection, forms: Iterable[Form]) -> dict[Form, KnownForm]:
        """Each form as it is in the store after this; for `committed`."""
        if connection.engine is not self._engine:  # another file may have taken the place of the store
            self._engine, self._known = connection.engine, {}
        return {form: self._known.get(form) or _put(connection, form) for form in forms}

    def known(self, engine: Engine, forms: Iterable[Form]) -> dict[Form, KnownForm] | None:
        """Each form as it is in the store of `engine`; None where one is not known to be there."""
        if engine is not self._engine:
            return None
        found = {form: self._known.get(form) for form in forms}
        return None if None in found.values() else cast(dict[Form, KnownForm], found)

    def committed(self, forms: Mapping[Form, KnownForm]) -> None:
        """Note that the transaction in which `put` gave these was committed."""
        self._known = {**(self._known if len(self._known) < _MOST else {}), **forms}


def _put(connection: Connection, form: Form) -> KnownForm:
    named = statements("logged", connection.dialect.name)
    values: dict[str, object] = {"version": form.version, "body": msgspec.json.encode(form).decode()}
    found = connection.execute(text(named["form"]), values).first()
    if found is None:
        values |= {"epoch": form.epoch, "layout": form.layout}
        connection.execute(text(named["put_form"]), values)
        found = connection.execute(text(named["form"]), values).one()
    return KnownForm(found.id, found.number)
