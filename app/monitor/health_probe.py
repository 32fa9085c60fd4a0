"""Asks the running api whether a version answers: the monitor has no versions loaded itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import requests

# Connecting and answering: a decision waits for the probe.
_TIMEOUT_S = (2.0, 5.0)


class _Version(msgspec.Struct):
    loaded: bool = False
    circuit_breaker: str | None = None
    error: str | None = None


class _Health(msgspec.Struct):
    models: dict[str, _Version]


def http_probe(api_url: str) -> Callable[[str], str | None]:
    """A function that returns why a version does not answer, by `GET /health`; None where it answers."""

    def probe(version: str) -> str | None:
        try:
            # No check of the status: unhealthy is a 503 with the same body.
            answer = requests.get(f"{api_url.rstrip('/')}/health", timeout=_TIMEOUT_S)
            health = msgspec.json.decode(answer.content, type=_Health)
        except requests.RequestException as error:
            return f"can't reach the API at {api_url}: {type(error).__name__}"
        except msgspec.MsgspecError:
            return f"{api_url}/health gave no health report: is API_URL the address of the API?"
        return _failure(health.models.get(version))

    return probe


def _failure(found: _Version | None) -> str | None:
    if found is None or not found.loaded:
        return "it is not loaded" if found is None or not found.error else f"it is not loaded: {found.error}"
    if found.error:
        return found.error
    return "its circuit breaker is open" if found.circuit_breaker == "open" else None
