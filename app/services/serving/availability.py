"""Why a version cannot answer: sentences that name the state of this process and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence

from app.domain.experiment import Configuration
from app.errors import UnknownVersion
from app.services.ports import LoadedModels, RefusedVersion

# The names of the versions in the model registry, in order of publication. May raise `OSError`.
PublishedNames = Callable[[], Sequence[str]]
_LOAD = "POST /models/reload (or restart the api)"
MAKE_REACHABLE = "check MODEL_DIR, AWS_ENDPOINT_URL, AWS_REGION, the credentials and the network"
FOREIGN = (
    "the key of this process is not that of the store, so it takes no part in the deployment's experiment: see `store` "
    "in GET /health"
)
_MOST_NAMED = 3
_LONGEST_NAME = 64


def nothing_loaded(loaded_models: LoadedModels, published: PublishedNames) -> str:
    """Why no version is loaded in this process, and the next step. Reads the registry: not for the normal path."""
    refused = {version.name for version in loaded_models.refused}
    try:
        new = [name for name in published() if name not in refused]
    except OSError as error:
        return f"no model is loaded, and the model registry cannot be read: {error.strerror or error}"
    if new:
        them = "it" if len(new) == 1 else "them"
        waiting = f"{_listed(new)} {'is' if len(new) == 1 else 'are'} published but not loaded yet"
        also = f"; {_refusals(loaded_models.refused)}" if refused else ""
        return f"no model is loaded: {waiting}; load {them} with {_LOAD}{also}"
    for each in loaded_models.refused:
        if each.registry:
            return (
                f"no model is loaded: the model registry at {each.name}: {each.reason}; {MAKE_REACHABLE}. It is read "
                "again every five seconds"
            )
    if refused:
        return (
            f"no model is loaded: {_refusals(loaded_models.refused)}; fix that or publish another version, then load "
            f"it with {_LOAD}"
        )
    return (
        "no model is loaded, and the model registry is empty: publish a version with `bakeoff train` or "
        f"`bakeoff publish`, then load it with {_LOAD}"
    )


def lacking(configuration: Configuration, loaded: Collection[str]) -> list[str]:
    """The versions with weight that are not loaded here. Called in each request."""
    return [version for version, weight in configuration.weights.items() if weight > 0 and version not in loaded]


def of_lacking(configuration: Configuration, loaded_models: LoadedModels) -> str:
    """Why a process that lacks versions with weight takes no part in the experiment, and what to do."""
    lacked = lacking(configuration, loaded_models.versions)
    shares = [f"{name} has {100 * configuration.weights[name]:.3g} %" for name in lacked]
    refused = [each for each in loaded_models.refused if each.name in lacked]
    are, they, them, its = ("is", "it", "it", "its") if len(lacked) == 1 else ("are", "they", "them", "their")
    why = f" ({_refusals(refused)})" if refused else ""
    return (
        f"{' and '.join(shares)} of the traffic and {are} not loaded here{why}, so answers here do not count: put "
        f"{them}, as published, into this host's model registry and load {them} with {_LOAD}; if {they} {are} gone for "
        f"good, send {its} traffic to {_instead(configuration, loaded_models)}"
    )


def _instead(configuration: Configuration, loaded_models: LoadedModels) -> str:
    """The versions that can take the traffic of those that are lacking here. No other host must lack them, too."""
    loaded = loaded_models.versions
    # What has traffic now is loaded by each host that is ready. Of any other version that is not known here.
    weights = {name: share for name, share in configuration.weights.items() if share > 0 and name in loaded}
    if not loaded_models.shared:
        weights = weights or dict.fromkeys(sorted(loaded)[:1], 1.0)
    if not weights:
        return "versions that every host has loaded (PATCH /config)"
    return f"others: PATCH /config {json.dumps({'weights': weights})}"


def unknown_version(name: str, loaded: Collection[str], field: str | None = None) -> UnknownVersion:
    """The error for a version that is not loaded; its sentence holds whether or not the registry has the version."""
    names = ", ".join(loaded) or "none"
    return UnknownVersion(
        f"no version {name[:_LONGEST_NAME]!r} is loaded; loaded: {names} (GET /models also lists what is not)",
        field=field,
    )


def _refusals(refused: Sequence[RefusedVersion]) -> str:
    reasons = ", ".join(f"{version.name} ({version.reason})" for version in refused[:_MOST_NAMED])
    more = f" and {len(refused) - _MOST_NAMED} more" if len(refused) > _MOST_NAMED else ""
    return f"refused: {reasons}{more}, see GET /health"


def _listed(names: Sequence[str]) -> str:
    shown = [*names] if len(names) <= _MOST_NAMED else [*names[:_MOST_NAMED], f"{len(names) - _MOST_NAMED} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
