"""The signature over a manifest: HMAC-SHA256 with the deployment's key, over the very bytes of the file."""

from __future__ import annotations

import hashlib
import hmac

# The same key signs other things; what is signed here must never pass for one of those.
_CONTEXT = b"bakeoff manifest\x00"


def signature(key: bytes, manifest: bytes) -> bytes:
    """The signature of a manifest's bytes, as 64 hex digits and a newline."""
    return hmac.new(key, _CONTEXT + manifest, hashlib.sha256).hexdigest().encode() + b"\n"


def is_signed(key: bytes, manifest: bytes, claimed: bytes) -> bool:
    """Whether `claimed` is the signature of these bytes under this key (compared in constant time)."""
    return hmac.compare_digest(signature(key, manifest), claimed)
