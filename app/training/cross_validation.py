"""Compare variants on the training rows alone: five-fold cross-validation on the same folds, and the rule that ranks.

The hold-out is never used here: its figures stay those of rows that neither the fit nor the choice has seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.inference.sklearn_runtime import SklearnRuntime
from app.training.evaluation import Figures, score
from app.training.fit import Prepared, collect_user_warnings, fitted_pipeline
from app.training.variants import TrainingVariant

FOLDS = 5
_LEAST_ORIGINALS = 2 * FOLDS
_ROUNDING = 1e-9

Fold = tuple[np.ndarray, np.ndarray]


class CrossValidated(msgspec.Struct, frozen=True):
    """The figures of a variant's answers to all training rows, each by a model that was fitted without its fold.

    `losses`, shape (rows,), are what variants are compared by, row by row: 1 for a wrong class and 0 for the right one;
    for a regression the squared error.
    """

    figures: Figures
    losses: np.ndarray


class Rank(msgspec.Struct, frozen=True):
    """A variant's place. `best` has the lowest mean loss of those that are left for this place.

    `difference` is how much higher this variant's is, and `standard_error` that of the difference, over the rows.
    """

    variant: str
    best: str
    difference: float
    standard_error: float


def folds_of(prepared: Prepared, seed: int) -> list[Fold]:
    """Positions, among the training rows, of the rows to fit on and of those to answer; the folds are seeded.

    Copies of a row are in one fold, and classes have the same shares in each. Raises `DataRefused` for fewer than ten
    different rows.
    """
    checked, training = prepared.checked, prepared.split.training
    originals, places = np.unique(checked.first[training], return_inverse=True)
    if len(originals) < _LEAST_ORIGINALS:
        raise DataRefused(
            f"{len(originals)} different rows to train on are too few to compare variants by {FOLDS} folds: add rows, "
            "or train one --variant"
        )
    if checked.truth.class_ids is None:
        parts = KFold(FOLDS, shuffle=True, random_state=seed).split(originals)
    else:
        # A class may have fewer rows than there are folds: scikit-learn warns, and `_answers` can do without it.
        strata = checked.truth.class_ids[originals]
        parts = _stratified(strata, seed) if np.bincount(strata).max() >= FOLDS else KFold(FOLDS).split(originals)
    return [_positions(held, places, len(originals)) for _, held in parts]


def cross_validated(
    name: str,
    variant: TrainingVariant,
    prepared: Prepared,
    folds: Sequence[Fold],
    seed: int,
    progress: Callable[[str], None],
) -> CrossValidated:
    """The variant's figures over all folds. `progress` gets a text for each.

    Raises `DataRefused` if the estimator cannot be fitted on a part of the rows, `SettingError` for a wrong variant.
    """
    truth = prepared.checked.truth.take(prepared.split.training)
    answered: list[Outputs] = []
    for number, (fitted, held) in enumerate(folds, 1):
        progress(f"{name}: fold {number} of {len(folds)}")
        with collect_user_warnings():  # those of the fit on all rows are shown
            answered.append(_answers(name, variant, prepared, fitted, held, seed))
    order = np.argsort(np.concatenate([held for _, held in folds]))
    outputs = Outputs(**{part: _joined(answered, part, order) for part in ("class_ids", "probabilities", "values")})
    losses = (truth.labels - outputs.values) ** 2 if truth.class_ids is None else truth.class_ids != outputs.class_ids
    return CrossValidated(score(outputs, truth), np.asarray(losses, dtype=np.float64))


def ranked(losses: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> tuple[Rank, ...]:
    """The variants from the best on. `losses`, shape (rows,), are of the same rows; `sizes` of the models, in bytes.

    For each place: of those that are left, the lowest mean loss leads. Variants whose mean is no more than one standard
    error of the difference above it are tied with it, and the smallest model of these gets the place: the rule of
    Breiman et al. (1984), by which the simplest of those that cannot be told apart is taken. Simple is by size and not
    by latency, because a size is the same at each run.
    """
    left, places = list(losses), []
    while left:
        best = min(left, key=lambda name: (float(losses[name].mean()), sizes[name]))
        above = {name: _above(losses[name] - losses[best]) for name in left}
        # One row of difference is exactly one standard error, whatever the number of rows: rounding must not decide it.
        tied = [name for name in left if above[name][0] <= above[name][1] * (1 + _ROUNDING)]
        chosen = min(tied, key=lambda name: (sizes[name], above[name][0]))
        places.append(Rank(chosen, best, *above[chosen]))
        left.remove(chosen)
    return tuple(places)


def _above(differences: np.ndarray) -> tuple[float, float]:
    """The mean of paired differences, and its standard error."""
    rows = len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(rows)) if rows > 1 else 0.0
    return float(differences.mean()), error


def _stratified(strata: np.ndarray, seed: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(strata, strata))


def _positions(held: np.ndarray, places: np.ndarray, originals: int) -> Fold:
    marked = np.zeros(originals, dtype=bool)
    marked[held] = True
    copies = marked[places]
    return np.flatnonzero(~copies), np.flatnonzero(copies)


def _answers(
    name: str, variant: TrainingVariant, prepared: Prepared, fitted: np.ndarray, held: np.ndarray, seed: int
) -> Outputs:
    """The answers to the training rows at `held` of the variant fitted on those at `fitted`; class ids are of all."""
    contract, training = prepared.contract, prepared.split.training
    rows = prepared.rows[training]
    truth = prepared.checked.truth.take(training[fitted])
    estimator = fitted_pipeline(name, variant, contract, rows[fitted], truth, seed)
    if truth.class_ids is None:
        return SklearnRuntime(name, estimator, contract).predict(rows[held])
    # A rare class may be missing from a fold: the model numbers only the classes that it saw.
    present = np.unique(truth.class_ids)
    seen = msgspec.structs.replace(contract, classes=tuple(contract.classes[place] for place in present.tolist()))
    outputs = SklearnRuntime(name, estimator, seen).predict(rows[held])
    assert outputs.class_ids is not None
    probabilities = None
    if outputs.probabilities is not None:
        probabilities = np.zeros((len(held), len(contract.classes)))
        probabilities[:, present] = outputs.probabilities
    return Outputs(class_ids=present[outputs.class_ids], probabilities=probabilities)


def _joined(answered: Sequence[Outputs], part: str, order: np.ndarray) -> Any:
    """One part of the answers of all folds, in the order of the training rows; None if a fold has none."""
    parts = [getattr(outputs, part) for outputs in answered]
    return None if any(each is None for each in parts) else np.concatenate(parts)[order]
