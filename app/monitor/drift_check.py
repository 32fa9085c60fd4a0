"""Drift as a check of the running experiment: an alarm that concerns people turns its recommendation."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.domain.experiment import Configuration
from app.drift.evidence import false_alarm_bound
from app.drift.report import concerns_people
from app.drift.report_types import DriftReport
from app.stats.checks import CheckResult

NAME = "drift"


class DriftCheck:
    """To be given to the publisher of reports.

    `configuration` reads the one in force, `standing` a version's report with its acknowledgements in it.
    """

    def __init__(
        self, configuration: Callable[[], Configuration | None], standing: Callable[[str], DriftReport | None]
    ) -> None:
        self._configuration = configuration
        self._standing = standing

    def __call__(self, experiment_id: str) -> tuple[CheckResult, ...]:
        """The check of the champion's traffic; none of an experiment that is over, or where nothing is known.

        Raises `StoreUnavailable`.
        """
        configuration = self._configuration()
        if configuration is None or configuration.experiment_id != experiment_id:
            return ()
        champion = configuration.champion or configuration.terms.baseline
        report = None if champion is None else self._standing(champion)
        return () if report is None else (check_of(report, configuration.drift_threshold),)


def check_of(report: DriftReport, threshold: float) -> CheckResult:
    """Failed while an alarm stands and `threshold` of the traffic is displaced.

    Its p-value bounds the chance that evidence as strong as the present one ever comes up by now on clean traffic:
    (t + r) / M, which is what `evidence` says on a log scale.
    """
    p_value = false_alarm_bound(report.requests) ** report.evidence
    return CheckResult(NAME, not concerns_people(report, threshold), p_value, -math.log(p_value))
