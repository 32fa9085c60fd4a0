"""What an experiment compares: fixed by the configuration with which it began."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.experiment import Configuration, ExperimentTerms


class Plan(msgspec.Struct, frozen=True):
    """The terms, the versions in their order, and the baseline (None only where there is no version)."""

    experiment_id: str
    terms: ExperimentTerms
    versions: tuple[str, ...]
    baseline: str

    @property
    def challengers(self) -> tuple[str, ...]:
        """All versions but the baseline."""
        return tuple(version for version in self.versions if version != self.baseline)

    def share(self, weights: Mapping[str, float], challenger: str) -> float:
        """The challenger's share of the traffic of the pair; 0 where the pair has none.

        Given that one of the two was drawn, it was the challenger with this probability; so a pair may be compared
        by itself however many versions share the traffic.
        """
        own, base = weights.get(challenger, 0.0), weights.get(self.baseline, 0.0)
        return own / (own + base) if own + base > 0 else 0.0


def plan_of(first: Configuration) -> Plan:
    """The plan of the experiment that `first` began."""
    versions = tuple(first.weights)
    named = first.terms.baseline
    baseline = named if named in versions else next(iter(versions), "")
    return Plan(first.experiment_id, first.terms, versions, baseline or "")
