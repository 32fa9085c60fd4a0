"""Which rows of a file no loaded version was trained on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.cli.held_out import held_out
from app.domain.manifest import Source
from app.simulation.client import ServedModel, other_columns
from app.training.checks import CheckOptions, check
from app.training.dataset import from_csv
from app.training.features import digest
from app.training.fit import Prepared, prepare


@pytest.fixture
def path(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    lines = []
    for place in range(100):
        visits, bought = "" if place % 9 == 0 else place % 7, ("no", "yes")[place % 2]
        lines.append(f"{draw.normal():.3f},{'ab'[place % 2]},{visits},x{place % 50},{bought}")
    file = tmp_path / "own.csv"
    file.write_text("Net income (EUR),Group,Visits,note,Bought\n" + "\n".join(lines) + "\n,,,,yes\n1,a,2,x,\n")
    return file


def trained(path: Path, seed: int | None = 3, drop: tuple[str, ...] = ("note",)) -> tuple[ServedModel, Prepared]:
    checked = check(from_csv(path, "Bought"), CheckOptions(drop=drop))
    split = prepare(checked, seed or 0)
    source = Source(
        dataset=str(path),
        target="Bought",
        rows=checked.dataset.rows,
        sha256=digest(split.contract, split.rows, checked.truth),
        holdout_rows=len(split.split.holdout),
        seed=seed,
    )
    return ServedModel("v1", split.contract, source), split


def texts(rows: np.ndarray) -> list[str]:
    return sorted(map(str, rows.tolist()))


def test_the_held_out_rows_come_back_with_their_labels(path: Path) -> None:
    model, split = trained(path)
    found = held_out(path, model, [model])
    assert found is not None
    assert texts(found.values) == texts(split.rows[split.split.holdout])
    assert set(found.labels) == {"no", "yes"}
    assert [found.key(place) for place in (0, 1)] == [
        f"{model.source.sha256[:16]}-{number + 1}" for number in split.split.holdout[:2]
    ]
    by_row = dict(zip(map(str, split.rows.tolist()), split.checked.truth.labels.tolist(), strict=True))
    assert [by_row[str(row)] for row in found.values.tolist()] == list(found.labels)


def test_rows_that_another_loaded_version_was_trained_on_are_left_out(path: Path) -> None:
    (model, split), (other, another) = trained(path), trained(path, seed=4)
    found = held_out(path, model, [model, other])
    assert found is not None
    both = np.intersect1d(split.split.holdout, another.split.holdout)
    assert texts(found.values) == texts(split.rows[both])


def test_a_version_whose_columns_an_earlier_release_named_otherwise_has_its_split(path: Path) -> None:
    model, split = trained(path)
    first, *rest = model.contract.features
    earlier = (msgspec.structs.replace(first, name="feature"), *rest)
    contract = msgspec.structs.replace(model.contract, features=earlier)
    source = msgspec.structs.replace(model.source, sha256=digest(contract, split.rows, split.checked.truth))
    named = msgspec.structs.replace(model, contract=contract, source=source)
    found = held_out(path, named, [named])
    assert found is not None
    assert texts(found.values) == texts(split.rows[split.split.holdout])


def test_columns_that_another_version_of_the_file_reads_come_too(path: Path) -> None:
    (fewer, one), (model, split) = trained(path, drop=("note", "Visits")), trained(path, seed=4)
    other = msgspec.structs.replace(model, version="v2")
    (visits,) = other_columns(fewer, [fewer, other])
    assert (visits.name, visits.nullable) == ("visits", True)
    found = held_out(path, fewer, [fewer, other], [visits])
    assert found is not None
    assert found.contract.names == ("net_income", "group", "visits")
    both = np.intersect1d(one.split.holdout, split.split.holdout)
    assert texts(found.values) == texts(split.rows[both])


def test_a_version_of_the_same_rows_counts_wherever_its_file_lay(path: Path) -> None:
    (model, split), (other, another) = trained(path), trained(path, seed=4)
    moved = msgspec.structs.replace(other, source=msgspec.structs.replace(other.source, dataset="elsewhere/own.csv"))
    found = held_out(path, model, [model, moved])
    assert found is not None
    assert texts(found.values) == texts(split.rows[np.intersect1d(split.split.holdout, another.split.holdout)])


@pytest.mark.parametrize("change", ["seed", "file", "holdout", "gone"])
def test_where_the_split_is_not_known_there_are_none(path: Path, change: str) -> None:
    model, _ = trained(path)
    source = model.source
    if change == "file":
        path.write_text(path.read_text().replace("0,a,", "1,a,", 1))
    elif change == "gone":
        path.unlink()
    else:
        without = {"seed": {"seed": None}, "holdout": {"holdout_rows": 0}}[change]
        source = msgspec.structs.replace(source, **without)
    assert held_out(path, msgspec.structs.replace(model, source=source), [model]) is None


def test_a_version_of_an_earlier_release_gets_the_cells_as_that_release_read_them(tmp_path: Path) -> None:
    """It removed the spaces around texts, and took `NA` for a missing value."""
    now, then = [], []
    for place in range(60):
        group, label = ("NA", "b", "c")[place % 3], ("no", "yes", "NA")[place % 7 % 3]
        now.append(f"{place / 7:.3f}, {group}, {label}")
        then.append(f"{place / 7:.3f},{group.replace('NA', '')},{label.replace('NA', '')}")
    for name, lines in (("now.csv", now), ("then.csv", then)):
        (tmp_path / name).write_text("x,group,label\n" + "\n".join(lines) + "\n")
    checked = check(from_csv(tmp_path / "then.csv", "label"), CheckOptions())
    split = prepare(checked, 3)
    source = Source(
        dataset=str(tmp_path / "now.csv"),
        target="label",
        rows=checked.dataset.rows,
        sha256=digest(split.contract, split.rows, checked.truth),
        holdout_rows=len(split.split.holdout),
        seed=3,
    )
    model = ServedModel("v1", split.contract, source)
    found = held_out(tmp_path / "now.csv", model, [model])
    assert found is not None
    assert texts(found.values) == texts(split.rows[split.split.holdout])
    assert set(found.labels) == {"no", "yes"}


def test_the_texts_that_training_took_for_missing_are_missing_again(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = [f"{'-' if place % 5 == 0 else place / 7:.4},{'ab-'[place % 3]},{'yn'[place % 2]}" for place in range(60)]
    path.write_text("x,group,label\n" + "\n".join(lines) + "\n")
    checked = check(from_csv(path, "label", ("-",)), CheckOptions())
    split = prepare(checked, 3)
    source = Source(
        dataset=str(path),
        target="label",
        rows=checked.dataset.rows,
        sha256=digest(split.contract, split.rows, checked.truth),
        holdout_rows=len(split.split.holdout),
        seed=3,
        missing=("-",),
    )
    model = ServedModel("v1", split.contract, source)
    found = held_out(path, model, [model])
    assert found is not None
    assert texts(found.values) == texts(split.rows[split.split.holdout])
