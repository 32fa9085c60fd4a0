"""Blocks of columns are packed, and come back as the rows that the old way would have stored, to the last character."""

import contextlib
import sqlite3

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.logged_rows import AnswersPart, LoggedBatch, RowBlock
from app.domain.prediction import Exposure, Outputs
from app.domain.prediction_id import Signer
from app.errors import StoreUnavailable
from app.store.forms import Form, KnownForm, columns_of, parameters_of
from app.store.packing_blocks import packed_block
from app.store.predictions import PredictionLog
from app.store.statements import statements
from app.store.unpacking import RawRow, unpacked
from tests import builders
from tests.unit.store.stored_rows import SQLITE_ONLY, as_stored, full_disk, log_of
from tests.unit.store.test_packing import HEX, SERVED_AT_US, UUIDS, made

CONTRACT = builders.two_class_contract("a", "b")
VERSIONS = ("v1", "v2", "v3")
LAYOUT = builders.layout_of(CONTRACT, VERSIONS)
# PostgreSQL has no texts with a null character, and own keys are printable.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.floats() | st.decimals(-3000, 3000, places=2).map(float) | st.sampled_from([-0.0, 0.1, 30_000.5])
MADE = st.integers(-5, 10**8).map(lambda age_us: made(age_us, 7))
REQUESTS = HEX | MADE | UUIDS | TEXTS | HEX.map(str.upper) | st.just(" " * 32)
SIGNER = Signer(b"k" * 32, b"host")


def outputs_of(draw, kind, rows):
    """Answers of that kind: the type of their numbers, and how many shares of classes (0: none, −1: numbers)."""
    dtype, shares = kind
    numbers = FLOATS if dtype is np.float64 else st.floats(width=32, allow_nan=False, allow_infinity=False)
    if shares < 0:
        return Outputs(values=np.array(draw(st.lists(numbers, min_size=rows, max_size=rows)), dtype))
    classes = np.array(draw(st.lists(st.integers(0, 2**15 - 1), min_size=rows, max_size=rows)))
    cells = draw(st.lists(numbers, min_size=rows * shares, max_size=rows * shares))
    return Outputs(classes, np.array(cells, dtype).reshape(rows, shares) if shares else None)


def exposure_of(draw, version, outputs, number):
    rows = len(outputs.class_ids if outputs.values is None else outputs.values)
    answers = outputs.class_ids if outputs.values is None else outputs.values
    user, at_us = draw(st.sampled_from([0, 1, 2**48 - 1])), SERVED_AT_US + number
    facts = {"served_at_us": at_us, "version_ordinal": 1, "epoch": 3, "counts": True, "randomised": True}
    ids = SIGNER.sign_all(**facts, user_hash=draw(st.sampled_from([user, 5])), answers=answers)
    features = draw(st.lists(CELLS, min_size=2 * rows, max_size=2 * rows))
    has_keys = draw(st.booleans())
    return Exposure(
        prediction_ids=ids,
        served_at_us=at_us,
        request_id=draw(REQUESTS),
        rows=np.array(features).reshape(rows, 2),
        layout=LAYOUT,
        version=version,
        chosen=draw(st.sampled_from(VERSIONS)),
        assignment="weighted",
        propensity=draw(st.none() | st.floats(0, 1)),
        epoch=draw(st.integers(0, 9)),
        counts=draw(st.booleans()),
        user_hash=user,
        synthetic=draw(st.booleans()),
        outputs=outputs,
        latency_s=draw(st.floats(0, 4000)),
        keys=tuple(draw(st.lists(TEXTS, min_size=rows, max_size=rows))) if has_keys else (),
    )


@st.composite
def blocks(draw):
    """Rows of one layout: of several requests and versions, with shadow answers in parts, and failures."""
    kinds = {
        version: draw(st.tuples(st.sampled_from([np.float32, np.float64]), st.integers(-1, 3))) for version in VERSIONS
    }
    versions = draw(st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=5))
    sizes = [draw(st.integers(1, 3)) for _ in versions]
    exposures = [
        exposure_of(draw, version, outputs_of(draw, kinds[version], size), number)
        for number, (version, size) in enumerate(zip(versions, sizes, strict=True))
    ]
    served = np.repeat(versions, sizes)
    starts = np.cumsum([0, *sizes])
    answers = {version: [] for version in draw(st.permutations(VERSIONS))}
    for exposure, start in zip(exposures, starts, strict=False):
        answers[exposure.version].append(AnswersPart(np.arange(start, start + len(exposure)), exposure.outputs))
    for version, parts in answers.items():
        for of_part in (served < version, served > version):
            places = np.flatnonzero(of_part & draw(st.sampled_from([True, False])))
            # It may be of no row: where a version had no finite answer to any.
            parts.append(AnswersPart(places, outputs_of(draw, kinds[version], len(places))))
    failed = draw(st.dictionaries(st.integers(0, len(served) - 1), st.just(["v2"])))
    features = np.concatenate([exposure.rows for exposure in exposures])
    return RowBlock(exposures, features, {name: parts for name, parts in answers.items() if parts}, failed)


