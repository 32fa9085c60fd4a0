"""Compose's health check: exit status 0 if a URL answers 200 (with an expected text, if given), else 1 and a reason.

It imports the standard library only, so that it starts within a few hundredths of a second.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


def complaint(url: str, expected: str = "") -> str | None:
    """Why the response to a GET of `url` counts as unhealthy; None if it is healthy."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=4)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read(100_000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"{url}: {error}"
    finally:
        connection.close()
    if answer.status == 200 and expected in body:
        return None
    return f"{url}: {answer.status} {body[:2000]}"


if __name__ == "__main__":
    sys.exit(complaint(*sys.argv[1:]))
