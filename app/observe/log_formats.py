"""The two forms of a log line. Neither lets a value end its line or show a secret."""

from __future__ import annotations

import json
import logging
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from app.observe.redaction import Redactor

_RESERVED = ("ts", "level", "logger", "event", "request_id", "exception")
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName", "event_fields", "request_id")
}
_LONGEST_TEXT = 16_384
_DEEPEST = 6
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class JsonFormatter(logging.Formatter):
    """One line of ASCII JSON an event: `ts` (UTC, ms), `level`, `logger`, `event`, its fields, `exception`."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return json.dumps(_entry(self, record, self._redactor), allow_nan=False)


class TextFormatter(logging.Formatter):
    """A line to be read: time, level, logger, event, `key=value`; a traceback follows, each line indented."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one."""
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
        # A field may name the request itself; it may not pretend to be another event.
        name = f"{key}_" if key in _RESERVED and key != "request_id" else key
        entry[name] = _plain(redactor.field(key, value), redactor)
    if record.exc_info and record.exc_info[0] is not None:
        entry["exception"] = redactor.text(formatter.formatException(record.exc_info))[-_LONGEST_TEXT:]
    return entry


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What was given by `event`, and what came as `extra`."""
    extra = {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}
    return extra | dict(getattr(record, "event_fields", {}))


def _plain(value: object, redactor: Redactor, depth: int = 0) -> object:
    """`value` as JSON has it: what is not JSON becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): _plain(redactor.field(str(key), item), redactor, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [_plain(item, redactor, depth + 1) for item in value]
    return redactor.text(_text(value))[:_LONGEST_TEXT]


def _text(value: object) -> str:
    try:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    except Exception as error:  # noqa: BLE001 - a log line must not fail because of what it tells of
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _one_line(text: object) -> str:
    """Text with every control character (line ends, terminal escapes) shown as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value.isprintable() else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
