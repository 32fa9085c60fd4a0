"""The table of routing policies: a new one is a file and a line here."""

from __future__ import annotations

from app.routing import weighted
from app.routing.choice import Policy

POLICIES: dict[str, Policy] = {
    "weighted": weighted.choose,
}
