"""The audit log as a table."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from app.ui.experiment_records import ApiAudit, ApiAuditEntry
from app.ui.wording import UNKNOWN, moment


def show(audit: ApiAudit) -> None:
    """Who decided what, when and why."""
    if not audit.entries:
        st.caption("No decisions yet.")
        return
    st.dataframe(
        pd.DataFrame([_row(entry) for entry in audit.entries]),
        hide_index=True,
        alt="Decisions, newest first.",
        column_config={"note": st.column_config.TextColumn(width="large")},
    )


def _row(entry: ApiAuditEntry) -> dict[str, object]:
    return {
        "when": moment(entry.at),
        "who": entry.actor,
        "what": entry.action,
        "version": entry.version or UNKNOWN,
        "note": entry.note or UNKNOWN,
        "changed": "; ".join(_change(name, change) for name, change in entry.changes.items()) or UNKNOWN,
    }


def _change(name: str, change: object) -> str:
    if isinstance(change, dict) and "after" in change:
        return f"{name}: {_short(change.get('before'))} → {_short(change['after'])}"
    return f"{name}: {_short(change)}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
