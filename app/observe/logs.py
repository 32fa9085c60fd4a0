"""Structured logs: one event per line, as JSON for machines or as text for a terminal.

An event is `logger.warning("name", extra={"event_fields": {…}})`: a constant name in snake case, and everything that
varies in fields. Neither form lets a value end its line or show a secret.
"""

from __future__ import annotations

import json
import logging
import logging.config
import math
import numbers
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, TypeGuard
from urllib.parse import urlsplit

from app.settings import Settings

# The id of the request that this thread answers; every line that it logs carries it.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
REDACTED = "[redacted]"
_GUNICORN = ("gunicorn.error", "gunicorn.access")
_SECRET_KEY = re.compile(r"authori[sz]ation|token|password|passwd|secret|api[_-]?key|cookie", re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]+"), rf"\1\2{REDACTED}"),
    (
        re.compile(
            r"(?i)\b((?:\w*token|\w*password|\w*secret|authorization)[\"']?\s*[=:]\s*[\"']?)(?!bearer|basic)[^\s\"',;&}]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{REDACTED}@"),
)
# A shorter token is likely to be part of ordinary words, which would be redacted everywhere.
_SHORTEST_SECRET = 4


class Redactor:
    """Replaces the given secrets, bearer tokens, `…TOKEN=…` and passwords in URLs by `[redacted]`.

    Given secrets are found in any text; patterns catch those of others, such as a client's header in an error.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: of a secret that begins with another one, the rest would be shown.
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """`text` without secrets."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def field(self, key: str, value: object) -> object:
        """`value`, or `[redacted]` if the field has the name of a secret."""
        return REDACTED if value is not None and _SECRET_KEY.search(key) else value


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """The secrets in `settings`: tokens, the webhook's URL and the database's password."""
    password = urlsplit(settings.database_url or "").password
    candidates = (*settings.tokens.given().values(), settings.notify_webhook_url, password)
    return tuple(secret for secret in candidates if secret)


# Names of a JSON line's own fields: an event field of such a name gets an underscore.
_RESERVED = ("ts", "level", "logger", "event", "request_id", "exception")
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName", "event_fields", "request_id")
}
_LONGEST_TEXT = 16_384
_DEEPEST = 6
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class JsonFormatter(logging.Formatter):
    """One line of ASCII JSON per event: `ts` (UTC, ms), `level`, `logger`, `event`, its fields, `exception`.

    ASCII, because U+2028 and others end a line for some readers.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return json.dumps(_entry(self, record, self._redactor), allow_nan=False)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, event, `key=value`; a traceback follows, each of its lines indented."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, followed by the traceback if there is one."""
        entry = _entry(self, record, self._redactor)
        head = f"{entry.pop('ts')} {entry.pop('level'):<7} {entry.pop('logger')}: {_one_line(entry.pop('event'))}"
        trace = entry.pop("exception", None)
        line = " ".join([head, *(f"{_one_line(key)}={_shown(value)}" for key, value in entry.items())])
        if trace is None:
            return line
        return "\n".join([line, *("    " + _one_line(text) for text in str(trace).splitlines())])


def _entry(formatter: logging.Formatter, record: logging.LogRecord, redactor: Redactor) -> dict[str, object]:
    entry: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "event": redactor.text(record.getMessage())[:_LONGEST_TEXT],
    }
    request_id = getattr(record, "request_id", None)
    if request_id is not None:
        entry["request_id"] = _plain(request_id, redactor)
    for key, value in _fields(record).items():
        # A field may set the request's id; it may not replace the event, its time or its level.
        name = f"{key}_" if key in _RESERVED and key != "request_id" else key
        entry[name] = _plain(redactor.field(key, value), redactor)
    if record.exc_info and record.exc_info[0] is not None:
        entry["exception"] = redactor.text(formatter.formatException(record.exc_info))[-_LONGEST_TEXT:]
    return entry


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The event's fields, and the other attributes that were passed as `extra`."""
    extra = {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}
    return extra | dict(getattr(record, "event_fields", {}))


def _plain(value: object, redactor: Redactor, depth: int = 0) -> object:
    """`value` as JSON has it, without secrets: everything that is not JSON becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Real):
        return _plain_number(value)
    # Beyond the depth as text: a structure that contains itself must not end the log line.
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): _plain(redactor.field(str(key), item), redactor, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and _is_list(value):
        return [_plain(item, redactor, depth + 1) for item in value]
    return redactor.text(_text(value))[:_LONGEST_TEXT]


def _plain_number(value: numbers.Real) -> object:
    """A Python number for one of any library; NaN and infinities, which JSON does not have, as text."""
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if math.isfinite(value) else str(value)


def _is_list(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)


def _text(value: object) -> str:
    try:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be printed must not cost the log line
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _one_line(text: object) -> str:
    """Text with every unprintable character (line ends, terminal escapes) replaced by an escape sequence."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value.isprintable() else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def configure(settings: Settings, stream: IO[str] | None = None) -> None:
    """Send all logs of the process, Python's warnings too, to `stream` (default: standard error) as `settings` ask."""
    logging.config.dictConfig(logging_config(settings, stream))
    logging.captureWarnings(True)


def logging_config(settings: Settings, stream: IO[str] | None = None) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig` and for gunicorn's `logconfig_dict`: both log the same form."""
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
        # gunicorn adds handlers to its loggers before it reads this; with theirs, each line would appear twice.
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
