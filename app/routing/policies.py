"""The table of routing policies: a new one is a module and a line here."""

from __future__ import annotations

from app.routing import sticky, thompson, weighted
from app.routing.choice import Policy

WEIGHTED, STICKY, THOMPSON = "weighted", "sticky", "thompson"

POLICIES: dict[str, Policy] = {
    WEIGHTED: weighted.choose,
    STICKY: sticky.choose,
    THOMPSON: thompson.choose,
}


def policy_for(name: str, user_hash: int) -> Policy:
    """The policy `name`; for a named user (hash not 0) `weighted` becomes sticky, so that no user sees two versions."""
    return POLICIES[STICKY if user_hash and name == WEIGHTED else name]


def keeps_users(name: str) -> bool:
    """Whether a named user stays with one version under the policy `name`."""
    return name in (WEIGHTED, STICKY)
