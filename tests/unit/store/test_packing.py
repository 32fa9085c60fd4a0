"""Packed rows: what comes out is what went in, to the last character, and small."""

import struct
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction_id import texts_of_ids
from app.store.forms import Form, StoredRow
from app.store.packing import Packer
from app.store.unpacking import unpacked

SERVED_AT_US = 1_700_000_000_000_000
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(-3000, 3000, places=2).map(float)
NUMBERS = st.one_of(DECIMALS, st.floats(width=32, allow_nan=False, allow_infinity=False), FLOATS, st.none())
SHARES = st.lists(st.floats(0, 1) | st.floats(0, 1, width=32), min_size=3, max_size=3)
CLASSES = st.fixed_dictionaries({"c": st.integers(0, 2**15 - 1)})
WITH_SHARES = st.builds(lambda number, shares: {"c": number, "p": shares}, st.integers(0, 2), SHARES)
VALUES = st.fixed_dictionaries({"v": FLOATS})
HEX = st.integers(0, 16**32 - 1).map(lambda number: f"{number:032x}")
MADE = st.tuples(st.integers(0, 10**6), st.integers(0, 16**18 - 1)).map(lambda pair: made(*pair))
UUIDS = st.uuids().map(str)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def made(age_us, number):
    """A request's id that the API made so long before it answered."""
    return f"{SERVED_AT_US - age_us:014x}{number:018x}"


def row_of(number=0, features="[5.1,3.5]", answers=None, answered=0.0, user=0, **changes):
    """A row as the service logs it; `answered` is what its id says."""
    given = {"v1": {"c": 0, "p": [0.75, 0.25]}} if answers is None else answers
    key = SERVED_AT_US.to_bytes(7) + b"host" + number.to_bytes(3)
    marks = bytes([1, 0, 1, 0, 0, 0, 3, 7]) + user.to_bytes(6)
    prediction_id = texts_of_ids(key + marks + struct.pack(">d", answered) + bytes(range(12)))[0]
    text = given if type(given) is str else msgspec.json.encode(given).decode()
    values = {
        "seq": number,
        "prediction_id": prediction_id,
        "served_at_us": SERVED_AT_US,
        "epoch": 3,
        "version": "v1",
        "chosen": "v1",
        "assignment": "weighted",
        "propensity": 0.5,
        "counts": True,
        "synthetic": False,
        "user_hash": user,
        "features": features,
        "answers": text,
        "latency_us": 120,
        "own_key": None,
        "failed": None,
        "layout": None,
        "lacking": None,
        "request_id": made(50, number),
    }
    return StoredRow(**{**values, **changes})


class Read(NamedTuple):
    """A row as the database gives it."""

    seq: int
    key: bytes
    form: int
    own_key: str | None
    body: bytes


def taken_back(rows, packer=None):
    """The rows after packing and unpacking; those that are not packed are left out."""
    ids: dict[Form, int] = {}
    read = []
    for packed in (packer or Packer()).packed(rows):
        row = rows[packed.place]
        form = ids.setdefault(packed.form, len(ids))
        read.append(Read(row.seq, packed.key, form, row.own_key, packed.body))
    # As they are in the store: forms are JSON.
    forms = {number: msgspec.json.decode(msgspec.json.encode(form), type=Form) for form, number in ids.items()}
    return sorted(unpacked(read, forms))


@st.composite
def same_columns(draw):
    """Rows of the same columns, of numbers and of text, with any answers, users and requests."""
    of_text = draw(st.lists(st.booleans(), min_size=1, max_size=5))
    cells = st.tuples(*[TEXTS | st.none() if is_text else NUMBERS for is_text in of_text])
    rows = []
    for number in range(draw(st.integers(1, 6))):
        own = draw(CLASSES | WITH_SHARES | VALUES)
        answers = {"v1": own} | ({"v2": draw(CLASSES | WITH_SHARES | VALUES)} if draw(st.booleans()) else {})
        rows.append(
            row_of(
                number,
                msgspec.json.encode(draw(cells)).decode(),
                answers,
                draw(st.sampled_from([float(own.get("v", own.get("c", 0))), 7.0])),
                draw(st.sampled_from([0, 1, 2**48 - 1])),
                request_id=draw(HEX | MADE | UUIDS | TEXTS),
                own_key=draw(st.none() | TEXTS),
                propensity=draw(st.none() | st.floats(0, 1)),
                failed=draw(st.none() | st.just('["v2"]')),
                latency_us=draw(st.integers(0, 2**32 - 1)),
            )
        )
    return rows


