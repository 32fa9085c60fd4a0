"""Where the dashboard finds the api: the only module of `app.ui` that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec


class Connection(msgspec.Struct, frozen=True):
    """The api's address without a slash at the end, and the token for reading where one is needed.

    `public_url` is the address by which people reach it, where that is another.
    """

    url: str
    token: str | None = None
    public_url: str | None = None

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"Connection(url={self.url!r})"


def connection(environ: Mapping[str, str] | None = None) -> Connection:
    """What API_URL (default: this host's API_PORT), API_TOKEN and PUBLIC_API_URL say."""
    env = os.environ if environ is None else environ
    port = env.get("API_PORT", "").strip() or "5000"
    url = env.get("API_URL", "").strip() or f"http://127.0.0.1:{port}"
    public_url = env.get("PUBLIC_API_URL", "").strip().rstrip("/")
    return Connection(url.rstrip("/"), env.get("API_TOKEN", "").strip() or None, public_url or None)
