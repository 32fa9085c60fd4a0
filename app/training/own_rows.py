"""Find the rows of a reference file that a model fitted elsewhere can answer, and what its contract may promise."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.training.findings import Finding, counted
from app.training.own_answers import copes_without
from app.training.own_model import OwnModel
from app.training.prepared import missing_in


class Settled(msgspec.Struct, frozen=True):
    """The contract with `nullable` true only where the model copes, and the positions of the rows that fit it."""

    contract: FeatureContract
    positions: np.ndarray
    findings: tuple[Finding, ...] = ()


def settle(model: OwnModel, contract: FeatureContract, rows: np.ndarray) -> Settled:
    """The rows with known categories alone, and without gaps where the model does not cope with them.

    The model is asked, column by column. Raises `DataRefused` where no row is left.
    """
    strange, findings = _strangers(contract, rows)
    known = np.flatnonzero(~strange)
    _require_some(known, findings)
    missing = missing_in(rows[known])
    probe = rows[known[np.argsort(missing.sum(axis=1), kind="stable")[:1]]]
    features = list(contract.features)
    for column in np.flatnonzero(missing.any(axis=0)).tolist():
        if copes_without(model, contract, probe, column):
            missing[:, column] = False
            continue
        features[column] = msgspec.structs.replace(features[column], nullable=False)
        findings.append(_gap(features[column], int(missing[:, column].sum())))
    positions = known[~missing.any(axis=1)]
    _require_some(positions, findings)
    settled = msgspec.structs.replace(contract, features=tuple(features))
    return Settled(contract=settled, positions=positions, findings=tuple(findings))


def _strangers(contract: FeatureContract, rows: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """True for rows with a category (or a number encoded as one) that the model would fail on, and what to say."""
    strange = np.zeros(len(rows), dtype=bool)
    findings = []
    for index, feature in enumerate(contract.features):
        known = frozenset(feature.choices or feature.categories)
        if not known or feature.open_categories:
            continue
        values = rows[:, index].tolist()
        unknown = [value is not None and value == value and value not in known for value in values]
        if any(unknown):
            example = values[unknown.index(True)]
            message = f"the model does not know {example!r} of {feature.name!r}, in {counted(sum(unknown))}"
            findings.append(Finding("unknown categories", "dropped", message, "those rows are left out", feature.name))
            strange |= np.array(unknown)
    return strange, findings


def _gap(feature: Feature, count: int) -> Finding:
    message = f"the model does not answer without a value of {feature.name!r}, missing in {counted(count)}"
    return Finding("missing values", "dropped", message, "those rows are left out", feature.name)


def _require_some(positions: np.ndarray, findings: Sequence[Finding]) -> None:
    if not len(positions):
        raise DataRefused("no row is left: " + "; ".join(finding.sentence for finding in findings))
