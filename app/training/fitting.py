"""Fit one variant on the training rows and score it on both sides of the split."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.training.checks import Checked
from app.training.complaints import collected
from app.training.evaluate import Figures, answers, errors_in, score
from app.training.pipeline import inputs_for, pipeline_for
from app.training.prepared import features_of, rows_of
from app.training.split import Split, stratified
from app.training.variants import Variant, instantiate


class Prepared(msgspec.Struct, frozen=True):
    """Checked data, split, with the contract that any variant fitted on them will have."""

    checked: Checked
    contract: FeatureContract
    rows: np.ndarray
    split: Split


class Fitted(msgspec.Struct, frozen=True):
    """A variant, fitted. `heldout` are its answers to the hold-out rows, `errors` how many of them are wrong classes.

    `complaints` are the warnings that fitting gave, each once.
    """

    variant: str
    estimator: Any
    training: Figures
    holdout: Figures
    heldout: Outputs
    errors: int | None
    complaints: tuple[str, ...] = ()


def prepare(checked: Checked, seed: int) -> Prepared:
    """The split, and the contract: ranges of the training rows, categories and gaps of all rows."""
    dataset, truth = checked.dataset, checked.truth
    strata = np.zeros(dataset.rows, dtype=np.int64) if truth.class_ids is None else truth.class_ids
    split = stratified(strata, checked.first, seed)
    contract = FeatureContract(
        task=truth.task,
        target=dataset.target.name,
        features=features_of(dataset.columns, split.training),
        classes=truth.classes,
    )
    return Prepared(checked=checked, contract=contract, rows=rows_of(dataset.columns), split=split)


def fit(name: str, variant: Variant, prepared: Prepared, seed: int) -> Fitted:
    """The variant fitted on the training rows. The same data and seed give the same answers to every row.

    Raises `DataRefused` where the estimator will not be fitted on these data, `SettingError` where the variant is
    wrong.
    """
    contract, truth, split = prepared.contract, prepared.checked.truth, prepared.split
    model = instantiate(name, variant, truth.task, seed)
    estimator = pipeline_for(contract, model, scale=variant.scale)
    rows = prepared.rows[split.training]
    with collected() as complaints:
        try:
            estimator.fit(inputs_for(contract, rows), truth.labels[split.training])
        except (ValueError, TypeError) as error:
            raise DataRefused(f"{name} cannot be fitted on these data: {error}") from error
    trained, held = truth.take(split.training), truth.take(split.holdout)
    heldout = answers(estimator, contract, prepared.rows[split.holdout])
    return Fitted(
        variant=name,
        estimator=estimator,
        training=score(answers(estimator, contract, rows), trained),
        holdout=score(heldout, held),
        heldout=heldout,
        errors=errors_in(heldout, held),
        complaints=tuple(complaints),
    )