@given(same_columns())
def test_rows_of_the_service_are_packed_and_come_back_as_they_were(rows):
    assert taken_back(rows) == rows


@given(st.lists(st.tuples(NUMBERS | TEXTS, NUMBERS | TEXTS), min_size=1, max_size=6))
def test_what_is_packed_comes_back_whatever_the_columns_hold(cells):
    rows = [row_of(number, msgspec.json.encode(pair).decode()) for number, pair in enumerate(cells)]
    packer = Packer()
    assert all(row in rows for row in taken_back(rows, packer))
    assert all(row in rows for row in taken_back(rows, packer))


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction_id": "p1"},
        {"prediction_id": "+" * 64},
        {"served_at_us": SERVED_AT_US + 1},
        {"served_at_us": 2**63},
        {"latency_us": 2**32},
        {"latency_us": -1},
        {"user_hash": 2**48},
        {"features": "[1]"},
        {"features": "[true]"},
        {"features": "[[1.0]]"},
        {"features": '{"a":1.0}'},
        {"features": ""},
        {"features": "[1.0],[2.0]"},
        {"features": "[\ud800]"},
        {"answers": ""},
        {"answers": '{"v1":{"c":1.0}}'},
        {"answers": '{"v1":{"c":-1}}'},
        {"answers": '{"v1":{"c":32768}}'},
        {"answers": '{"v1":{"v":1}}'},
        {"answers": '{"v1":{"c":0,"p":[]}}'},
        {"answers": '{"v1":{"p":[0.5],"c":0}}'},
        {"answers": '{"v1":{"c":0,"x":1}}'},
        {"answers": '{"v1":[]}'},
        {"answers": "[]"},
    ],
)
def test_a_row_of_another_kind_is_left_out_and_the_others_are_packed(changes):
    rows = [row_of(1), row_of(2)._replace(**changes), row_of(3)]
    assert taken_back(rows) == [rows[0], rows[2]]
    assert taken_back([rows[1]]) == []


def test_an_iris_row_of_two_versions_has_78_bytes():
    answers = {name: {"c": 0, "p": [0.5, 0.25, 0.25]} for name in ("v1", "v2")}
    [packed] = Packer().packed([row_of(1, "[5.1,3.5,1.4,0.2]", answers)])
    # Request 16, tag 12, latency 4, features 4 × 2, answers 2 × (2 + 3 × 4); its key has 14 more.
    assert len(packed.body) == 16 + 12 + 4 + 8 + 28


def test_a_null_in_a_column_of_text_makes_no_form_of_its_own():
    packer = Packer()
    forms = {packer.packed([row_of(1, text)])[0].form for text in ('["a",1.5]', "[null,1.5]", '["b",2.5]')}
    assert len(forms) == 1


@pytest.mark.parametrize(
    ("request_id", "is_found_by_time"),
    [
        (made(0, 1), True),
        (made(59_999_999, 1), True),
        (made(60_000_000, 1), False),
        (made(-1, 1), False),
        ("f" * 32, False),
        ("00000000-0000-4000-8000-000000000000", False),
        ("mine", False),
        ("", False),
    ],
)
def test_a_request_is_found_by_a_hash_unless_its_id_has_the_time(request_id, is_found_by_time):
    [packed] = Packer().packed([row_of(request_id=request_id)])
    assert (packed.request_key is None) == is_found_by_time
    assert packed.request_key is None or 0 <= packed.request_key < 2**31
