"""The WSGI callable: sheds load, answers predictions directly, and passes every other request to Flask.

Flask's dispatch costs more than a whole prediction. This is a standard WSGI application, so any server can run it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from app.services.serving.load_shedding import LoadShedding
from app.web.protocols.table import protocol_name, refused
from app.web.response import Answer, Environ, problem_of
from app.web.server.plain_http import WholeAnswer, as_bytes, simple_request

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_MOST_PATHS = 256
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


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


class Front:
    """Calls `fast[path]` for a POST to one of its paths, and `other` for everything else.

    While `load` is full, every request is rejected with 503, except for paths that start with one of `always`.
    """

    def __init__(
        self,
        fast: FastLane,
        other: Application,
        load: LoadShedding,
        metrics: SheddingMetrics,
        always: tuple[str, ...],
    ) -> None:
        self._fast = fast
        self._other = other
        self._load = load
        self._metrics = metrics
        self._always = always

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request as WSGI requires."""
        fast = self._fast_for(environ)
        # Before anything is read or chosen: shedding must cost little and meet all versions alike (ADR 14).
        if self._load.full and not environ["PATH_INFO"].startswith(self._always):
            status, headers, body = self._rejected(environ)
        elif fast is not None:
            status, headers, body = fast(environ)
        else:
            return self._other(environ, start_response)
        start_response(_STATUS_LINES[status], headers)
        return [body]

    @property
    def full(self) -> bool:
        """Whether a request that comes now is rejected, unless its path is always answered."""
        return self._load.full

    def rejection(self, data: bytes) -> WholeAnswer | None:
        """The 503 for the request whose bytes are `data`, for a server that rejects without a thread.

        None if a thread must read the request: `data` is not one whole simple request, or its path is always answered.
        """
        request = simple_request(data)
        if request is None or request.path.startswith(self._always):
            return None
        environ = {"REQUEST_METHOD": request.method, "PATH_INFO": request.path}
        if request.request_id is not None:
            environ["HTTP_X_REQUEST_ID"] = request.request_id
        return WholeAnswer(as_bytes(self._rejected(environ), close=request.close), request.close)

    def _fast_for(self, environ: Environ) -> Callable[[Environ], Answer] | None:
        return self._fast.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None

    def _rejected(self, environ: Environ) -> Answer:
        problem = problem_of(self._load.refusal(), environ)
        self._metrics.shed()
        # A rejected prediction is one without an answer: the error rate of predictions must show it.
        if self._fast_for(environ) is not None:
            self._metrics.refused(problem.detail.code, protocol_name(environ["PATH_INFO"]))
        return refused(problem, environ)
