"""Structured logs: an event a line, as JSON for machines or as text for a terminal."""

from __future__ import annotations

import logging
import logging.config
import sys
from contextvars import ContextVar
from typing import IO, Any

from app.observe.log_formats import JsonFormatter, TextFormatter
from app.observe.redaction import Redactor, secrets_of
from app.settings import Settings

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
_GUNICORN = ("gunicorn.error", "gunicorn.access")


def event(
    logger: logging.Logger, level: int, name: str, *, exception: BaseException | None = None, **fields: object
) -> None:
    """Log that `name` happened, with `fields` that say to what; `exception` goes with its traceback.

    A name is a constant in snake case; whatever varies is a field.
    """
    if logger.isEnabledFor(level):
        logger.log(level, name, exc_info=exception, extra={"event_fields": fields}, stacklevel=2)


def configure(settings: Settings, stream: IO[str] | None = None) -> None:
    """Send every log of the process to `stream` (default: standard error) in the form that `settings` ask for."""
    logging.config.dictConfig(logging_config(settings, stream))
    logging.captureWarnings(True)


def logging_config(settings: Settings, stream: IO[str] | None = None) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`, and for gunicorn's `logconfig_dict`: its logs look the same."""
    stream = sys.stderr if stream is None else stream
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"event": {"()": lambda: _formatter(settings, stream)}},
        "filters": {"request_id": {"()": lambda: _with_request_id}},
        "handlers": {
            "stream": {
                "class": "logging.StreamHandler",
                "stream": stream,
                "formatter": "event",
                "filters": ["request_id"],
            }
        },
        "root": {"level": settings.log_level, "handlers": ["stream"]},
        # gunicorn gives its loggers handlers of their own before it reads this; here they lose them.
        "loggers": {name: {"level": settings.log_level, "handlers": [], "propagate": True} for name in _GUNICORN},
    }


def _formatter(settings: Settings, stream: IO[str]) -> logging.Formatter:
    redactor = Redactor(secrets_of(settings))
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    return TextFormatter(redactor) if as_text else JsonFormatter(redactor)


def _with_request_id(record: logging.LogRecord) -> bool:
    if not hasattr(record, "request_id"):
        record.request_id = REQUEST_ID.get()
    return True
