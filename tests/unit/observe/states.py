"""Snapshots of the state that a scrape reads."""

from __future__ import annotations

import msgspec

from app.domain.monitor_state import MonitorSnapshot
from app.domain.report import CheckReport, ComparisonReport, ExperimentReport, Recommendation, VariantReport
from app.observe.state import HostCondition, StateSnapshot
from tests.web.drifting import drifted

EXPERIMENT = ExperimentReport(
    id="one",
    started="",
    metric="accuracy",
    alpha=0.05,
    baseline="v1",
    variants=(VariantReport(version="v1", weight=0.9, mean=0.75), VariantReport(version="v2", weight=0.1)),
    comparisons=(
        ComparisonReport(challenger="v2", method="paired", log_e=800.0, difference=0.01, interval=(-0.02, 0.04)),
        ComparisonReport(challenger="v3", method="paired"),
    ),
    checks=(CheckReport(name="sample_ratio", ok=True), CheckReport(name="label_rate", ok=False)),
    guardrails=(
        CheckReport(name="errors", ok=False, version="v2"),
        CheckReport(name="slow_answers", ok=True, version="v2"),
        CheckReport(name="errors", ok=None, version="v3"),
    ),
    recommendation=Recommendation("continue", None, "because"),
)
DRIFT = msgspec.structs.replace(drifted(), score=0.25, evidence=0.5, alarm=False)
FULL = StateSnapshot(
    host=HostCondition(
        store_writable=True,
        disk_free_bytes=1,
        disk_size_bytes=2,
        backup_at_s=1_770_000_000.5,
        archive_at_s=1_780_000_000.0,
        restore_drill_at_s=1_780_000_000.0,
    ),
    weights={"v1": 0.9, "v2": 0.1},
    monitor=MonitorSnapshot(feedback={"v1": 12}, report=EXPERIMENT, age_s=1.5),
    drift=DRIFT,
)
