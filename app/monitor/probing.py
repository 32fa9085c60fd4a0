"""Ask the running api whether a version answers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import requests

_TIMEOUT_S = (2.0, 5.0)


class _Version(msgspec.Struct):
    loaded: bool = False
    circuit_breaker: str | None = None
    error: str | None = None


class _Health(msgspec.Struct):
    models: dict[str, _Version]


def http_probe(api_url: str) -> Callable[[str], str | None]:
    """A function that gives what is wrong with a version, as `GET /health` proves it; None where it answers."""

    def probe(version: str) -> str | None:
        try:
            # Unhealthy is a 503 with the same body.
            answer = requests.get(f"{api_url.rstrip('/')}/health", timeout=_TIMEOUT_S)
            health = msgspec.json.decode(answer.content, type=_Health)
        except requests.RequestException as error:
            return f"the api cannot be asked: {type(error).__name__}"
        except msgspec.MsgspecError:
            return "the api gave no readable answer"
        return _flaw(health.models.get(version))

    return probe


def _flaw(found: _Version | None) -> str | None:
    if found is None or not found.loaded:
        return "it is not loaded" if found is None or not found.error else f"it is not loaded: {found.error}"
    if found.error:
        return found.error
    return "its circuit breaker is open" if found.circuit_breaker == "open" else None
