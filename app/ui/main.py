"""The dashboard's entry: `streamlit run app/ui/main.py`, which is what `bakeoff ui` does."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.ui.views import batch, drift, experiment, health, labels, playground

_ICON = Path(__file__).with_name("icon.svg")


def main() -> None:
    """Draw the navigation and the page that was chosen."""
    # Without an icon of our own the browser would load Streamlit's from another host.
    st.set_page_config(page_title="Bakeoff", page_icon=_ICON, layout="wide")
    page = st.navigation(
        [
            st.Page(experiment.show, title="Experiment", icon=":material/balance:", default=True),
            st.Page(playground.show, title="Playground", icon=":material/science:", url_path="playground"),
            st.Page(batch.show, title="Batch", icon=":material/table_rows:", url_path="batch"),
            st.Page(labels.show, title="Labels", icon=":material/label:", url_path="labels"),
            st.Page(drift.show, title="Drift", icon=":material/trending_up:", url_path="drift"),
            st.Page(health.show, title="Health", icon=":material/monitor_heart:", url_path="health"),
        ]
    )
    page.run()


main()
