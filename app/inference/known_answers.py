"""What a version must answer, by the original estimator on the shelf: not by what serves in its place."""

from __future__ import annotations

import numpy as np

from app.domain.contract import FeatureContract
from app.domain.known_answers import KnownAnswer, KnownAnswers
from app.domain.prediction import Outputs
from app.inference.building import sklearn_runtime
from app.inference.loading import example_rows
from app.inference.shelf import Shelf

_LEAST_TOLERANCE = 1e-4


def known_answers(shelf: Shelf, version: str) -> KnownAnswers:
    """The answers to the manifest's examples. Raises `UnknownVersion` and `ArtefactRefused`.

    The tolerance is twice the largest difference that publishing measured between the served runtime and the original.
    """
    artefact = shelf.verified(version)
    contract, parity = artefact.manifest.contract, artefact.manifest.parity
    rows = example_rows(artefact.manifest)
    outputs = sklearn_runtime(version, contract, artefact.files).predict(rows)
    answers = tuple(_answer(contract, row, outputs, index) for index, row in enumerate(rows))
    return KnownAnswers(version, answers, max(_LEAST_TOLERANCE, 2 * parity.largest_difference))


def _answer(contract: FeatureContract, row: np.ndarray, outputs: Outputs, index: int) -> KnownAnswer:
    plain = tuple(None if isinstance(value, float) and value != value else value for value in row.tolist())
    if outputs.values is not None:
        return KnownAnswer(plain, float(outputs.values[index]))
    assert outputs.class_ids is not None
    prediction = contract.classes[int(outputs.class_ids[index])]
    if outputs.probabilities is None:
        return KnownAnswer(plain, prediction)
    of_row = outputs.probabilities[index].tolist()
    return KnownAnswer(plain, prediction, dict(zip(contract.classes, of_row, strict=True)))
