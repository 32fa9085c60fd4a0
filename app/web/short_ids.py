"""What readers get in place of what feedback is accepted by: ids without their signature, and no own keys."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from app.domain.decision import CORRECT, AuditEntry
from app.domain.prediction_id import ID_LENGTH, SHORT_LENGTH
from app.services.control.decisions import AuditPage
from app.services.queries.disagreements import Disagreement, DisagreementPage
from app.services.queries.history import HistoryPage
from app.services.queries.logged_answers import HistoryEntry
from app.settings import Settings
from app.web.operations import shows_whole_ids

_Row = TypeVar("_Row", HistoryEntry, Disagreement)
_Page = TypeVar("_Page", HistoryPage, DisagreementPage)


def row_for(row: _Row, settings: Settings, environ: dict[str, Any]) -> _Row:
    """The row as this caller may see it."""
    return row if shows_whole_ids(settings, environ) else _shortened(row)


def page_for(page: _Page, settings: Settings, environ: dict[str, Any]) -> _Page:
    """The page as this caller may see it; its `next` can be given as `before`, short or whole."""
    if shows_whole_ids(settings, environ):
        return page
    following = None if page.next is None else page.next[:SHORT_LENGTH]
    if isinstance(page, HistoryPage):
        return replace(page, predictions=tuple(map(_shortened, page.predictions)), next=following)
    return replace(page, disagreements=tuple(map(_shortened, page.disagreements)), next=following)


def audit_for(page: AuditPage, settings: Settings, environ: dict[str, Any]) -> AuditPage:
    """The page of the audit log as this caller may see it: corrections name predictions."""
    if shows_whole_ids(settings, environ):
        return page
    return replace(page, entries=tuple(map(_without_whole_ids, page.entries)))


def _without_whole_ids(entry: AuditEntry) -> AuditEntry:
    if entry.action != CORRECT:
        return entry
    # "actual of ID", "reward of ID"
    names = {name: name[: len(name) - ID_LENGTH + SHORT_LENGTH] for name in entry.changes}
    return replace(entry, changes={names[name]: change for name, change in entry.changes.items()})


def _shortened(row: _Row) -> _Row:
    return replace(row, prediction_id=row.prediction_id[:SHORT_LENGTH], id=UNSET)
