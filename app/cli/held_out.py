"""The rows of a file on which no loaded version was trained, by the split that its manifest records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.domain.contract import FeatureContract, matching_columns
from app.errors import DataRefused
from app.simulation.client import ServedModel
from app.simulation.rows import LabelledRows
from app.training.checks import CheckOptions, check
from app.training.columns import known_categories
from app.training.dataset import Dataset, from_csv
from app.training.features import digest
from app.training.fit import Prepared, prepare


def held_out(path: Path, model: ServedModel, loaded: Sequence[ServedModel]) -> LabelledRows | None:
    """The rows of the file at `path` that neither `model` nor a version of the same data in `loaded` was trained on.

    None where that is not known: `model` was not trained by `bakeoff train`, the file is not the one it was trained
    from, or together the versions have seen every row.
    """
    split = _split_again(path, model, model.source.seed)
    if split is None:
        return None
    others = {each.source.seed for each in loaded if each.source.sha256 == model.source.sha256} - {model.source.seed}
    kept = split.split.holdout
    for other in (_split_again(path, model, seed) for seed in sorted(seed for seed in others if seed is not None)):
        kept = kept if other is None else kept[np.isin(kept, other.split.holdout)]
    if not len(kept):
        return None
    truth = split.checked.truth
    if truth.class_ids is None:
        labels: tuple[str | float, ...] = tuple(truth.labels[kept].tolist())
    else:
        labels = tuple(truth.classes[class_id] for class_id in truth.class_ids[kept])
    return LabelledRows(model.contract, split.rows[kept], labels)


def _split_again(path: Path, model: ServedModel, seed: int | None) -> Prepared | None:
    """The data as training split them with `seed`; None if they are not the data that the manifest describes."""
    contract, source = model.contract, model.source
    if seed is None or not source.holdout_rows:
        return None
    try:
        dataset = _as_trained(from_csv(path, source.target, source.missing), contract)
        # The checks decided once what to leave out: they must not decide anew.
        names = tuple(column.name for column in dataset.columns)
        checked = check(dataset, CheckOptions(keep=names, task=contract.task))
    except DataRefused:
        return None
    prepared = prepare(checked, seed)
    # Over names, rows and labels in their order: with another digest, positions would name other rows.
    return prepared if digest(contract, prepared.rows, checked.truth) == source.sha256 else None


def _as_trained(dataset: Dataset, contract: FeatureContract) -> Dataset:
    """The data set with the columns of the contract alone, in its order, with the categories and classes that it has.

    Earlier releases read other cells as missing, and removed spaces: the contract has what they read.
    """
    wanted = [feature.source_name or feature.name for feature in contract.features]
    places = matching_columns(wanted, [column.name for column in dataset.columns], contract.names)
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
