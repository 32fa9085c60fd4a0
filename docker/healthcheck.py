"""Whether a URL answers 200, and with a given text where one is given: exit status 0, or 1 and what it answered.

What Compose's health checks run. It knows the standard library only and starts in some hundredths of a second.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


def complaint(url: str, expected: str = "") -> str | None:
    """What is wrong with the answer to a GET of `url`, or None."""
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
