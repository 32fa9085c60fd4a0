"""A data set: its features and its target, from a built-in set or a CSV file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from app.errors import DataRefused
from app.training import builtin
from app.training.columns import Column
from app.training.csv_file import read_csv


class Dataset(msgspec.Struct, frozen=True):
    """Feature columns and the target, all of the same length.

    `classes` are the names of the classes by id where the target is made of class ids (built-in sets).
    """

    name: str
    columns: tuple[Column, ...]
    target: Column
    classes: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.target.values)

    def take(self, positions: np.ndarray) -> Dataset:
        """The rows at `positions`, in that order."""
        columns = tuple(column.take(positions) for column in self.columns)
        return msgspec.structs.replace(self, columns=columns, target=self.target.take(positions))


def load(name: str, target: str | None) -> Dataset:
    """The built-in set of that name, or the CSV file at that path with its column `target` as the target.

    Raises `DataRefused` where there is no such thing, or the target is missing or not named.
    """
    if name in builtin.NAMES:
        return _builtin(name, target)
    path = Path(name)
    if path.suffix == "" and not path.exists():
        raise DataRefused(f"{name!r} is neither a file nor one of {', '.join(builtin.NAMES)}")
    return from_csv(path, target)


def from_csv(path: Path, target: str | None) -> Dataset:
    """The CSV file's data set. Raises `DataRefused`."""
    columns = read_csv(path)
    names = ", ".join(column.name for column in columns)
    if target is None:
        raise DataRefused(f"name the target column of {path} with --target; its columns are: {names}")
    found = [column for column in columns if column.name == target.strip()]
    if not found:
        raise DataRefused(f"{path} has no column {target!r}; its columns are: {names}", field=target)
    features = tuple(column for column in columns if column is not found[0])
    if not features:
        raise DataRefused(f"{path} has no column beside the target {target!r}")
    return Dataset(name=str(path), columns=features, target=found[0])


def _builtin(name: str, target: str | None) -> Dataset:
    loaded = builtin.load(name)
    if target not in (None, "target", loaded.target.name):
        raise DataRefused(f"the target of {name} is {loaded.target.name!r}, not {target!r}", field=target)
    return Dataset(name=name, columns=loaded.columns, target=loaded.target, classes=loaded.classes)
