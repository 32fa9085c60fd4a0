"""The page at `/docs`: one HTML file that loads nothing but this server's OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import msgspec

_FOLDER = Path(__file__).parent


class Page(msgspec.Struct, frozen=True):
    """The HTML, and the headers that prevent it from running or loading anything else."""

    html: str
    headers: dict[str, str]


def read_page() -> Page:
    """The page with its style and script inlined; the content security policy allows these two by their hashes."""
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    html = (_FOLDER / "page.html").read_text(encoding="utf-8").replace("/*style*/", style).replace("/*script*/", script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash_of(style)}'",
            f"script-src '{_hash_of(script)}'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    return Page(html, headers)


def _hash_of(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