def taken_back(block):
    """The rows of the block after packing and unpacking, by place."""
    packed = packed_block(block)
    known = {form: KnownForm(at, at) for at, form in enumerate(packed.forms)}
    seqs, keys, _, form_of, _, own_keys, bodies = columns_of([packed], known, 0)
    raw = [RawRow(*values) for values in zip(seqs, keys, form_of, own_keys, bodies, strict=True)]
    forms = {at: msgspec.json.decode(msgspec.json.encode(form), type=Form) for at, form in enumerate(packed.forms)}
    return sorted(unpacked(raw, forms))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(blocks())
def test_a_block_comes_back_as_its_rows(block):
    assert taken_back(block) == [as_stored(row, place) for place, row in enumerate(block.rows())]


@pytest.mark.parametrize("shares", [0, 2])
def test_a_version_without_a_finite_answer_to_any_row_does_not_keep_the_rows_from_the_log(shares):
    served = Outputs(np.array([1]), np.array([[0.1, 0.9]]))
    facts = {"served_at_us": SERVED_AT_US, "version_ordinal": 1, "epoch": 3, "counts": True, "randomised": True}
    exposure = Exposure(
        prediction_ids=SIGNER.sign_all(**facts, user_hash=0, answers=served.class_ids),
        served_at_us=SERVED_AT_US,
        request_id="a" * 32,
        rows=np.zeros((1, 2)),
        layout=LAYOUT,
        version="v1",
        chosen="v1",
        assignment="weighted",
        propensity=0.5,
        epoch=3,
        counts=True,
        user_hash=0,
        synthetic=False,
        outputs=served,
        latency_s=0.1,
    )
    nothing = Outputs(np.zeros(0, np.int64), np.zeros((0, shares)) if shares else None)
    answers = {"v1": [AnswersPart(np.arange(1), served)], "v2": [AnswersPart(np.arange(0), nothing)]}
    block = RowBlock([exposure], exposure.rows, answers, {0: ["v2"]})
    assert taken_back(block) == [as_stored(row, place) for place, row in enumerate(block.rows())]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(blocks(), st.sampled_from([1, 2**21 - 9, 2**21]))
def test_the_statement_for_a_block_writes_the_columns_of_its_rows(block, first_form):
    packed = packed_block(block)
    known = {form: KnownForm(first_form + at, first_form) for at, form in enumerate(packed.forms)}
    with contextlib.closing(sqlite3.connect(":memory:")) as driver:
        driver.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, id UNIQUE, version, form, request, own_key, body)")
        # Rows that are there already are ignored.
        driver.executemany(statements("logged", "sqlite")["append_block"], parameters_of([packed, packed], known, 7))
        written = driver.execute("SELECT * FROM log").fetchall()
    assert written == [*zip(*columns_of([packed], known, 7), strict=True)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(blocks(), st.data())
def test_a_part_of_a_batch_has_its_rows(block, data):
    batch = LoggedBatch([block, block])
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(batch))] * 2)))
    assert [*batch[start:end]] == [*batch][start:end]
    if start < end:
        assert batch[start] == [*batch][start]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(blocks(), min_size=1, max_size=3))
def test_the_store_has_the_rows_of_a_batch_under_numbers_in_their_order(database, found):
    batch = LoggedBatch(found)
    last = max((row.seq for row in log_of(database)), default=0)
    PredictionLog(database).append(batch)
    rows = [row for row in log_of(database) if row.seq > last]
    assert rows == [as_stored(row, rows[0].seq + number) for number, row in enumerate(batch)]


