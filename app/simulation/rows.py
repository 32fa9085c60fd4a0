"""The rows of a data set, in request form, with their true labels."""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract, unique_snake_case
from app.domain.rows import RowParser
from app.errors import DataRefused, InvalidFeatures

BUILT_IN = ("iris", "wine", "digits", "breast_cancer")
# Training's spellings of missing values, in lower case: packages of one level do not import each other.
_MISSING = frozenset(("", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"))
_SEPARATORS = ",;\t|"

Label = str | float


class LabelledRows(msgspec.Struct, frozen=True):
    """`values` of shape (n, features) in `RowParser`'s form and contract order, and n `labels`.

    A label is a class name, or a number for a regression. `skipped` counts the rows that do not fit the contract or
    have no label.
    """

    contract: FeatureContract
    values: np.ndarray
    labels: tuple[Label, ...]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.labels)


def built_in(contract: FeatureContract, name: str) -> LabelledRows:
    """All rows of the built-in set `name`, one of `BUILT_IN`. Raises `DataRefused` if they do not fit the model."""
    # Imported here because it is slow, and only built-in sets need it.
    bunch = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    names = unique_snake_case([str(column) for column in bunch.feature_names])
    places = [_place(names, feature, name) for feature in contract.features]
    classes = [str(label) for label in bunch.target_names]
    return LabelledRows(
        contract=contract,
        values=np.asarray(bunch.data[:, places], dtype=np.float64),
        labels=tuple(classes[class_id] for class_id in bunch.target),
    )


def read_csv(contract: FeatureContract, target: str, path: Path) -> LabelledRows:
    """The rows of a CSV file that fit the model, in their order.

    Raises `DataRefused` if the file cannot be read, or none of its rows fits.
    """
    header, records = _read(path)
    if target not in header:
        raise DataRefused(f"{path} has no column {target!r}, the model's target: give the model's data with --data")
    target_at, features_at = header.index(target), _features_at(header, target, contract, path)
    parser = RowParser(contract)
    rows, labels = [], []
    for record in records:
        label = _label(contract, record[target_at])
        row = _row(contract, parser, [record[at] for at in features_at])
        if label is not None and row is not None:
            rows.append(row)
            labels.append(label)
    if not rows:
        raise DataRefused(f"no row of {path} fits the model's features and classes")
    return LabelledRows(contract, np.concatenate(rows), tuple(labels), skipped=len(records) - len(rows))


def _features_at(header: list[str], target: str, contract: FeatureContract, path: Path) -> list[int]:
    """The positions of the contract's columns in the file. Training normalises all names except the target's."""
    positions = [at for at, name in enumerate(header) if name != target]
    names = unique_snake_case([header[at] for at in positions])
    return [positions[_place(names, feature, str(path))] for feature in contract.features]


def _row(contract: FeatureContract, parser: RowParser, cells: list[str]) -> np.ndarray | None:
    """The row, of shape (1, features), or None if the contract rejects it."""
    try:
        return parser.row([_cell(feature, cell) for feature, cell in zip(contract.features, cells, strict=True)])
    except InvalidFeatures:
        return None


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", first).count)
            lines = [line for line in csv.reader(file, delimiter=separator, skipinitialspace=True) if any(line)]
    except FileNotFoundError:
        raise DataRefused(f"there is no file {path}: give the model's data with --data") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataRefused(f"{path} cannot be read: {error}") from error
    if not lines:
        raise DataRefused(f"{path} is empty")
    header = [name.strip() for name in lines[0]]
    # Lines of another length are skipped here; training would have refused the file.
    return header, [[cell.strip() for cell in line] for line in lines[1:] if len(line) == len(header)]


def _place(names: list[str], feature: Feature, data: str) -> int:
    if feature.name not in names:
        raise DataRefused(f"{data} has no column for the model's feature {feature.name!r}", field=feature.name)
    return names.index(feature.name)


def _cell(feature: Feature, cell: str) -> float | str | None:
    if cell.lower() in _MISSING:
        return None
    if feature.kind == "numeric":
        number = _number(cell)
        return cell if number is None else number  # text stays: `RowParser` rejects it, and the row is skipped
    return cell.lower() if cell not in feature.categories and cell.lower() in ("true", "false") else cell


def _label(contract: FeatureContract, cell: str) -> Label | None:
    """The class name or number that the cell stands for; None if it is neither."""
    number = _number(cell)
    if contract.task == "regression":
        return number
    # Training names whole-number classes without a decimal point, and booleans in lower case.
    spellings = (cell, cell.lower(), str(int(number)) if number is not None and number == int(number) else cell)
    return next((name for name in spellings if name in contract.classes), None)


def _number(cell: str) -> float | None:
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None
