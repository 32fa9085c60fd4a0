from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.drift.cells import MAX_CATEGORIES, OTHERS
from app.drift.reference import DriftReference, LabelledErrors, ReferenceAnswers, build_reference
from app.drift.reference_notes import reference_notes
from app.drift.report import drift_report
from app.drift.watch import fits, output_keys, start, update
from app.errors import DataRefused
from tests.unit.drift.drift_samples import numeric_contract

MIXED = FeatureContract(
    task="regression",
    target="y",
    features=(Feature("size"), Feature("colour", kind="categorical", categories=("red", "blue"), nullable=True)),
)
NORMAL = np.random.default_rng(0).normal(size=(60, 2))


def column(*values: object) -> np.ndarray:
    rows = np.empty((len(values), 1), dtype=object)
    rows[:, 0] = values
    return rows


def works(contract: FeatureContract, rows: np.ndarray, traffic: np.ndarray) -> DriftReference:
    """The reference, after it has gone the whole way to a report without a number that is not one."""
    reference = build_reference(contract, rows, seed=1)
    report = drift_report("v1", reference, update(reference, start(reference), traffic))
    assert 0 <= report.score <= 1
    assert 0 <= report.evidence <= 1
    assert DriftReference.from_json(reference.to_json()) == reference
    return reference


def test_the_same_rows_and_seed_give_the_same_reference(draw):
    rows = draw(50)
    first, second, other = (build_reference(numeric_contract(3), rows, seed=seed).to_json() for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("seed", [0, 42])
def test_rows_that_were_drawn_with_the_seed_of_the_reference_are_quiet_against_themselves(columns, seed):
    # Whole numbers and jitter of the same generator rise together, and so the ties would not be broken by chance.
    drawn = np.random.default_rng(seed)
    rows = np.column_stack([drawn.integers(0, 5, 1000) for _ in range(columns)]).astype(float)
    reference = build_reference(numeric_contract(columns), rows, seed=seed)
    assert update(reference, start(reference), rows).alarms == 0


def test_a_reference_of_four_features_takes_a_few_kilobytes():
    rows = np.round(np.random.default_rng(0).normal(size=(120, 4)), 1)
    assert len(build_reference(numeric_contract(4), rows, seed=1).to_json()) < 7000


def test_the_joint_streams_are_the_distance_and_a_residual_of_each_feature(reference):
    names = [stream.name for stream in reference.inputs.streams[3:]]
    assert names == ["distance", *(f"{name} given the others" for name in ("length", "width", "height"))]
    assert reference.inputs.streams[3].reference_rows == 100


@pytest.mark.parametrize(
    ("rows", "joint"),
    [
        (NORMAL, 3),
        (NORMAL[:19], 0),
        (NORMAL[:1], 0),
        (np.repeat(NORMAL[:, :1], 2, axis=1), 3),
        (NORMAL * [1.0, 0.0], 0),
        (np.zeros((60, 2)), 0),
        (np.full((60, 2), np.nan), 0),
        (NORMAL * 1e306, 3),
        (np.where(NORMAL > 0.5, np.inf, NORMAL), 3),
        (np.where(NORMAL > 0.5, np.nan, NORMAL), 3),
    ],
    ids=[
        "plain",
        "19 rows",
        "1 row",
        "a copy",
        "a constant",
        "all constant",
        "all missing",
        "enormous",
        "infinite",
        "missing",
    ],
)
def test_degenerate_references_work(rows, joint):
    odd = np.array([[np.nan, np.inf], [-np.inf, 1e308], [0.0, -1e308]] * 9)
    reference = works(numeric_contract(2), rows, np.concatenate([odd, NORMAL]))
    assert len(reference.inputs.streams) == 2 + joint


@pytest.mark.parametrize("names", [("a",), ("a", "b"), (None,), tuple(f"c{i}" for i in range(200))])
def test_categorical_references_work(names):
    contract = FeatureContract(task="classification", target="t", features=(Feature("c", kind="categorical"),))
    reference = works(contract, column(*names * 12), column(*names, "never seen", None, 4.0, float("nan")))
    assert len(reference.inputs.streams) == 1


def test_the_rarest_of_many_categories_share_a_cell():
    contract = FeatureContract(task="classification", target="t", features=(Feature("c", kind="categorical"),))
    names = [f"c{i}" for i in range(100) for _ in range(100 - i)]
    cells = build_reference(contract, column(*names), seed=1).inputs.cells[0]
    assert len(cells.bins) == MAX_CATEGORIES
    assert (cells.bins[0], cells.bins[-1]) == ("c0", OTHERS)
    assert int(cells.ranks["c99"]) == MAX_CATEGORIES - 1
    assert sum(cells.counts) == len(names)


def test_numeric_and_categorical_features_go_together():
    rows = np.array([[1.0, "red"], [2.0, None], [np.nan, "blue"], [3.0, "green"]] * 6, dtype=object)
    reference = works(MIXED, rows, np.array([[None, "violet"], ["text", 3.0]], dtype=object))
    assert reference.inputs.cells[1].counts == (0, 6, 6, 6, 0, 6, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(width=64), st.floats(width=64)), min_size=1, max_size=40))
