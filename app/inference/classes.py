"""One numbering of classes for all versions that have the same ones, however each of them spells and orders them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.classes import permutation
from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.services.ports import LoadedVersion, Runtime


class RenumberedRuntime:
    """Runs a version and gives its answers by other class ids: `places` has the new id of each of its own."""

    def __init__(self, runtime: Runtime, places: Sequence[int]) -> None:
        self.own = runtime
        self._ids = np.array(places, dtype=np.intp)
        # Column i of the answer is the column of the class whose new id is i.
        self._columns = np.argsort(self._ids)

    def predict(self, rows: np.ndarray) -> Outputs:
        """The version's answers to `rows`; raises what the version raises."""
        outputs = self.own.predict(rows)
        if outputs.class_ids is None:
            return outputs
        probabilities = outputs.probabilities
        return Outputs(
            class_ids=self._ids.take(outputs.class_ids),
            probabilities=None if probabilities is None else probabilities.take(self._columns, axis=1),
        )


def renumbered(version: LoadedVersion, names: Sequence[str]) -> LoadedVersion:
    """The version with its classes under `names`, in that order: in its contract and in its answers.

    It is the same object if they are that already. Only a version with another order pays for it, with two look-ups.
    """
    if tuple(names) == version.contract.classes:
        return version
    # From its own, which its manifest has: the classes of a version in memory may be numbered by another one already.
    own = msgspec.convert(version.manifest["contract"], FeatureContract).classes
    places = permutation(own, names)
    if places is None:
        return version
    runtime = version.runtime.own if isinstance(version.runtime, RenumberedRuntime) else version.runtime
    return msgspec.structs.replace(
        version,
        contract=msgspec.structs.replace(version.contract, classes=tuple(names)),
        runtime=runtime if places == tuple(range(len(places))) else RenumberedRuntime(runtime, places),
    )
