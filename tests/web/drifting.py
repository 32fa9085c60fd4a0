"""A drift log in memory, and a report with an alarm in it."""

import numpy as np
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.domain.timestamps import iso_utc
from app.drift.reference import build_reference
from app.drift.report import drift_report
from app.drift.watch import start, update

_CONTRACT = FeatureContract(
    task="classification",
    target="species",
    features=tuple(Feature(name=name) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")),
    classes=("setosa", "versicolor", "virginica"),
)


def drifted(version="v1", shift=3.0, requests=200):
    """The report after `requests` rows, one feature of which is off by `shift` standard deviations."""
    chance = np.random.default_rng(1)
    reference = build_reference(_CONTRACT, chance.normal(size=(120, 4)), seed=1)
    rows = chance.normal(size=(requests, 4)) + np.array([0, 0, shift, 0])
    state = update(reference, start(reference), rows, at_us=np.arange(requests) + 1_795_000_000_000_000)
    return drift_report(version, reference, state)


class MemoryDrifts:
    """Reports by version; remembers the rulings."""

    def __init__(self, *reports):
        self.reports = {report.version: report for report in reports}
        self.pending = []
        self.timelines = {}

    def standing(self, version):
        return self.reports.get(version)

    def timeline(self, version, points):
        return self.timelines.get(version, [])[:points]

    def acknowledge(self, version, propose):
        pending = propose(self.reports.get(version))
        self.pending.append(pending)
        after = replace(self.reports[version], alarm=False, acknowledged=iso_utc(pending.at_us))
        self.reports[version] = after
        return after
