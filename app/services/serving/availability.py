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


def lacking(configuration: Configuration, loaded: Collection[str]) -> str | None:
    """The first version with weight that is not loaded here; None if all are. Called in each request."""
    for version, weight in configuration.weights.items():
        if weight > 0 and version not in loaded:
            return version
    return None


def of_lacking(version: str, configuration: Configuration, loaded: Collection[str]) -> str:
    """Why a process without `version` takes no part in the experiment, and what to do."""
    others = {name: share for name, share in configuration.weights.items() if share > 0 and name in loaded}
    weights = others or dict.fromkeys(sorted(loaded)[:1], 1.0)
    return (
        f"{version} has {100 * configuration.weights[version]:.3g} % of the traffic and is not loaded here, so answers "
        f"here do not count: put it into this host's model registry and load it with {_LOAD}; if it is gone for good, "
        f"send its traffic to others: PATCH /config {json.dumps({'weights': weights})}"
    )


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
