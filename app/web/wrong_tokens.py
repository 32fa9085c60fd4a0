"""Wrong tokens: counted, logged with the caller's address, and answered later once an address sends many.

Only the answer to a wrong token is held back, never a right one: behind one address there may be many callers.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from app.errors import AdminDisabled, Forbidden
from app.web.response import Environ

# After so many in so many seconds, the answers to an address's wrong tokens are held back by `HOLD_S`.
MANY = 10
WINDOW_S = 60.0
HOLD_S = 2.0
# The key of a WSGI environment by which the application has a server hold its answer back, in seconds.
HOLD = "bakeoff.hold_s"
_MOST_ADDRESSES = 10_000
_LOG = logging.getLogger(__name__)


class TokenMetrics(Protocol):
    """Counts wrong tokens."""

    def wrong_token(self) -> None: ...


class WrongTokens:
    """The wrong tokens of a worker's callers. `forwarded`: their address is in X-Forwarded-For, which a proxy sets.

    `now_s` returns monotonic seconds.
    """

    def __init__(self, metrics: TokenMetrics, now_s: Callable[[], float], *, forwarded: bool) -> None:
        self._metrics = metrics
        self._now_s = now_s
        self._forwarded = forwarded
        # By address: when its window began, and how many came in it. The oldest first.
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, guard: Callable[[], None], environ: Environ) -> None:
        """Call `guard`, which raises what refuses the caller, and note a wrong token. Raises what `guard` raises."""
        try:
            guard()
        except AdminDisabled:
            raise
        except Forbidden:
            self._note(environ)
            raise

    def _note(self, environ: Environ) -> None:
        self._metrics.wrong_token()
        address, now_s = self._address(environ), self._now_s()
        began_s, count = self._windows.pop(address, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            began_s, count = now_s, 0
        count += 1
        self._windows[address] = (began_s, count)
        if len(self._windows) > _MOST_ADDRESSES:
            self._windows.popitem(last=False)
        if count > MANY:
            environ[HOLD] = HOLD_S
        if count in (1, MANY):  # not each: whoever guesses must not fill the disk
            fields = {"address": address, "path": environ.get("PATH_INFO", "")[:200], "in_this_minute": count}
            _LOG.warning("wrong_token", extra={"event_fields": fields})

    def _address(self, environ: Environ) -> str:
        claimed = environ.get("HTTP_X_FORWARDED_FOR", "") if self._forwarded else ""
        return str(claimed.rpartition(",")[2].strip()[:64] or environ.get("REMOTE_ADDR", "unknown"))
