"""The forms of packed rows: what many rows of the table `log` share, each kept once in the table `forms`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import msgspec
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


_FORM = msgspec.json.Decoder(Form)


class KnownForm(NamedTuple):
    """A form in the store: its id, and the number that stands for its version in `log`."""

    id: int
    version: int


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
