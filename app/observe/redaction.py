"""Take secrets out of text before it is written anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from app.settings import Settings

REDACTED = "[redacted]"
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
# Shorter ones are words that a log is full of; the service has refused nobody a bad choice.
_SHORTEST_SECRET = 4


class Redactor:
    """Replaces the given secrets, bearer tokens, `…TOKEN=…` and passwords in URLs by `[redacted]`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: a secret may begin like another.
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
        """`value`, or `[redacted]` where the name of the field says that it is a secret."""
        return REDACTED if value is not None and _SECRET_KEY.search(key) else value


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """The texts in `settings` that no log may show."""
    password = urlsplit(settings.database_url or "").password
    candidates = (settings.admin_token, settings.api_token, settings.notify_webhook_url, password)
    return tuple(secret for secret in candidates if secret)
