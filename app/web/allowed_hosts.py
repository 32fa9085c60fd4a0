"""The names by which the service may be called: a check of the Host header, against DNS rebinding.

A page of another site can have its own name resolve to this service's address, and then reads the answers as its own.
The browser still sends that name as Host, and so such a request is told apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.errors import Misdirected
from app.settings import Settings
from app.web.operations import is_public_listener
from app.web.response import Environ

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:]*?)\.?(?::\d*)?")
_MOST_REMEMBERED = 256


class AllowedHosts:
    """Allows addresses, `localhost`, the `names`, and every name without a dot.

    No page of another site has one of these: the addresses and `localhost` are resolved by nobody, and a name without a
    dot is one of the local network, of Compose or of a cluster. With `names` None everything is allowed.
    """

    def __init__(self, names: Collection[str] | None) -> None:
        self._names = None if names is None else frozenset(name.lower().rstrip(".") for name in names)
        # Most callers say the same; a client that varies its Host forever must not fill the memory.
        self._seen: set[str | None] = {None, ""}  # HTTP/1.0 needs none, and every browser sends one

    def check(self, host: str | None) -> None:
        """Raise `Misdirected` if this Host header may not be had here."""
        if self._names is None or host in self._seen:
            return
        assert host is not None
        found = _HOST.fullmatch(host.strip().lower())
        if found is None or not self._allows(found["name"], self._names):
            raise Misdirected(
                f"this service is not called {host[:100]!r}: use one of its names, or have its operator add the name "
                "to ALLOWED_HOSTS"
            )
        if len(self._seen) < _MOST_REMEMBERED:
            self._seen.add(host)

    def _allows(self, name: str, names: Collection[str]) -> bool:
        return name in names or "." not in name or name.endswith(".localhost") or _is_address(name)


ANY_HOST = AllowedHosts(None)


class ListenerHosts:
    """The names of each listener: those of `ALLOWED_HOSTS`, and otherwise by who reaches the listener.

    Any name where it is published to a network; no name of another site where only this host reaches it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        public = settings.published_on or (settings.host,)
        own = settings.admin_published_on or settings.admin_bind
        self._public = _hosts_of(settings, public)
        self._own = self._public if own is None else _hosts_of(settings, own[:1])

    def check(self, environ: Environ) -> None:
        """Raise `Misdirected` if the listener by which this request came may not be had by its Host header."""
        hosts = self._public if is_public_listener(self._settings, environ) else self._own
        hosts.check(environ.get("HTTP_HOST"))


def _hosts_of(settings: Settings, addresses: Collection[str]) -> AllowedHosts:
    urls = (settings.api_url, settings.public_api_url or "")
    own = {settings.host, *filter(None, map(_host_of, urls)), *(settings.admin_bind or ())[:1]}
    if settings.allowed_hosts:
        return ANY_HOST if "*" in settings.allowed_hosts else AllowedHosts({*settings.allowed_hosts, *own})
    return AllowedHosts(own) if all(map(_is_loopback, addresses)) else ANY_HOST


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return ip_address(name.strip("[]")).is_loopback if _is_address(name) else name.lower() == "localhost"
