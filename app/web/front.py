"""The WSGI callable: predictions go straight to their use case, all else through Flask.

Flask's dispatch costs more than a whole prediction. A standard WSGI application all the same: any server can run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from app.services.serving.load_shedding import LoadShedding
from app.web.request import request_id_of
from app.web.response import JSON, body_of, problem_of
from app.web.server.plain_http import WholeAnswer, as_bytes, simple_request

Environ = dict[str, Any]
Answer = tuple[int, list[tuple[str, str]], bytes]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
# Who looks whether the service is well, or relieves it, must get an answer just then.
_ALWAYS = ("/health", "/metrics", "/config", "/experiment/decision", "/models/reload")


class SheddingMetrics(Protocol):
    """What is counted of requests that are turned away."""

    def shed(self) -> None: ...

    def refused(self, code: str, /) -> None: ...


class Front:
    """Calls `direct[path]` for a POST to one of its paths and `other` for everything else.

    Where more wait than `admission` allows, all but a few paths are answered 503 at once.
    """

    def __init__(
        self,
        direct: Mapping[str, Callable[[Environ], Answer]],
        other: Application,
        admission: LoadShedding,
        metrics: SheddingMetrics,
    ) -> None:
        self._direct = direct
        self._other = other
        self._admission = admission
        self._metrics = metrics

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, as WSGI wants it."""
        direct = self._direct_for(environ)
        if self._admission.full and not environ["PATH_INFO"].startswith(_ALWAYS):
            status, headers, body = self._turned_away(environ)
        elif direct is not None:
            status, headers, body = direct(environ)
        else:
            return self._other(environ, start_response)
        start_response(_STATUS_LINES[status], headers)
        return [body]

    @property
    def full(self) -> bool:
        """Whether what comes now is to be turned away, if it may be."""
        return self._admission.full

    def turned_away(self, data: bytes) -> WholeAnswer | None:
        """The refusal of the request that `data` is.

        None where it must be read as any other: it is not simply one whole request, or one that is always answered.
        """
        request = simple_request(data)
        if request is None or request.path.startswith(_ALWAYS):
            return None
        environ = {"REQUEST_METHOD": request.method, "PATH_INFO": request.path}
        if request.request_id is not None:
            environ["HTTP_X_REQUEST_ID"] = request.request_id
        return WholeAnswer(as_bytes(self._turned_away(environ), close=request.close), request.close)

    def _direct_for(self, environ: Environ) -> Callable[[Environ], Answer] | None:
        return self._direct.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None

    def _turned_away(self, environ: Environ) -> Answer:
        problem = problem_of(self._admission.refusal(), environ)
        self._metrics.shed()
        if self._direct_for(environ) is not None:
            self._metrics.refused(problem.detail.code)
        body = body_of(problem.detail, environ["PATH_INFO"])
        headers = [
            ("Content-Type", JSON),
            ("Content-Length", str(len(body))),
            ("X-Request-Id", request_id_of(environ)),
            *problem.headers,
        ]
        return problem.status, headers, body
