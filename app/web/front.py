"""The WSGI callable: checks Host, sheds load, answers predictions directly, and passes every other request to Flask.

Flask's dispatch costs more than a whole prediction. This is a standard WSGI application, so any server can run it; a
server with an event loop (`app/web/server`) also asks which requests the loop can answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from app.errors import BakeoffError, Misdirected
from app.services.serving.load_shedding import LoadShedding
from app.web.allowed_hosts import ListenerHosts
from app.web.protocols.table import label_of, refused
from app.web.response import STATUS_LINES, Answer, Environ, problem_of

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_MOST_PATHS = 256


class SheddingMetrics(Protocol):
    """Counts the requests that are rejected under overload."""

    def shed(self) -> None: ...

    def refused(self, code: str, protocol: str, /) -> None: ...


class FastLane:
    """Finds the call of a path; `{name}` in the path of a call stands for one segment, or a part of one.

    Paths with such a part are found by a pattern once and then remembered, so that they cost a look-up like the others.
    """

    def __init__(self, calls: Mapping[str, Callable[..., Answer]]) -> None:
        self._exact = {path: call for path, call in calls.items() if "{" not in path}
        self._patterns = [(_pattern(path), call) for path, call in calls.items() if "{" in path]
        self._found: dict[str, Callable[[Environ], Answer]] = {}

    def get(self, path: str) -> Callable[[Environ], Answer] | None:
        """The call of this path with the parts of the path filled in; None if no call has it."""
        return self._exact.get(path) or self._found.get(path) or self._match(path)

    def _match(self, path: str) -> Callable[[Environ], Answer] | None:
        for pattern, call in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                filled = partial(call, **found.groupdict())
                # A client that varies its paths forever must not fill the memory.
                if len(self._found) < _MOST_PATHS:
                    self._found[path] = filled
                return filled
        return None


def _pattern(path: str) -> re.Pattern[str]:
    """The paths that OpenAPI's template means."""
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile("".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)))


# A larger body is read and answered in a thread: on the event loop, everybody would wait for it.
MOST_QUICK_BYTES = 8 * 1024


class Front:
    """Calls `fast[path]` for a POST to one of its paths, and `other` for everything else.

    While `load` is full, every request is rejected with 503, except for paths that start with one of `always`. `slow`
    returns whether a prediction takes long, so that it must not be answered on a server's event loop. `hosts` has the
    names that a request may be addressed to; None: any.
    """

    def __init__(
        self,
        fast: FastLane,
        other: Application,
        load: LoadShedding,
        metrics: SheddingMetrics,
        always: tuple[str, ...],
        slow: Callable[[], bool] = lambda: False,
        hosts: ListenerHosts | None = None,
    ) -> None:
        self._fast = fast
        self._other = other
        self._load = load
        self._metrics = metrics
        self._always = always
        self._slow = slow
        self._hosts = hosts

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request as WSGI requires."""
        rejection = self.rejection(environ)
        if rejection is not None:
            return _started(rejection, start_response)
        return self.unshed(environ, start_response)

    def unshed(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The same for a request that was accepted already."""
        fast = self._fast_for(environ)
        return self._other(environ, start_response) if fast is None else _started(fast(environ), start_response)

    def rejection(self, environ: Environ) -> Answer | None:
        """The 421 or 503 for a request that comes now, which is counted; None if the request must be answered."""
        # Before anything is read or chosen: shedding must cost little and meet all versions alike (ADR 14).
        try:
            if self._hosts is not None:
                self._hosts.check(environ)
        except Misdirected as error:
            return self._rejected(error, environ)
        if not self._load.full or environ["PATH_INFO"].startswith(self._always):
            return None
        self._metrics.shed()
        return self._rejected(self._load.refusal(), environ)

    def _rejected(self, error: BakeoffError, environ: Environ) -> Answer:
        problem = problem_of(error, environ)
        # A rejected prediction is one without an answer: the error rate of predictions must show it.
        label = label_of(environ["PATH_INFO"])
        if label is not None and self._fast_for(environ) is not None:
            self._metrics.refused(problem.detail.code, label)
        return refused(problem, environ)

    def quick(self, environ: Environ) -> Callable[[Environ], Answer] | None:
        """What answers the request so soon that an event loop can wait for it; None if a thread must."""
        fast = self._fast_for(environ)
        # A compressed body may be a thousand times as long as it looks.
        if fast is None or "HTTP_CONTENT_ENCODING" in environ or self._slow():
            return None
        length = environ.get("CONTENT_LENGTH", "")
        # A body without a declared length is chunked, which is rare: a thread reads it.
        return fast if length.isdecimal() and len(length) < 10 and int(length) <= MOST_QUICK_BYTES else None

    def _fast_for(self, environ: Environ) -> Callable[[Environ], Answer] | None:
        return self._fast.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None


def _started(answer: Answer, start_response: Callable[..., Any]) -> Iterable[bytes]:
    status, headers, body = answer
    start_response(STATUS_LINES[status], headers)
    return [body] if isinstance(body, bytes) else body
