"""The dashboard's entry: `streamlit run app/ui/main.py`, which is what `bakeoff ui` does."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.ui.views import batch, drift, experiment, health, labels, playground

_ICON = Path(__file__).with_name("icon.svg")
# What the theme cannot say: captions and switches in the colour of the text, at a contrast above 4.5:1, and in the
# dark theme dark letters on the bright buttons.
_CAPTIONS = (
    '[data-testid="stCaptionContainer"] {color: inherit; opacity: 0.8} '
    '[data-testid="stCaptionContainer"] code {color: inherit}'
)
_UNFADED = '[data-testid="stExpander"] :is(summary, summary *) {opacity: 1}'
# Names of classes and versions may be long: they wrap, and are not cut off.
_NAMES = (
    '[data-testid="stMetric"] [data-testid="stMetricValue"] *, [data-testid^="stBaseButton"] p, '
    '[data-testid="stCheckbox"] p '
    "{white-space: normal; overflow-wrap: anywhere}"
)
_DARK_BUTTONS = (
    '[data-testid^="stBaseButton-primary"] * {color: #10161d} '
    '[data-testid^="stBaseButton-primary"]:hover {background-color: #7cc0f0}'
)


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
            drift.page(),
            st.Page(health.show, title="Health", icon=":material/monitor_heart:", url_path="health"),
        ],
        position="top",
    )
    dark = st.context.theme.type == "dark"
    switches = f'[data-testid="stExpander"] summary p {{color: {"#e8edf2" if dark else "#1a2430"}}} {_UNFADED}'
    st.html(f"<style>{_CAPTIONS}{_NAMES}{switches}{_DARK_BUTTONS if dark else ''}</style>")
    page.run()


main()
