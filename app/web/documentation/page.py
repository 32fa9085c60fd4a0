"""The page at `/docs`: Swagger UI over this server's OpenAPI document, with no file from another host."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui

_OURS = Path(__file__).parent
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
# What the page loads, by name.
FILES = {
    **{name: _OURS / name for name in ("page.css", "page.js")},
    **{name: _SWAGGER_UI / name for name in ("favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css")},
}
# Swagger UI's style sheet has its icons in data: addresses.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def read_page(folder: str) -> str:
    """The HTML of the page; `folder` is where its files are, relative to its address."""
    return (_OURS / "page.html").read_text(encoding="utf-8").replace("{folder}", folder)
