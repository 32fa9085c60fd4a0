"""The only two places that catch any error: calls whose error is a result, and loops that must not end.

Everywhere else an error is either of a type that the caller handles, or a fault that ends the request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def attempt(
    call: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result | Exception:
    """What `call` returns, or the error that it raises, as a value.

    For code that may raise anything: a model, a converter, a database driver. The caller must count or log the error,
    or report it as its result.
    """
    try:
        return call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - returned: it is the caller's to handle
        return error


class FaultBoundary:
    """A `with` block that any error leaves without ending its thread; the error is logged and counted.

    The log line is `event` with the traceback, the `fields` and the number of failures so far. With `once`, only the
    first of several failures in a row is logged. `on_failure` is called for every one. Errors of the types in
    `passing` are raised as usual: their caller handles them.

    One boundary belongs to one loop: it is not thread-safe.
    """

    def __init__(
        self,
        log: logging.Logger,
        event: str,
        *,
        fields: Mapping[str, object] | None = None,
        level: int = logging.ERROR,
        once: bool = False,
        on_failure: Callable[[], None] = lambda: None,
        passing: tuple[type[Exception], ...] = (),
    ) -> None:
        self._log = log
        self._event = event
        self._fields = dict(fields or {})
        self._level = level
        self._once = once
        self._on_failure = on_failure
        self._passing = passing
        self.failures = 0
        self.failing = False

    def __enter__(self) -> FaultBoundary:
        """Begin the work that may fail."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """Whether the error ends here. `KeyboardInterrupt` and `SystemExit` never do."""
        if error is None:
            self.failing = False
            return False
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return False
        self.failures += 1
        if not (self._once and self.failing):
            fields = {**self._fields, "failures": self.failures}
            self._log.log(self._level, self._event, exc_info=error, extra={"event_fields": fields})
        self.failing = True
        self._on_failure()
        return True
