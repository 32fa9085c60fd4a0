"""A data set, features and target: one of those that come with scikit-learn, or a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from sklearn import datasets

from app.errors import DataRefused
from app.training.columns import MISSING, Column, numeric, typed

SEPARATORS = (",", ";", "\t", "|")
# A header such as `"width, cm";"height"` has a comma that separates nothing.
_QUOTED = re.compile(r'"[^"]*"')


def read_csv(path: Path) -> tuple[Column, ...]:
    """The columns of a UTF-8 file with a header line, in their order, all of the same length.

    The separator is a comma, semicolon, tab or bar, whichever splits the header most; unless it is the comma, numbers
    may have a decimal comma. Raises `DataRefused` with the reason, and the line, if the file cannot be read like that.
    """
    text = _text(path)
    separator = _separator(text)
    records = _records(path, text, separator)
    if not records:
        raise DataRefused(f"{path} is empty: it needs a header line and rows")
    names = _names(path, records[0][1])
    rows = [_fitting(path, line, record, len(names)) for line, record in records[1:]]
    if not rows:
        raise DataRefused(f"{path} has a header but no rows: add rows")
    return tuple(
        typed(name, cells, decimal_comma=separator != ",")
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataRefused(f"there is no file {path}") from None
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror or error}") from error
    # Before decoding: UTF-16 text may decode as UTF-8, with a NUL after every letter.
    if b"\0" in raw:
        raise DataRefused(f"{path} is not UTF-8 text (UTF-16 or a binary file?): save it as CSV in UTF-8")
    try:
        return raw.decode("utf-8-sig")  # spreadsheets write a byte order mark, which would be part of the first name
    except UnicodeDecodeError as error:
        raise DataRefused(
            f"{path} is not UTF-8 text (byte 0x{raw[error.start]:02x} at offset {error.start}): save it as CSV in UTF-8"
        ) from None


def _separator(text: str) -> str:
    header = _QUOTED.sub("", re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0])
    return max(SEPARATORS, key=header.count)


def _records(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its last line (a quoted cell may hold line ends)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return [(reader.line_num, record) for record in reader if any(cell.strip() for cell in record)]
    except csv.Error as error:
        raise DataRefused(f"{path}, line {reader.line_num}: {error}") from error


def _names(path: Path, header: list[str]) -> list[str]:
    # Exported indexes have no header: such a column gets a name that --drop can use.
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(header, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataRefused(f"{path} has more than one column {twice[0]!r}: rename one", field=twice[0])
    return names


def _fitting(path: Path, line: int, record: list[str], width: int) -> list[str | None]:
    if len(record) != width:
        raise DataRefused(f"{path}, line {line}: {len(record)} fields where the header has {width}")
    return [None if cell in MISSING else cell for cell in map(str.strip, record)]


_SETS = {
    "iris": (datasets.load_iris, "species"),
    "wine": (datasets.load_wine, "cultivar"),
    "digits": (datasets.load_digits, "digit"),
    "breast_cancer": (datasets.load_breast_cancer, "diagnosis"),
}
BUILTIN_SETS = tuple(_SETS)


class BuiltinSet(msgspec.Struct, frozen=True):
    """A built-in set; the target holds class ids, and `classes` their names by id."""

    columns: tuple[Column, ...]
    target: Column
    classes: tuple[str, ...]


def load_builtin(name: str) -> BuiltinSet:
    """The built-in set of that name, one of `BUILTIN_SETS`; read from the scikit-learn package, not the network."""
    read, target = _SETS[name]
    bunch = read()
    return BuiltinSet(
        columns=tuple(numeric(column, bunch.data[:, index]) for index, column in enumerate(bunch.feature_names)),
        target=numeric(target, bunch.target),
        classes=tuple(str(label) for label in bunch.target_names),
    )


class Dataset(msgspec.Struct, frozen=True):
    """Feature columns and the target, all of the same length.

    `classes` are the names of the classes by id if the target holds class ids (built-in sets), else None.
    """

    name: str
    columns: tuple[Column, ...]
    target: Column
    classes: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target.values)

    def take(self, positions: np.ndarray) -> Dataset:
        """The rows at `positions`, in that order."""
        columns = tuple(column.take(positions) for column in self.columns)
        return msgspec.structs.replace(self, columns=columns, target=self.target.take(positions))


def load(name: str, target: str | None) -> Dataset:
    """The built-in set of that name, or the CSV file at that path with its column `target` as the target.

    Raises `DataRefused` if there is neither, or the target is not named or not there.
    """
    if name in BUILTIN_SETS:
        return _builtin(name, target)
    path = Path(name)
    # A word without an ending is more likely a misspelt set than a file.
    if path.suffix == "" and not path.exists():
        raise DataRefused(f"{name!r} is neither a file nor one of {', '.join(BUILTIN_SETS)}")
    return from_csv(path, target)


def from_csv(path: Path, target: str | None) -> Dataset:
    """The data set in the CSV file at `path`, whose column `target` is the target. Raises `DataRefused`."""
    columns = read_csv(path)
    names = ", ".join(column.name for column in columns)
    if target is None:
        raise DataRefused(f"name the target column of {path} with --target; its columns are: {names}")
    found = [column for column in columns if column.name == target.strip()]
    if not found:
        raise DataRefused(f"{path} has no column {target!r}; its columns are: {names}", field=target)
    features = tuple(column for column in columns if column is not found[0])
    if not features:
        raise DataRefused(f"{path} has no column beside the target {target!r}: add the features")
    return Dataset(name=str(path), columns=features, target=found[0])


def _builtin(name: str, target: str | None) -> Dataset:
    loaded = load_builtin(name)
    if target not in (None, "target", loaded.target.name):
        raise DataRefused(f"the target of {name} is {loaded.target.name!r}, not {target!r}", field=target)
    return Dataset(name=name, columns=loaded.columns, target=loaded.target, classes=loaded.classes)
