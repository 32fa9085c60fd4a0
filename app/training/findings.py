"""The findings of the data checks, and the report of them that a manifest keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from app.errors import DataRefused

# Stored in manifests: the words stay as earlier releases wrote them.
Action = Literal["mended", "dropped", "kept", "noted", "refused"]

CHECKS = (
    "missing values",
    "number forms",
    "spaces",
    "infinite values",
    "duplicates",
    "constant columns",
    "row numbers",
    "identifiers",
    "dates and free text",
    "mixed columns",
    "target leaks",
    "rare classes",
)


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding of a check: `message` describes it, `outcome` tells what was done, or what the user should do."""

    check: str
    action: Action
    message: str
    outcome: str = ""
    column: str | None = None

    @property
    def sentence(self) -> str:
        """Message and outcome in one sentence."""
        return f"{self.message}: {self.outcome}" if self.outcome else self.message

    def only_noted(self) -> Finding:
        """The same finding as a note: nothing is done, so there is no outcome."""
        return Finding(self.check, "noted", self.message, column=self.column)


class DataReport(msgspec.Struct, frozen=True):
    """The findings, and all checks in the order of the report. `rows` and `columns` count what was used."""

    rows: int
    columns: int
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = CHECKS

    def of(self, check: str) -> tuple[Finding, ...]:
        """The findings of one check; none if the data passed it."""
        return tuple(finding for finding in self.findings if finding.check == check)


def refuse_if_any(findings: Sequence[Finding]) -> None:
    """Raise `DataRefused` that lists all refusals, if there is one; its field is the first column refused."""
    refused = [finding for finding in findings if finding.action == "refused"]
    if refused:
        raise DataRefused("; ".join(finding.sentence for finding in refused), field=refused[0].column)
