"""Tell a webhook, from a thread of its own: whatever is wrong with it, nothing else waits for it or fails with it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec
import requests

from app.errors import SettingError

_LOG = logging.getLogger(__name__)
_WAITING = 200
_RETRY_AFTER_S = (1.0, 4.0, 15.0, 60.0, 240.0)
_TIMEOUT_S = (3.0, 10.0)
# These may pass; any other 4xx says that the message or the address is wrong.
_WORTH_A_RETRY = (408, 425, 429)
Post = Callable[[str, bytes], int]


class Notice(msgspec.Struct, frozen=True):
    """What is told: a sentence for people (Slack shows `text`), and the same for programs."""

    text: str
    event: str
    fields: Mapping[str, object]


class Notifier:
    """Sends notices to `url` in order, each up to six times over five minutes; what cannot be told is logged.

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
        """Send what waits, as far as the patience and one try each allow."""
        self._stopping.set()
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def tell(self, notice: Notice) -> None:
        """Queue a notice; returns at once and never raises. Above the limit it is dropped, and that is logged."""
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            self._lost(notice, "too many wait already")

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            self._send(notice)

    def _send(self, notice: Notice) -> None:
        body = msgspec.json.encode(notice)
        for pause_s in (*self._retry_after_s, None):
            flaw, again = self._tried(body)
            if flaw is None:
                return
            if not again or pause_s is None or self._stopping.wait(pause_s):
                break
        self._lost(notice, str(flaw))

    def _tried(self, body: bytes) -> tuple[str | None, bool]:
        """What went wrong, None where nothing did, and whether it is worth another try."""
        try:
            status = self._post(self._url, body)
        except Exception as error:  # noqa: BLE001 - the thread must outlive it; `_lost` logs
            return type(error).__name__, True  # its text may hold the address
        if 200 <= status < 300:
            return None, False
        return f"status {status}", status >= 500 or status in _WORTH_A_RETRY

    def _lost(self, notice: Notice, reason: str) -> None:
        fields = {"host": self._host, "event": notice.event, "reason": reason}
        _LOG.error("notice_not_delivered", extra={"event_fields": fields})


def _post(url: str, body: bytes) -> int:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(url, body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
    return answer.status_code
