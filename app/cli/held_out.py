"""The rows of a CSV file on which no loaded version was trained, by the split that its manifest records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.errors import DataRefused
from app.simulation.client import ServedModel
from app.simulation.rows import LabelledRows
from app.training.checks import CheckOptions, check
from app.training.dataset import from_csv
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
    features = tuple(feature.source_name or feature.name for feature in contract.features)
    try:
        dataset = from_csv(path, source.target)
        dropped = tuple(column.name for column in dataset.columns if column.name not in features)
        # The checks decided once what to leave out: they must not decide anew.
        checked = check(dataset, CheckOptions(drop=dropped, keep=features, task=contract.task))
    except DataRefused:
        return None
    prepared = prepare(checked, seed)
    # Over names, rows and labels in their order: with another digest, positions would name other rows. The names are
    # the version's own, because an earlier release may have given the same columns others.
    same = digest(contract, prepared.rows, checked.truth) == source.sha256
    return prepared if same else None