def block_with(**changes):
    """A block of one row of v1, with other fields of its exposure."""
    outputs = changes.get("outputs", Outputs(np.array([1]), np.array([[0.25, 0.75]])))
    ids = SIGNER.sign_all(
        served_at_us=SERVED_AT_US, version_ordinal=1, epoch=3, counts=True, randomised=True, user_hash=0,
        answers=np.array([1]),
    )  # fmt: skip
    values = {"prediction_ids": ids, "served_at_us": SERVED_AT_US, "latency_s": 0.001, "user_hash": 0, **changes}
    exposure = Exposure(
        request_id=made(7, 7), rows=np.array([[1.5, 2.5]]), layout=LAYOUT, version="v1", chosen="v1", epoch=3,
        assignment="weighted", propensity=0.5, counts=True, synthetic=False, **{"outputs": outputs, **values},
    )  # fmt: skip
    return RowBlock([exposure], exposure.rows, {"v1": [AnswersPart(np.arange(1), outputs)]}, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction_ids": ["p1"]},
        {"served_at_us": SERVED_AT_US + 1},
        {"served_at_us": 2**62},
        {"latency_s": 2.0**32},
        {"user_hash": 2**48},
        {"outputs": Outputs(np.array([-1]))},
        {"outputs": Outputs(np.array([2**15]))},
        {"outputs": Outputs(np.array([1]), np.array([[np.nan, 0.5]]))},
        {"outputs": Outputs(np.array([1]), np.empty((1, 0)))},
        {"outputs": Outputs(values=np.array([[1.0]]))},
        {"outputs": Outputs(values=np.array([np.inf]))},
    ],
)
def test_an_odd_block_is_stored_as_rows_like_before(database, changes):
    block = block_with(**changes)
    assert packed_block(block) is None
    PredictionLog(database).append(LoggedBatch([block]))
    assert log_of(database) == [as_stored(block.rows()[0], 1)]


def test_a_repeated_batch_is_ignored_also_beside_rows_of_before(database):
    log, batch = PredictionLog(database), LoggedBatch([block_with(), block_with(latency_s=2.0**32)])
    log.append(batch)
    log.append(batch)
    log.append(batch[:1])
    assert [row.prediction_id for row in log_of(database)] == batch.prediction_ids


def batch_of(*ages_us):
    return LoggedBatch([block_with(**served(age_us)) for age_us in ages_us])


def served(age_us):
    at_us = SERVED_AT_US + age_us
    facts = {"version_ordinal": 1, "epoch": 3, "counts": True, "randomised": True, "user_hash": 0}
    return {
        "served_at_us": at_us,
        "prediction_ids": SIGNER.sign_all(served_at_us=at_us, answers=np.array([1]), **facts),
    }


def test_batches_with_known_forms_go_on_with_the_numbers_and_repeat_nothing(database):
    log, batches = PredictionLog(database), [batch_of(number, number + 100) for number in range(4)]
    for batch in (*batches[:2], batches[0], batches[2]):
        log.append(batch)
    # Another process writes a row of before and others, in between.
    PredictionLog(database).append(LoggedBatch([block_with(**served(50), latency_s=2.0**32)]))
    log.append(batches[3])
    log.append(batches[1])
    rows = log_of(database)
    seqs = [row.seq for row in rows]
    assert seqs == sorted({*seqs})
    ids = [each for batch in batches for each in batch.prediction_ids]
    assert sorted(row.prediction_id for row in rows if row.latency_us < 10**9) == sorted(ids)


@SQLITE_ONLY
def test_a_batch_is_written_to_the_store_that_took_the_place_of_another(database, path):
    log = PredictionLog(database)
    log.append(batch_of(1))
    log.append(batch_of(2))
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(file.with_name(f"old-{file.name}"))
    with pytest.raises(StoreUnavailable):  # the recorder tries again
        log.append(batch_of(3))
    again = batch_of(4)
    log.append(again)
    assert [row.prediction_id for row in log_of(database)] == again.prediction_ids


@SQLITE_ONLY
def test_a_batch_that_a_locked_store_refused_is_added_once_it_is_repeated(database, writing):
    log, batches = PredictionLog(database), [batch_of(number) for number in range(3)]
    log.append(batches[0])
    log.append(batches[1])
    with writing(), pytest.raises(StoreUnavailable, match="lock"):
        log.append(batches[2])
    for _ in range(2):
        log.append(batches[2])
    assert [row.prediction_id for row in log_of(database)] == [b.prediction_ids[0] for b in batches]


def test_an_ordinary_block_is_packed_with_one_form():
    [form] = packed_block(block_with()).forms
    assert (form.numbers, form.digits, form.answers) == ("<i2", 1, (("v1", "<f4", 2),))


def test_each_version_has_the_narrowest_type_of_its_own_answers():
    block = block_with()
    wide = AnswersPart(np.arange(1), Outputs(np.array([1]), np.array([[0.1, 0.9]])))
    [form] = packed_block(msgspec.structs.replace(block, answers={"v2": [wide], **block.answers})).forms
    assert form.answers == (("v1", "<f4", 2), ("v2", "<f8", 2))


@SQLITE_ONLY
def test_a_full_disk_is_told_by_the_probe_also_where_the_forms_were_known(database):
    log = PredictionLog(database)
    for age_us in (1, 2):
        log.append(batch_of(age_us))
    with full_disk(database):
        for first in (1_000, 10_000):
            with pytest.raises(StoreUnavailable, match="full"):
                log.append(batch_of(*range(first, first + 1_000)))
        with pytest.raises(StoreUnavailable, match="full"):
            database.probe()
