"""The WSGI callable: predictions go straight to their use case, all else through Flask.

Flask's dispatch costs more than a whole prediction. A standard WSGI application all the same: any server can run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

Environ = dict[str, Any]
Answer = tuple[int, list[tuple[str, str]], bytes]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Front:
    """Calls `direct[path]` for a POST to one of its paths and `other` for everything else."""

    def __init__(self, direct: Mapping[str, Callable[[Environ], Answer]], other: Application) -> None:
        self._direct = direct
        self._other = other

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, as WSGI wants it."""
        if environ["REQUEST_METHOD"] == "POST":
            direct = self._direct.get(environ["PATH_INFO"])
            if direct is not None:
                status, headers, body = direct(environ)
                start_response(_STATUS_LINES[status], headers)
                return [body]
        return self._other(environ, start_response)
