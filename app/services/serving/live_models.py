"""What one worker serves with: the loaded models, their breakers, the columns of requests, and the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from app.domain.columns import Union, union_of
from app.domain.contract import MODEL_NAME
from app.domain.experiment import Configuration
from app.domain.layouts import RequestColumns
from app.errors import NotReady
from app.services.ports import LoadedModels, LoadedVersion
from app.services.serving.availability import PublishedNames, nothing_loaded, unknown_version
from app.services.serving.breaker import Breaker

_RETRY_AFTER_S = 5


class LiveState:
    """The loaded models with a circuit breaker for each version, and the columns of requests; replaced as a whole.

    `model_name` is the name that the versions have together, unless the settings give one.
    """

    def __init__(self, loaded_models: LoadedModels, breakers: Mapping[str, Breaker], published: PublishedNames) -> None:
        self.loaded_models = loaded_models
        self.breakers = breakers
        self.model_name = _model_name(loaded_models)
        self._published = published
        self._columns = _columns_of(loaded_models)
        self._forced: dict[str, RequestColumns] = {}

    def version(self, name: str) -> LoadedVersion:
        """The loaded version of that name. Raises `UnknownVersion`."""
        version = self.loaded_models.versions.get(name)
        if version is None:
            raise unknown_version(name, self.loaded_models.versions, "X-Model-Version")
        return version

    def columns(self, forced: str | None = None) -> RequestColumns:
        """The columns of a request: those of the reference version are required, or those of the forced one.

        Raises `UnknownVersion` and `NotReady`.
        """
        if forced is not None:
            return self._forced.get(forced) or self._columns_of_forced(self.version(forced))
        if self._columns is None:
            raise self.not_ready()
        return self._columns

    def not_ready(self) -> NotReady:
        """The error while no version is loaded: why that is, and what to do."""
        return NotReady(nothing_loaded(self.loaded_models, self._published), retry_after_s=_RETRY_AFTER_S)

    def _columns_of_forced(self, version: LoadedVersion) -> RequestColumns:
        models = self.loaded_models
        if version.name in models.compatible and models.reference is not None:
            contracts = {name: models.versions[name].contract for name in models.compatible}
            # An array has the same columns whether a version is forced or not.
            arrays = models.versions[models.reference].contract.names
            columns = RequestColumns(version.name, union_of(version.name, contracts), arrays)
        else:
            columns = RequestColumns(version.name, Union(version.contract.features, {version.name: version.contract}))
        self._forced[version.name] = columns
        return columns


def _model_name(models: LoadedModels) -> str:
    """The name of the data set of the oldest version, which a promotion does not change; else `model`."""
    first = min(models.versions.values(), key=lambda version: version.ordinal, default=None)
    source = None if first is None else first.manifest.get("source")
    dataset = source.get("dataset") if isinstance(source, Mapping) else None
    name = PurePath(dataset).stem if isinstance(dataset, str) else ""
    return name if MODEL_NAME.fullmatch(name) else "model"


def _columns_of(models: LoadedModels) -> RequestColumns | None:
    if models.reference is None:
        return None
    contracts = {name: models.versions[name].contract for name in models.compatible}
    return RequestColumns(models.reference, union_of(models.reference, contracts))


def _nothing_published() -> Sequence[str]:
    return ()


class LiveModels:
    """What one worker serves with: the loaded models and the configuration, each replaced as a whole.

    `published` lists the model registry; it is called only to explain why no version is loaded. `foreign` says without
    the store whether that was last seen with another deployment's key: then nothing here takes part in its experiment.
    """

    def __init__(
        self,
        loaded_models: LoadedModels,
        configuration: Configuration,
        new_breaker: Callable[[], Breaker],
        published: PublishedNames = _nothing_published,
        foreign: Callable[[], bool] = lambda: False,
    ) -> None:
        self.foreign = foreign
        self._new_breaker = new_breaker
        self._published = published
        self.configuration = configuration
        self.state = LiveState(loaded_models, {name: new_breaker() for name in loaded_models.versions}, published)
        self._follow_champion()

    @property
    def loaded_models(self) -> LoadedModels:
        """The loaded models."""
        return self.state.loaded_models

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The circuit breaker of each loaded version."""
        return self.state.breakers

    def install(self, loaded_models: LoadedModels) -> None:
        """Serve with `loaded_models` from the next request on. A version that is unchanged keeps its breaker."""
        before = self.state
        breakers = {
            name: before.breakers[name] if before.loaded_models.versions.get(name) is version else self._new_breaker()
            for name, version in loaded_models.versions.items()
        }
        # One assignment: a request reads `state` once and sees either all of the old models or all of the new ones.
        self.state = LiveState(loaded_models, breakers, self._published)
        self._follow_champion()

    def configure(self, configuration: Configuration) -> None:
        """Route by `configuration` from the next request on; its champion's columns are those that requests need."""
        self.configuration = configuration
        self._follow_champion()

    def _follow_champion(self) -> None:
        # The registry's alias, which the models were loaded with, follows a decision only later.
        models, champion = self.state.loaded_models, self.configuration.champion
        if champion in models.versions and champion != models.reference:
            self.state = LiveState(models.led_by(champion), self.state.breakers, self._published)

    def not_ready(self) -> NotReady:
        """The error while no version is loaded; see `LiveState.not_ready`."""
        return self.state.not_ready()
