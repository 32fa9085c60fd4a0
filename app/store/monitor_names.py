"""The rows of `monitor_state` by name: each folder's cursor and states, the reports, the heartbeat."""

from __future__ import annotations

CURSOR = "experiment"
HEARTBEAT = "heartbeat"
REPORTS = "report/"
STATES = f"{CURSOR}/"
REBUILD = "rebuild/"


def report_name(experiment_id: str) -> str:
    """Where the report of an experiment is."""
    return f"{REPORTS}{experiment_id}"
