"""A data set, features and target: one of those that come with scikit-learn, or a CSV or Parquet file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn import datasets

from app.errors import DataRefused
from app.tables.meaning import TableReading
from app.tables.reading import read_table
from app.tables.table import TableRefused
from app.training.columns import Column, columns_of, numeric


def read_csv(path: Path, missing: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of a CSV or Parquet file, in their order, all of the same length.

    Cells that are one of the texts `missing` are missing values. Raises `DataRefused` with the reason, and the line,
    if the file cannot be read.
    """
    try:
        return columns_of(TableReading(read_table(path), missing))
    except TableRefused as refusal:
        raise DataRefused(refusal.message, field=refusal.column) from refusal


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

    `classes` are the names of the classes by id if the target holds class ids (built-in sets), else None. `missing`
    are the texts that the user said to mean a missing value; None if nothing was said.
    """

    name: str
    columns: tuple[Column, ...]
    target: Column
    classes: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target.values)

    def take(self, positions: np.ndarray) -> Dataset:
        """The rows at `positions`, in that order."""
        columns = tuple(column.take(positions) for column in self.columns)
        return msgspec.structs.replace(self, columns=columns, target=self.target.take(positions))


def load(name: str, target: str | None, missing: tuple[str, ...] | None = None) -> Dataset:
    """The built-in set of that name, or the file at that path with its column `target` as the target.

    `missing`: see `from_csv`. Raises `DataRefused` if there is neither, or the target is not named or not there.
    """
    if name in BUILTIN_SETS:
        return _builtin(name, target)
    path = Path(name)
    # A word without an ending is more likely a misspelt set than a file.
    if path.suffix == "" and not path.exists():
        raise DataRefused(f"{name!r} is neither a file nor one of {', '.join(BUILTIN_SETS)}")
    return from_csv(path, target, missing)


def from_csv(path: Path, target: str | None, missing: tuple[str, ...] | None = None) -> Dataset:
    """The data set in the CSV or Parquet file at `path`, whose column `target` is the target. Raises `DataRefused`.

    `missing` are the texts that mean a missing value, beside the empty cell; None if the user has not said.
    """
    columns = read_csv(path, missing or ())
    names = ", ".join(column.name for column in columns)
    if target is None:
        raise DataRefused(f"name the target column of {path} with --target; its columns are: {names}")
    found = [column for column in columns if column.name == target.strip()]
    if not found:
        raise DataRefused(f"{path} has no column {target!r}; its columns are: {names}", field=target)
    features = tuple(column for column in columns if column is not found[0])
    if not features:
        raise DataRefused(f"{path} has no column beside the target {target!r}: add the features")
    return Dataset(name=str(path), columns=features, target=found[0], missing=missing)


def from_export(
    path: Path, columns: Mapping[str, str], target: str, classes: Sequence[str], versions: Sequence[str]
) -> tuple[Dataset, int]:
    """The labelled rows of an export as a data set, and the number of all rows in it that `versions` served.

    `columns` are the names in training data by those of the export. `classes` are the names of the classes that the
    labels have, none for a regression. Synthetic rows are left out, and rows of other versions, whose labels mean
    something else. Raises `DataRefused`, also if no row has a label, or one of the columns, or of the classes.
    """
    names = pq.read_schema(path).names
    # What versions answered is most of the file.
    known = [name for name in ("version", "synthetic", "actual", *columns) if name in names]
    table = pq.read_table(path, columns=known)
    table = table.filter(pc.is_in(table["version"], pa.array(versions)))
    labelled = table.filter(pc.and_(pc.is_valid(table["actual"]), pc.invert(table["synthetic"])))
    if not labelled.num_rows:
        raise DataRefused(
            f"none of the {table.num_rows} predictions in the log of versions that can be compared with the champion "
            "has a label: send some (POST /feedback)"
        )
    actual = labelled["actual"]
    lacking = [training for name, training in columns.items() if name not in names]
    lacking += sorted(set(classes) - set(actual.unique().to_pylist()))
    if lacking:
        raise DataRefused(
            f"no labelled prediction in the log has {lacking[0]!r}, a column or class of the champion, with which the "
            "version could not be compared: take a longer time (--since), or wait for more labels"
        )
    if not classes:
        # A text where the log has classes too.
        actual = actual.cast(pa.float64())
    elif all(name.isascii() and name.isdecimal() and str(int(name)) == name for name in classes):
        # As the training data had them, or the names of the classes would be the same and their kind another.
        actual = actual.cast(pa.int64())
    rows = pa.table({training: labelled[name] for name, training in columns.items()} | {target: actual})
    with tempfile.TemporaryDirectory(prefix="bakeoff-log-") as folder:
        file = Path(folder) / "rows.parquet"
        pq.write_table(rows, file)
        return msgspec.structs.replace(from_csv(file, target), name="log"), table.num_rows


def _builtin(name: str, target: str | None) -> Dataset:
    loaded = load_builtin(name)
    if target not in (None, "target", loaded.target.name):
        raise DataRefused(f"the target of {name} is {loaded.target.name!r}, not {target!r}", field=target)
    return Dataset(name=name, columns=loaded.columns, target=loaded.target, classes=loaded.classes)
