"""The served model as the simulator knows it from the API."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.domain.contract import FeatureContract
from app.domain.manifest import Source
from app.errors import NotReady


class ServedModel(msgspec.Struct, frozen=True):
    """What `GET /models` says of one version, as far as it is needed to play its data."""

    version: str
    contract: FeatureContract
    source: Source
    aliases: tuple[str, ...] = ()
    serving: bool = True


class Listing(msgspec.Struct, frozen=True):
    """The answer of `GET /models`."""

    models: tuple[ServedModel, ...]


def reference_of(models: Sequence[ServedModel]) -> ServedModel:
    """The version whose data set is played: the champion, else the first that serves. Raises `NotReady`."""
    serving = [model for model in models if model.serving]
    if not serving:
        raise NotReady("the service has no model to ask: run `bakeoff train`, then restart the api")
    return next((model for model in serving if "champion" in model.aliases), serving[0])