def test_any_floats_make_a_reference(values):
    works(numeric_contract(2), np.array(values), np.array(values[::-1]))


@pytest.mark.parametrize("shape", [(0, 2), (5, 3), (5,)])
def test_rows_that_give_no_reference_are_refused(shape):
    with pytest.raises(DataRefused):
        build_reference(numeric_contract(2), np.zeros(shape), seed=1)


@pytest.mark.parametrize("document", [b"", b"{}", b"\xff", b'{"format": 1}', b"[1]"])
def test_what_is_not_a_reference_is_refused(document):
    with pytest.raises(DataRefused):
        DriftReference.from_json(document)


def test_a_reference_of_another_format_is_refused(reference):
    with pytest.raises(DataRefused, match="format 2"):
        DriftReference.from_json(reference.to_json().replace(b'"format":1', b'"format":2'))


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (Outputs(class_ids=np.array([0, 1])), ["predicted_class"]),
        (Outputs(class_ids=np.array([0, 1]), probabilities=np.eye(3)[:2]), ["predicted_class", "top_probability"]),
        (Outputs(values=np.array([0.0, 1e9])), ["predicted_value"]),
        (Outputs(class_ids=np.array([], dtype=int)), None),
    ],
)
def test_the_answers_that_a_model_gives_are_streams(outputs, names):
    reference = build_reference(numeric_contract(2), NORMAL, seed=1, answers=ReferenceAnswers("holdout", outputs))
    assert names == (None if reference.outputs is None else [stream.name for stream in reference.outputs.streams])


def of_classes(*names: str, ids: list[int]) -> DriftReference:
    """The reference of a model that answers these class ids, with certainty."""
    contract = FeatureContract(task="classification", target="y", features=(Feature("a"), Feature("b")), classes=names)
    outputs = Outputs(class_ids=np.array(ids), probabilities=np.eye(len(names))[ids])
    answers = ReferenceAnswers("holdout", outputs, errors=3)
    return build_reference(contract, NORMAL, seed=1, answers=answers)


def test_a_reference_under_another_numbering_ranks_the_same_answers_the_same():
    ids = [0, 1, 2, 2, 1, 0, 0, 0, 2, 1] * 6
    own = of_classes("2", "9", "10", ids=ids)
    renamed = own.renamed(("10.0", "2.0", "9.0"))
    assert renamed.classes == ("10.0", "2.0", "9.0")
    other_ids = np.array([1, 2, 0])[ids]
    before = output_keys(own, Outputs(class_ids=np.array(ids), probabilities=np.eye(3)[ids]))
    after = output_keys(renamed, Outputs(class_ids=other_ids, probabilities=np.eye(3)[other_ids]))
    np.testing.assert_array_equal(after, before)
    shown = {cells.name: cells.bins for cells in renamed.outputs.cells}
    assert set(shown["predicted_class"]) == {"10.0", "2.0", "9.0"}
    assert renamed.outputs.streams == own.outputs.streams
    assert fits(renamed, start(own))


