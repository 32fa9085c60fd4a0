"""What the data checks found and what was done about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from app.errors import DataRefused

Action = Literal["mended", "dropped", "kept", "noted", "refused"]

CHECKS = (
    "missing values",
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
    """One thing that a check found: `message` says what, `outcome` what was or is to be done about it."""

    check: str
    action: Action
    message: str
    outcome: str = ""
    column: str | None = None

    @property
    def sentence(self) -> str:
        """What was found and what follows."""
        return f"{self.message}: {self.outcome}" if self.outcome else self.message

    def only_noted(self) -> Finding:
        """The same finding where nothing is done about it."""
        return Finding(self.check, "noted", self.message, column=self.column)


class DataReport(msgspec.Struct, frozen=True):
    """The checks in the order in which they are reported, and their findings. `rows` and `columns` are as used."""

    rows: int
    columns: int
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = CHECKS

    def of(self, check: str) -> tuple[Finding, ...]:
        """The findings of one check; none where the data passed it."""
        return tuple(finding for finding in self.findings if finding.check == check)


def counted(count: int, what: str = "row") -> str:
    """`1 row`, `2 rows`."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def refuse_if_any(findings: Sequence[Finding]) -> None:
    """Raise `DataRefused` with all that was refused, if something was."""
    refused = [finding for finding in findings if finding.action == "refused"]
    if refused:
        raise DataRefused("; ".join(finding.sentence for finding in refused), field=refused[0].column)
