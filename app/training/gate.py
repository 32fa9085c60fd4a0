"""The quality gate: what a trained version must reach on the hold-out rows to be published."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.domain.contract import Task
from app.errors import DataRefused, GateFailed
from app.training.evaluate import ClassFigures
from app.training.fitting import Fitted

MIN_ACCURACY = 0.90


class Gate(msgspec.Struct, frozen=True):
    """The least accuracy of a classifier (None: the default, 0.90) and R² of a regressor (None: no gate)."""

    min_accuracy: float | None = None
    min_r2: float | None = None

    def fits(self, task: Task) -> None:
        """Raise `DataRefused` where a figure was asked for that models of this task do not have."""
        if task == "regression" and self.min_accuracy is not None:
            raise DataRefused(
                "the target is a quantity, which has no accuracy: use --min-r2 (or --task classification)"
            )
        if task == "classification" and self.min_r2 is not None:
            raise DataRefused("the target is classes, which have no R²: use --min-accuracy (or --task regression)")

    def check(self, named: Sequence[tuple[str, Fitted]]) -> None:
        """Raise `GateFailed` with every version that is below the gate."""
        failures = [complaint for version, fitted in named if (complaint := self._complaint(version, fitted))]
        if failures:
            raise GateFailed("; ".join(failures) + ": nothing was published")

    def _complaint(self, version: str, fitted: Fitted) -> str | None:
        figures = fitted.holdout
        if isinstance(figures, ClassFigures):
            name, value = "accuracy", figures.accuracy
            least = MIN_ACCURACY if self.min_accuracy is None else self.min_accuracy
        elif self.min_r2 is None:
            return None
        else:
            name, value, least = "R²", float("nan") if figures.r2 is None else figures.r2, self.min_r2
        if value >= least:
            return None
        return f"{version} ({fitted.variant}): hold-out {name} {value:.6g} is below {least:g}"