def test_a_reference_of_other_classes_is_not_renamed():
    own = of_classes("no", "yes", ids=[0, 1] * 30)
    assert own.renamed(("no", "maybe")) is own
    assert own.renamed(("no", "yes")) is own


def test_of_texts_only_missing_ones_are_watched():
    text = Feature(name="review", kind="categorical", open_categories=True, nullable=True)
    contract = FeatureContract("classification", "y", (text,), ("a", "b"))
    written = np.array([[f"text {number}"] if number % 5 else [None] for number in range(300)], dtype=object)
    reference = build_reference(contract, written, seed=1)
    (cells,), (stream, *_) = reference.inputs.cells, reference.inputs.streams
    assert (cells.bins, cells.counts, cells.others) == ((), (0, 0, 60, 240), ())
    assert stream.name == "review"
    others = np.array([[f"new {number}"] if number % 5 else [None] for number in range(2000)], dtype=object)
    quiet = drift_report("v1", reference, update(reference, start(reference, 500), others))
    assert (quiet.evidence, quiet.features[0].unseen, quiet.features[0].missing) == (0.0, None, 0.2)
    gone = np.full((2000, 1), None, dtype=object)
    assert drift_report("v1", reference, update(reference, start(reference, 500), gone)).alarm


def test_a_reference_of_texts_alone_without_gaps_raises_no_alarm():
    text = Feature(name="review", kind="categorical", open_categories=True)
    contract = FeatureContract("classification", "y", (text,), ("a", "b"))
    written = np.array([[f"text {number}"] for number in range(100)], dtype=object)
    reference = build_reference(contract, written, seed=1)
    others = np.array([[f"new {number}"] for number in range(1000)], dtype=object)
    assert not drift_report("v1", reference, update(reference, start(reference, 500), others)).alarms


def test_copies_of_rows_and_their_answers_count_once():
    chance = np.random.default_rng(21)
    rows = chance.normal(size=(100, 2))
    copied = np.tile(rows, (5, 1))
    class_ids = np.tile(chance.integers(0, 2, 100), 5)
    answers = ReferenceAnswers("holdout", Outputs(class_ids=class_ids), errors=50)
    contract = msgspec.structs.replace(numeric_contract(2), classes=("a", "b"))
    reference = build_reference(contract, copied, seed=1, answers=answers)
    alone = ReferenceAnswers("holdout", Outputs(class_ids=class_ids[:100]), errors=10)
    expected = build_reference(contract, rows, seed=1, answers=alone)
    assert reference == msgspec.structs.replace(expected, copies=400)
    assert (reference.rows, reference.errors) == (100, LabelledErrors(10, 100))
    assert reference_notes("v1", reference)[0].endswith("one table several times: the 100 rows of one copy count.")


def test_equal_rows_are_kept_where_they_are_ordinary():
    few_values = np.random.default_rng(22).integers(0, 5, size=(500, 2)).astype(float)
    assert build_reference(numeric_contract(2), few_values, seed=1).rows == 500
    colours = column(*["red", "blue"] * 50)
    contract = msgspec.structs.replace(MIXED, features=MIXED.features[1:])
    assert build_reference(contract, colours, seed=1).rows == 100


@pytest.mark.parametrize("often", ["default", "items", "oversampled"])
def test_rows_that_occur_more_often_than_others_are_kept(often):
    chance = np.random.default_rng(23)
    rows = chance.normal(size=(500, 2))
    if often == "default":
        rows[chance.random(500) < 0.2] = 0.0
    elif often == "items":
        rows = rows[chance.choice(200, size=500, p=1 / np.arange(1, 201) / np.sum(1 / np.arange(1, 201)))]
    else:
        rows = np.concatenate([rows, np.tile(rows[:50], (8, 1))])
    assert build_reference(numeric_contract(2), rows, seed=1).copies == 0
