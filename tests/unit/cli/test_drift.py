from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import Source
from app.drift.reference import build_reference
from app.inference.references import ReferenceDraft
from app.inference.registry import ModelRegistry
from app.store.keys import load_or_create
from tests import builders

CONTRACT = FeatureContract(
    task="regression",
    target="price",
    features=(Feature("size", source_name="Size (m2)"), Feature("colour", kind="categorical"), Feature("new")),
)
CHANCE = np.random.default_rng(0)


def rows(number: int, shift: float = 0.0) -> list[list[object]]:
    colours = CHANCE.choice(["red", "blue"], number)
    return [[float(CHANCE.normal() + shift), str(colour), float(index % 2)] for index, colour in enumerate(colours)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An installation with a published v1 that has a drift reference and no usable model."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    manifest = builders.manifest(contract=CONTRACT)
    reference = build_reference(CONTRACT, np.array(rows(200), dtype=object), seed=1)
    registry = ModelRegistry(tmp_path / "models", load_or_create(tmp_path / "data").registry)
    registry.publish(manifest, {"model.joblib": b"-", "reference.json": reference.to_json()}, "v1")
    return tmp_path


def test_a_file_is_compared_with_the_newest_valid_reference(folder, capsys):
    registry = ModelRegistry(folder / "models", load_or_create(folder / "data").registry)
    for number, shift in ((70, 2.0), (80, 2.0)):
        reference = build_reference(CONTRACT, np.array(rows(number, shift), dtype=object), seed=1)
        source = Source(dataset="rows.csv", target="price", rows=number, sha256="d" * 64)
        draft = ReferenceDraft(reference=reference, reference_is="unknown", source=source, libraries={})
        registry.publish_reference("v1", draft, lambda: 1_700_000_000_000_000)
    shifted = csv(folder, rows(300, shift=2.0))
    found = report(capsys, shifted)
    assert (found["alarm"], found["reference_rows"], found["reference_number"]) == (False, 80, 2)
    assert found["reference_since"] == "2023-11-14T22:13:40.000000Z"
    (folder / "models" / ".references" / "v1.2" / "manifest.sig").unlink()
    assert report(capsys, shifted)["reference_number"] == 1


def csv(folder: Path, lines: list[list[object]], header: str = "price,Size (m2),colour,new") -> str:
    path = folder / "live.csv"
    texts = [",".join(["0", *("" if value is None else str(value) for value in line)]) for line in lines]
    path.write_text("\n".join([header, *texts]) + "\n")
    return str(path)


def report(capsys, *words: str) -> dict:
    assert main(["drift", *words, "--version", "v1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_like_the_training_data_shows_no_drift(folder, capsys):
    assert main(["drift", csv(folder, rows(100)), "--version", "v1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("100 rows compared with 200 rows of v1's reference\n\nNo change is proven")


def test_a_file_with_a_shift_is_proven_to_have_changed(folder, capsys):
    found = report(capsys, csv(folder, rows(300, shift=2.0)))
    assert (found["alarm"], found["requests"], found["window"]) == (True, 300, 300)
    assert found["score"] > 0.4
    assert main(["drift", csv(folder, rows(300, shift=2.0)), "--version", "v1"]) == 0
    assert "A change is proven" in capsys.readouterr().out


def alarm_table(text: str) -> list[list[str]]:
    """The cells of the table of streams that raised the alarm, without its heading; empty if there is none."""
    lines = iter(text.splitlines())
    if not any(line.startswith("ALARM RAISED BY") for line in lines):
        return []
    return [re.split(r" {2,}", line.strip()) for line in itertools.takewhile(str.strip, lines)]


def test_a_change_that_is_over_is_reported_with_what_raised_the_alarm(folder, capsys):
    lines = [*rows(200), *rows(100, shift=3.0), *rows(4000)]
    assert main(["drift", csv(folder, lines), "--version", "v1"]) == 0
    text = capsys.readouterr().out
    assert "A change was proven in the inputs (size)" in text
    assert " earlier in the file, and is over at its end." in text
    [[stream, kind, row, evidence], *_] = alarm_table(text)
    assert (stream, kind, evidence, 200 < int(row) <= 250) == ("size", "inputs", "1.00", True)


def test_the_streams_of_an_alarm_are_listed_with_row_and_evidence(folder, capsys):
    path = csv(folder, [*rows(100), *rows(300, shift=2.0)])
    streams = report(capsys, path)["alarm_streams"]
    assert main(["drift", path, "--version", "v1"]) == 0
    text = capsys.readouterr().out
    assert "A change is proven in the inputs (size)" in text
    assert alarm_table(text) == [
        [each["name"], each["kind"], str(each["requests"]), f"{each['evidence']:.2f}"] for each in streams
    ]


def test_without_an_alarm_no_stream_is_listed(folder, capsys):
    assert main(["drift", csv(folder, rows(100)), "--version", "v1"]) == 0
    assert alarm_table(capsys.readouterr().out) == []


@pytest.mark.parametrize(("options", "advised"), [([], True), (["--shuffle", "1"], False)])
def test_shuffling_is_advised_unless_the_rows_are_shuffled(folder, capsys, options, advised):
    assert main(["drift", csv(folder, rows(300, shift=2.0)), "--version", "v1", *options]) == 0
    shown = capsys.readouterr().out
    assert "A change is proven" in shown
    assert ("--shuffle" in shown) is advised


def test_the_text_has_a_row_for_each_feature(folder, capsys):
    assert main(["drift", csv(folder, rows(100)), "--version", "v1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("FEATURE"))
    assert [line.split()[0] for line in lines[heading + 1 : heading + 4]] == ["size", "colour", "new"]


def test_odd_cells_are_counted_and_not_refused(folder, capsys):
    lines = [[None, "green", "true"], ["text", None, "FALSE"], ["inf", "red", "0"], [0.5, "blue", "1"]]
    size, colour, new = report(capsys, csv(folder, lines))["features"]
    assert (size["missing"], size["unseen"], size["out_of_range"]) == (0.25, 0.25, 0.25)
    assert (colour["missing"], colour["unseen"]) == (0.25, 0.25)
    assert sum(new["live"]) == 1


def test_the_window_is_the_end_of_the_file(folder, capsys):
    path = csv(folder, [*rows(200), *rows(60, shift=9.0)])
    assert report(capsys, path, "--window", "50")["features"][0]["out_of_range"] > 0.9
    assert report(capsys, path)["features"][0]["out_of_range"] < 0.3


def test_a_file_that_is_sorted_can_be_shuffled(folder, capsys):
    path = csv(folder, sorted(rows(150), key=lambda line: str(line[0])))
    assert not report(capsys, path, "--shuffle", "1")["alarm"]


@pytest.mark.parametrize(
    ("header", "version", "complaint"),
    [
        ("price,Size (m2),colour,other", "v1", "live.csv has no column for the model's feature 'new'"),
        ("price,Size (m2),colour,new", "v9", "no version 'v9'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_reason(folder, capsys, header, version, complaint):
    assert main(["drift", csv(folder, rows(3), header), "--version", version]) == 1
    assert complaint in capsys.readouterr().err


def own(folder: Path, contract: FeatureContract, values: list[list[object]]) -> None:
    """Publish v2 with a reference of these rows."""
    reference = build_reference(contract, np.array(values, dtype=object), seed=1)
    manifest = builders.manifest(version="v2", contract=contract)
    registry = ModelRegistry(folder / "models", load_or_create(folder / "data").registry)
    registry.publish(manifest, {"model.joblib": b"-", "reference.json": reference.to_json()}, "v2")


def test_rows_of_the_reference_are_no_drift_however_their_cells_are_written(folder, capsys):
    categories = Feature("country", kind="categorical", categories=(" ZA", "NA"))
    contract = FeatureContract("regression", "y", (categories, Feature("price"), Feature("member", boolean=True)))
    values = [[("NA", " ZA")[place % 2], 1000 + place / 4, float(place % 3 == 0)] for place in range(300)]
    own(folder, contract, values)
    path = folder / "own.csv"
    lines = [f"{c};{p:_.2f};{bool(m)}".replace(".", ",").replace("_", ".") for c, p, m in values]
    path.write_text("\ufeffcountry;price;member\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert main(["drift", str(path), "--version", "v2", "--shuffle", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["alarm"], found["evidence"], found["requests"]) == (False, 0.0, 300)
    assert [(each["missing"], each["unseen"]) for each in found["features"]] == [(0.0, 0.0)] * 3


def test_what_is_said_to_be_missing_counts_as_missing(folder, capsys):
    categories = Feature("country", kind="categorical", categories=("NA", "ZA"), nullable=True)
    contract = FeatureContract("regression", "y", (categories, Feature("price")))
    own(folder, contract, [["ZA", float(place)] for place in range(300)])
    path = folder / "own.csv"
    path.write_text("country,price\n" + "NA,1\nZA,2\n" * 100)
    assert main(["drift", str(path), "--version", "v2", "--missing", "NA", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"][0]["missing"] == 0.5
