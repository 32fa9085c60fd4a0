"""The rows of a file on which no loaded version was trained, by the split that its manifest records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.simulation.client import ServedModel
from app.simulation.rows import ORIGIN_DIGITS, LabelledRows
from app.tables.model_columns import places_in_file, same_columns
from app.training.checks import CheckOptions, check
from app.training.columns import known_categories
from app.training.dataset import Dataset, from_csv
from app.training.features import digest
from app.training.fit import Prepared, prepare
from app.training.task import Truth


def held_out(
    path: Path, model: ServedModel, loaded: Sequence[ServedModel], optional: Sequence[Feature] = ()
) -> LabelledRows | None:
    """The rows of the file at `path` that neither `model` nor a version of the same file in `loaded` was trained on.

    With the `optional` columns that such versions read beside the model's. None where it is not known which rows those
    are: `model` was not trained by `bakeoff train`, the file is not the one it was trained from, or together the
    versions have seen every row.
    """
    # Each version may read the file by other texts that mean a missing value, but most read it alike.
    read = cache(partial(from_csv, path))
    split = _split_again(read, model)
    if split is None:
        return None
    kept = split.split.holdout
    columns: dict[int, np.ndarray] = {}
    # Of any version: where it is not of these rows, in their order, its digest is another.
    for other in loaded:
        found = None if other == model else _split_again(read, other)
        if found is not None and len(found.rows) == len(split.rows):
            kept = kept[np.isin(kept, found.split.holdout)]
            places = same_columns(optional, other.contract.features)
            columns |= {at: found.rows[:, place] for at, place in enumerate(places) if place is not None}
    if not len(kept):
        return None
    taken = [optional[at] for at in sorted(columns)]
    contract = msgspec.structs.replace(model.contract, features=(*model.contract.features, *taken))
    rows = np.column_stack([split.rows, *(columns[at] for at in sorted(columns))]) if columns else split.rows
    return LabelledRows(
        contract=contract,
        values=rows[kept],
        labels=_labels(split.checked.truth.take(kept)),
        origin=model.source.sha256[:ORIGIN_DIGITS],
        numbers=tuple((kept + 1).tolist()),
    )


def _labels(truth: Truth) -> tuple[str | float, ...]:
    """The class names, or for a regression the numbers."""
    if truth.class_ids is None:
        return tuple(truth.labels.tolist())
    return tuple(truth.classes[class_id] for class_id in truth.class_ids)


def _split_again(read: Callable[[str, tuple[str, ...] | None], Dataset], model: ServedModel) -> Prepared | None:
    """The data as training split them; None if they are not the data that the manifest describes."""
    contract, source = model.contract, model.source
    if source.seed is None or not source.holdout_rows:
        return None
    try:
        dataset = _as_trained(read(source.target, source.missing), contract)
        # The checks decided once what to leave out: they must not decide anew.
        names = tuple(column.name for column in dataset.columns)
        checked = check(dataset, CheckOptions(keep=names, task=contract.task))
    except DataRefused:
        return None
    prepared = prepare(checked, source.seed)
    # Over names, rows and labels in their order: with another digest, positions would name other rows.
    return prepared if digest(contract, prepared.rows, checked.truth) == source.sha256 else None


def _as_trained(dataset: Dataset, contract: FeatureContract) -> Dataset:
    """The data set with the columns of the contract alone, in its order, with the categories and classes that it has.

    Earlier releases read other cells as missing, and removed spaces: the contract has what they read.
    """
    places = places_in_file(contract.features, [column.name for column in dataset.columns])
    if None in places:
        raise DataRefused("a column of the training data is missing")
    columns = tuple(
        known_categories(dataset.columns[place], frozenset(feature.categories))
        if feature.kind == "categorical"
        else dataset.columns[place]
        for feature, place in zip(contract.features, places, strict=True)
        if place is not None
    )
    target = dataset.target
    if target.kind == "categorical":
        target = known_categories(target, frozenset(contract.classes))
    # What is missing is empty: no label is lost now that was not lost in training.
    cells = (
        None
        if target.cells is None
        else tuple(
            None if is_missing else cell for cell, is_missing in zip(target.cells, target.missing.tolist(), strict=True)
        )
    )
    target = msgspec.structs.replace(target, cells=cells)
    return msgspec.structs.replace(dataset, columns=columns, target=target, missing=())
