"""The schema of an export: which columns a file has, for the rows and the versions that are in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pyarrow as pa

from app.domain.contract import FeatureContract
from app.services.export.columns import ColumnType, Contracts, FeatureColumn, FeatureColumns
from app.services.export.rows import RowForm

UTC = pa.timestamp("us", tz="UTC")
_TYPES: Mapping[ColumnType, pa.DataType] = {
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.timestamp("us"),
    "time_utc": UTC,
}
# What every row has, and its outcomes. The names of all columns behind them have a dot.
_FIRST: tuple[tuple[str, pa.DataType], ...] = (
    ("seq", pa.int64()),
    ("prediction_id", pa.string()),
    ("time", UTC),
    ("request_id", pa.string()),
    ("id", pa.string()),
    ("user", pa.string()),
    ("experiment", pa.string()),
    ("epoch", pa.int64()),
    ("version", pa.string()),
    ("chosen", pa.string()),
    ("assignment", pa.string()),
    ("propensity", pa.float64()),
    ("counts", pa.bool_()),
    ("synthetic", pa.bool_()),
    ("latency_ms", pa.float64()),
)
_LAST = (("unmatched", pa.string()),)


class VersionColumns(msgspec.Struct, frozen=True):
    """The columns of a version's answers. `classes` are their names by class id, empty for a regression."""

    version: str
    classes: tuple[str, ...]
    is_number: bool

    @property
    def fields(self) -> list[tuple[str, pa.DataType]]:
        """Name and type of each column."""
        answer = pa.float64() if self.is_number else pa.string()
        shares = [(f"probability.{self.version}.{name}", pa.float64()) for name in self.classes]
        return [(f"answer.{self.version}", answer), *shares, (f"status.{self.version}", pa.string())]


class ExportSchema(msgspec.Struct, frozen=True):
    """The columns of an export.

    `features` are those of `columns` that it has, by their positions there. `labels` are the names of classes for rows
    of a version that is not known any more.
    """

    columns: FeatureColumns
    features: tuple[int, ...]
    versions: tuple[VersionColumns, ...]
    contracts: Contracts
    labels: tuple[str, ...]
    actual_is_number: bool
    arrow: pa.Schema

    @property
    def feature_columns(self) -> list[FeatureColumn]:
        """The columns of features, in the order of the file."""
        return [self.columns.columns[place] for place in self.features]

    def classes_of(self, version: str) -> tuple[str, ...]:
        """The classes by id that answers and labels of a version's rows have."""
        contract = self.contracts.get(version)
        return self.labels if contract is None else contract.classes


def type_of(column: FeatureColumn) -> pa.DataType:
    """The type of a column of features in a file."""
    return _TYPES[column.type]


def schema_of(
    columns: FeatureColumns, contracts: Contracts, forms: Iterable[RowForm], versions: Iterable[str]
) -> ExportSchema:
    """The schema for rows of these forms that these versions were asked; its columns are in the registry's order."""
    places = [columns.places(form) or () for form in forms]
    features = tuple(sorted({place for each in places for place in each}))
    wanted = set(versions)
    names = [name for name in contracts if name in wanted] + sorted(wanted - contracts.keys())
    usual = _usual(contracts, names)
    of_versions = tuple(_version(name, contracts.get(name, usual)) for name in names)
    labels = usual.classes if usual is not None else ()
    is_number = bool(of_versions) and all(each.is_number for each in of_versions)
    actual = pa.float64() if is_number else pa.string()
    outcomes = [("actual", actual), ("actual_time", UTC), ("reward", pa.float64()), ("reward_time", UTC)]
    outcomes += [("actual_corrected_time", UTC), ("reward_corrected_time", UTC)]
    of_features = [(columns.columns[place].name, _TYPES[columns.columns[place].type]) for place in features]
    of_answers = [field for version in of_versions for field in version.fields]
    arrow = pa.schema([*_FIRST, *outcomes, *of_features, *of_answers, *_LAST])
    return ExportSchema(columns, features, of_versions, contracts, labels, is_number, arrow)


def _usual(contracts: Contracts, names: Sequence[str]) -> FeatureContract | None:
    """The contract by which rows of unknown versions are read: that of the first one in the export that is known."""
    known = [contracts[name] for name in names if name in contracts]
    return next(iter(known or contracts.values()), None)


def _version(name: str, contract: FeatureContract | None) -> VersionColumns:
    if contract is None:
        return VersionColumns(name, (), is_number=False)
    return VersionColumns(name, contract.classes, is_number=contract.task == "regression")
