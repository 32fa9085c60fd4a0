"""One number with its name, and in small what belongs to it."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator


def figure(place: DeltaGenerator, name: str, value: str, note: str | None = None) -> None:
    """Show it; the note is no change for better or worse, so it has neither arrow nor colour."""
    place.metric(name, value, note, delta_color="off", delta_arrow="off")
