"""Notifies a webhook of each decision, by a person or the monitor, and of each new recommendation to act.

Notices are sent by a thread of their own, so that a slow or broken webhook delays and breaks nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import requests
from msgspec.structs import replace

from app.domain.decision import CONFIGURE, RAMP, RESTORE, RETIRE, WEIGHTS, AuditEntry
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport
from app.errors import SettingError
from app.services.boundaries import attempt
from app.services.queries.drift_records import ACKNOWLEDGE

_LOG = logging.getLogger(__name__)
_WAITING = 200
_RETRY_AFTER_S = (1.0, 4.0, 15.0, 60.0, 240.0)
_TIMEOUT_S = (3.0, 10.0)
# These may pass; any other 4xx says that the message or the address is wrong.
_WORTH_A_RETRY = (408, 425, 429)
Post = Callable[[str, bytes], int]


class Notice(msgspec.Struct, frozen=True):
    """One notification: a sentence for people (Slack shows `text`), and the same facts for programs."""

    text: str
    event: str
    fields: Mapping[str, object]


class Notifier:
    """Sends notices to `url` in order, each up to six times over five minutes; an undelivered one is logged.

    `post` sends bytes to an address and gives the status; it raises `OSError` where there is no answer. Raises
    `SettingError` for an address that is not http(s).
    """

    def __init__(self, url: str, post: Post | None = None, retry_after_s: tuple[float, ...] = _RETRY_AFTER_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError("NOTIFY_WEBHOOK_URL", "that is not an http or https address")
        self._url = url
        self._host = parts.hostname  # all that may be logged: the rest of a webhook's address is its secret
        self._post = post or _post
        self._retry_after_s = retry_after_s
        self._waiting: queue.Queue[Notice | None] = queue.Queue(_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, patience_s: float = 2.0) -> None:
        """Send the waiting notices, each with one try, for up to `patience_s` seconds; then give up on the rest."""
        # Set first: a notice that waits for its next try must not use up the patience of those behind it.
        self._stopping.set()
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def notify(self, notice: Notice) -> None:
        """Queue a notice; returns at once and never raises. With 200 waiting it is dropped, which is logged."""
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            self._log_undelivered(notice, f"{_WAITING} notices were waiting already")

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            self._send(notice)

    def _send(self, notice: Notice) -> None:
        body = msgspec.json.encode(notice)
        for pause_s in (*self._retry_after_s, None):
            failure, again = self._try(body)
            if failure is None:
                return
            if not again or pause_s is None or self._stopping.wait(pause_s):
                break
        self._log_undelivered(notice, str(failure))

    def _try(self, body: bytes) -> tuple[str | None, bool]:
        """What went wrong, None where nothing did, and whether it is worth another try."""
        status = attempt(self._post, self._url, body)
        if isinstance(status, Exception):
            return type(status).__name__, True  # the error's text may hold the secret part of the address
        if 200 <= status < 300:
            return None, False
        return f"status {status}", status >= 500 or status in _WORTH_A_RETRY

    def _log_undelivered(self, notice: Notice, reason: str) -> None:
        fields = {"host": self._host, "event": notice.event, "reason": reason}
        _LOG.error("notice_not_delivered", extra={"event_fields": fields})


def _post(url: str, body: bytes) -> int:
    headers = {"Content-Type": "application/json"}
    # A redirect would send the notice, and the secret in the path, to an address that nobody configured.
    answer = requests.post(url, body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
    return answer.status_code


_DONE = {
    "promote": "promoted",
    "rollback": "rolled back to",
    "keep": "kept",
    RAMP: "steered the ramp of",
    ACKNOWLEDGE: "acknowledged the drift alarm of",
    RETIRE: "retired",
    RESTORE: "restored",
}
_MOST_AT_ONCE = 100


class Notified(msgspec.Struct, frozen=True):
    """How far the webhook has been notified: decisions up to `seq`, and the last recommendation."""

    seq: int
    recommended: str = ""


class NotificationStore(Protocol):
    """Where the store keeps a `Notified` as JSON. Every call raises `StoreUnavailable`."""

    def notified(self) -> str | None: ...

    def put_notified(self, body: str) -> None: ...


class DecisionPages(Protocol):
    """The audit log, newest first. Raises `StoreUnavailable`."""

    def page(self, limit: int, before: int | None = None) -> list[AuditEntry]: ...


class Announcer:
    """Announces new decisions and recommendations. Call it each time the monitor has made reports, with them.

    Decisions made while no monitor ran are announced when one runs again; those before the very first run are not. A
    notice counts as announced once it is queued: if the process dies before it is sent, it is lost.
    """

    def __init__(
        self,
        store: NotificationStore,
        decisions: DecisionPages,
        configuration: Callable[[], Configuration | None],
        notify: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._configuration = configuration
        self._notify = notify

    def __call__(self, reports: Sequence[ExperimentReport]) -> None:
        """Queue a notice of everything new. Raises `StoreUnavailable`; then the next call announces it again."""
        before = self._notified()
        after = self._of_reports(self._of_decisions(before), reports)
        if after != before:
            self._store.put_notified(msgspec.json.encode(after).decode())

    def _notified(self) -> Notified:
        body = self._store.notified()
        if body is not None:
            return msgspec.json.decode(body, type=Notified)
        # The first run: begin at the newest decision, so that a new webhook does not receive the whole history.
        notified = Notified(next((entry.seq for entry in self._decisions.page(1)), 0))
        self._store.put_notified(msgspec.json.encode(notified).decode())
        return notified

    def _of_decisions(self, notified: Notified) -> Notified:
        new = [entry for entry in self._decisions.page(_MOST_AT_ONCE) if entry.seq > notified.seq]
        for entry in reversed(new):
            if entry.action != WEIGHTS:  # a bandit's routine, once a minute
                self._notify(notice_of(entry))
        return replace(notified, seq=new[0].seq) if new else notified

    def _of_reports(self, notified: Notified, reports: Sequence[ExperimentReport]) -> Notified:
        configuration = self._configuration() if reports else None
        report = next((each for each in reports if configuration and each.id == configuration.experiment_id), None)
        if report is None:
            return notified
        advice = report.recommendation
        # Without the reason, whose figures change with each report.
        recommended = f"{report.id}/{advice.action}/{advice.version or ''}"
        if recommended != notified.recommended and advice.action != "continue":
            fields = {"experiment_id": report.id, "action": advice.action, "version": advice.version}
            self._notify(Notice(f"Recommendation: {advice.action}: {advice.reason}", "recommendation", fields))
        return replace(notified, recommended=recommended)


def notice_of(entry: AuditEntry) -> Notice:
    """The notice of a decision: who did what, why, and whether the version passed the health probe afterwards."""
    if entry.action == CONFIGURE:
        what = f"{entry.actor} changed {', '.join(entry.changes)}"
    else:
        what = f"{entry.actor} {_DONE.get(entry.action, entry.action)} {entry.version}"
    why = f": {entry.note}" if entry.note else ""
    checked = ""
    if entry.checked is not None:
        failure = entry.checked.detail
        checked = f" ({entry.version} answers)" if entry.checked.answers else f" ({entry.version} FAILS: {failure})"
    fields = {
        "seq": entry.seq,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "version": entry.version,
        "experiment_id": entry.experiment_id,
        "epoch": entry.epoch,
    }
    return Notice(what + why + checked, "decision", fields)
