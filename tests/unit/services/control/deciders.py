"""A decision log and the monitor's reports in memory, and a configuration to decide on."""

import itertools

from msgspec.structs import replace

from app.domain.decision import AuditEntry, Decided
from app.domain.experiment import ExperimentTerms
from app.domain.monitor_state import StoredReport
from app.domain.report import (
    ComparisonReport,
    ExperimentReport,
    Recommendation,
    SplitRevision,
    TimelinePoint,
    VariantReport,
)
from app.domain.timestamps import iso_utc
from app.services.control.decisions import Dependencies
from app.services.control.startup import AvailableVersions
from app.services.queries.experiments import ExperimentRecord
from tests import builders

NOW_US = 1_795_000_000_000_000
BASE = builders.configuration(
    {"v1": 0.5, "v2": 0.5},
    epoch=3,
    terms=ExperimentTerms(metric="accuracy", baseline="v1", unit="auto"),
    champion="v1",
    created_at_us=NOW_US,
)
AVAILABLE = AvailableVersions(versions=("v1", "v2"), eligible=("v1", "v2"), champion="v1", task="classification")


class MemoryDecisions:
    """The audit log and the configurations, in memory."""

    def __init__(self, configuration=BASE):
        self.latest, self.entries = configuration, []

    def commit(self, propose):
        pending = propose(self.latest)
        if pending is None:
            return Decided(self.latest, None)
        if pending.revision:
            self.latest = replace(pending.configuration, epoch=self.latest.epoch + 1)
        else:
            self.latest = replace(self.latest, ramp=pending.configuration.ramp)
        entry = AuditEntry(
            seq=len(self.entries) + 1,
            at=iso_utc(pending.configuration.created_at_us),
            actor=pending.actor,
            action=pending.action,
            version=pending.version,
            note=pending.note,
            experiment_id=pending.experiment_id,
            epoch=self.latest.epoch,
            changes=pending.changes,
            evidence=pending.evidence,
        )
        self.entries.append(entry)
        return Decided(self.latest, entry)

    def add_check(self, seq, checked):
        self.entries[seq - 1] = replace(self.entries[seq - 1], checked=checked)

    def page(self, limit, before=None, experiment_id=None):
        newest = [entry for entry in reversed(self.entries) if before is None or entry.seq < before]
        return [entry for entry in newest if experiment_id in (None, entry.experiment_id)][:limit]

    def of_experiment(self, experiment_id):
        return [entry for entry in reversed(self.entries) if entry.experiment_id == experiment_id]


class MemoryReports:
    """What the monitor has derived, and the experiments: all that `Experiments` reads."""

    def __init__(self, report=None, age=1.0, records=()):
        self.stored, self.age, self.records = report, age, list(records)
        self.error, self.reads = None, 0

    def report(self, experiment_id):
        self.reads += 1
        if self.error is not None:
            raise self.error
        fits = self.stored is not None and self.stored.id == experiment_id
        return StoredReport(self.stored, self.age) if fits else None

    def lag(self):
        return None

    def age_s(self):
        return self.age

    def timeline(self, experiment_id, points):
        timeline = [
            TimelinePoint(challenger="v2", n=n, at="", difference=0.0, interval=None, log_e=None) for n in (1, 9)
        ]
        return timeline[:points]

    def newest(self, limit):
        return self.records[:limit]

    def find(self, experiment_id):
        return next((record for record in self.records if record.id == experiment_id), None)

    def splits(self, experiment_id):
        return [SplitRevision(epoch=3, at=iso_utc(NOW_US), source="configure", weights=BASE.weights)]


def dependencies(**changes):
    """Dependencies under which every version answers and no report exists."""
    numbers = itertools.count(2)
    parts = {
        "report": lambda _id: None,
        "probe": lambda _version: None,
        "now_us": lambda: NOW_US,
        "new_id": lambda: f"e{next(numbers)}",
    }
    return Dependencies(**{**parts, **changes})


def record(**changes):
    """The experiment of `BASE` in the store."""
    values = {
        "id": "e1",
        "ordinal": 1,
        "started_at_us": NOW_US,
        "ended_at_us": None,
        "ended_by": None,
        "terms": BASE.terms,
        "versions": ("v1", "v2"),
        "champion": "v1",
        "report": None,
        "last": BASE,
    }
    return ExperimentRecord(**{**values, **changes})


def report(action="promote", **changes):
    """A report in which v2 is better with enough evidence, and no guardrail forbids it."""
    values = {
        "id": "e1",
        "started": iso_utc(NOW_US),
        "metric": "accuracy",
        "alpha": 0.05,
        "baseline": "v1",
        "variants": (
            VariantReport(version="v1", weight=0.5, requests=10),
            VariantReport(version="v2", weight=0.5, requests=9),
        ),
        "comparisons": (
            ComparisonReport(
                challenger="v2",
                method="paired",
                n=800,
                units=800,
                difference=0.03,
                interval=(0.01, 0.05),
                e_value=812.0,
                log_e=6.7,
                p_value=0.0012,
                verdict="better",
            ),
        ),
        "recommendation": Recommendation(action, "v2", "v2 is better than v1"),
        "computed_at": iso_utc(NOW_US),
    }
    return ExperimentReport(**{**values, **changes})
