"""The id that ties an answer to the log: the caller's where it is usable, else a new one."""

from __future__ import annotations

from random import getrandbits
from typing import Any

_KEY = "HTTP_X_REQUEST_ID"
_LONGEST = 128


def request_id_of(environ: dict[str, Any]) -> str:
    """The request's id: at most 128 printable ASCII characters.

    A new one is put into `environ`, so that whoever asks again gets the same.
    """
    given = environ.get(_KEY)
    if given and len(given) <= _LONGEST and given.isascii() and given.isprintable():
        return str(given)
    # `random` is seeded anew after a fork, and these ids guard nothing: os.urandom would cost six times as much.
    new = environ[_KEY] = f"{getrandbits(128):032x}"
    return new
