"""The secondary metrics of a comparison: a small table under its verdict, which decides nothing."""

from __future__ import annotations

import streamlit as st

from app.ui import grid, tables
from app.ui.experiment_records import ApiExperiment


def show(challenger: str, report: ApiExperiment) -> None:
    """The table; nothing where the experiment has no secondary metric, or the API does not know of any."""
    rows = tables.secondary(challenger, report)
    if not rows:
        return
    st.markdown("**Other metrics** (not decided on)")
    said = f"The secondary metrics of {challenger}, with means, improvement and interval. They decide nothing."
    grid.show(rows, said)
    st.caption(
        "Means over all labelled rows where they are known, else as served. Improvement: positive is good for "
        f"{challenger}. The verdict, the recommendation and the guardrails do not use these metrics, and their "
        "intervals are not corrected for being several."
    )
    notes = tables.secondary_notes(challenger, report)
    if notes:
        st.markdown("\n".join(f"- {note}" for note in notes))
