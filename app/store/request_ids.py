"""The ids of requests as rows of the table `log` have them: in 16 bytes where they can be, and how they are found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

# Requests whose ids the API made are found by the time in them: a request is answered within this time.
REQUEST_US = 60_000_000
REQUEST_BYTES = 16
_MADE = re.compile("[0-9a-f]{32}")
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME_DIGITS = 14
_TIME_BYTES = _TIME_DIGITS // 2


def request_key(request_id: str, served_at_us: int) -> int | None:
    """By which a request's id is found, 31 bits of a hash; None where the time in it is enough."""
    made_at = made_at_us(request_id)
    if made_at is not None and 0 <= served_at_us - made_at < REQUEST_US:
        return None
    return hash_of_request(request_id)


def hash_of_request(request_id: str) -> int:
    """31 bits of a hash of the id."""
    return int.from_bytes(blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()) >> 1


def made_at_us(request_id: str) -> int | None:
    """When the API made this id (µs since 1970), None if it has another form."""
    return int(request_id[:_TIME_DIGITS], 16) if _MADE.fullmatch(request_id) else None


def kind_of_request(request_id: str) -> str:
    """How the id is written, as a form says it."""
    return "hex" if _MADE.fullmatch(request_id) else "uuid" if _UUID.fullmatch(request_id) else "text"


def request_bytes(request_id: str) -> bytes:
    """The 16 bytes of an id of 32 hexadecimal digits or a UUID."""
    return bytes.fromhex(request_id.replace("-", ""))


def bytes_of_requests(ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """How the ids of requests are written, and their bytes."""
    whole = "".join(ids)
    if set(map(len, ids)) == {2 * REQUEST_BYTES}:
        try:
            raw = bytes.fromhex(whole)
        except ValueError:
            raw = b""
        if raw.hex() == whole:  # else it has capitals or spaces
            return ["hex"] * len(ids), np.frombuffer(raw, np.uint8).reshape(-1, REQUEST_BYTES)
    kinds = [*map(kind_of_request, ids)]
    parts = [
        bytes(REQUEST_BYTES) if kind == "text" else request_bytes(each) for kind, each in zip(kinds, ids, strict=True)
    ]
    return kinds, np.frombuffer(b"".join(parts), np.uint8).reshape(-1, REQUEST_BYTES)


def request_keys(ids: Sequence[str], kinds: Sequence[str], requests: np.ndarray, times: np.ndarray) -> list[int | None]:
    """By which each request is found, as `request_key` says it; `times` are uint64."""
    # Seven of these eight bytes are the time. One before it becomes a great number, as nothing here is negative.
    made_at = requests.view(">u8")[:, 0] >> 8 * (8 - _TIME_BYTES)
    by_time = times - made_at < REQUEST_US
    if by_time.all() and {*kinds} == {"hex"}:
        return [None] * len(ids)
    return [
        None if is_recent and kind == "hex" else request_key(request_id, at_us)
        for request_id, at_us, kind, is_recent in zip(ids, times.tolist(), kinds, by_time.tolist(), strict=True)
    ]
