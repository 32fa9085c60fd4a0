"""Look at the shelf again while serving: verify, load, warm up, and only then swap; every worker of the host follows.

Draining needs no step of its own: a request holds the versions it began with, and the last one lets them go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec

from app.domain.experiment import Configuration
from app.errors import BakeoffError, Contradiction, SettingError
from app.services.ports import LoadedModels

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 2.0
_POLL_S = 0.02

Change = Literal["kept", "loaded", "replaced"]


class Generations(Protocol):
    """How the workers of a host tell each other to look at the shelf. May raise `OSError`."""

    def current(self) -> str: ...

    def advance(self) -> str: ...

    def confirm(self, generation: str) -> None: ...

    def behind(self, generation: str) -> int: ...


class ServedVersion(msgspec.Struct, frozen=True):
    """A version in memory: the checksum of its original file, and whether this reload `loaded` it, `replaced` another
    of its name by it, or `kept` it as it was."""

    sha256: str
    change: Change


class RefusedFile(msgspec.Struct, frozen=True):
    """Why what is on the shelf may not be served; `still_served`: as it was loaded before."""

    reason: str
    still_served: bool


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is served now, what is no longer, and what was refused. `workers_behind` had not followed after 2 s."""

    served: Mapping[str, ServedVersion]
    removed: tuple[str, ...]
    refused: Mapping[str, RefusedFile]
    experiment_id: str
    epoch: int
    workers_behind: int


class Reload:
    """The reloads of one worker. `load` makes the next fleet of the present one, without side effects on it; `serve`
    swaps it in and settles the configuration (raises `SettingError` and changes nothing where that fails);
    `generation` is the one of the fleet that the process began with.
    """

    def __init__(
        self,
        loaded_models: Callable[[], LoadedModels],
        load: Callable[[LoadedModels], LoadedModels],
        serve: Callable[[LoadedModels], Configuration],
        generations: Generations,
        generation: str,
    ) -> None:
        self._loaded_models = loaded_models
        self._load = load
        self._serve = serve
        self._generations = generations
        self._generation = generation
        self._lock = threading.Lock()

    def start(self) -> None:
        """In a new process: catch up with reloads since its fleet was made, and say that it has."""
        self.follow()
        try:
            self._generations.confirm(self._generation)
        except OSError:
            _LOG.exception("reload_not_confirmed")

    def now(self) -> ReloadReport:
        """Reload, tell the other workers, and wait until they have followed, for two seconds at most.

        Raises `Contradiction` where the shelf is empty or does not fit the settings: then nothing has changed.
        """
        with self._lock:
            before = self._loaded_models()
            after, configuration = self._swap(before)
            generation = self._announce()
        return ReloadReport(
            served={name: _served(name, before, after) for name in after.versions},
            removed=tuple(name for name in before.versions if name not in after.versions),
            refused={each.name: RefusedFile(each.reason, each.name in after.versions) for each in after.refused},
            experiment_id=configuration.experiment_id,
            epoch=configuration.epoch,
            workers_behind=self._wait(generation) if generation else 0,
        )

    def follow(self) -> None:
        """Reload if another worker did since the last look; cheap to ask often. Raises nothing."""
        try:
            generation = self._generations.current()
            if generation == self._generation:
                return
            with self._lock:
                self._generation = generation  # also where it fails: once is enough for the log
                self._swap(self._loaded_models())
            self._generations.confirm(generation)
        except (BakeoffError, OSError) as error:
            _LOG.error("reload_not_followed", extra={"event_fields": {"reason": str(error)}})

    def _swap(self, before: LoadedModels) -> tuple[LoadedModels, Configuration]:
        after = self._load(before)
        if before.versions and not after.versions:
            raise Contradiction("there is no version on the shelf any more; what was loaded before goes on serving")
        try:
            configuration = self._serve(after)
        except SettingError as error:
            raise Contradiction(f"the shelf does not fit the settings, nothing was changed: {error.message}") from error
        _tell(before, after)
        return after, configuration

    def _announce(self) -> str | None:
        """The new generation, None where the others cannot be told: this worker has it all the same."""
        try:
            self._generation = self._generations.advance()
            self._generations.confirm(self._generation)
        except OSError:
            _LOG.exception("reload_not_announced")
            return None
        return self._generation

    def _wait(self, generation: str) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while (behind := self._generations.behind(generation)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        except OSError:
            _LOG.exception("reload_not_awaited")
            return 0
        return behind


def _served(name: str, before: LoadedModels, after: LoadedModels) -> ServedVersion:
    version, known = after.versions[name], before.versions.get(name)
    change: Change = "loaded" if known is None else "kept" if known is version else "replaced"
    return ServedVersion(version.sha256, change)


def _tell(before: LoadedModels, after: LoadedModels) -> None:
    for refused in after.refused:
        _LOG.error("version_refused", extra={"event_fields": {"version": refused.name, "reason": refused.reason}})
    fields = {
        "loaded": [name for name, version in after.versions.items() if before.versions.get(name) is not version],
        "removed": [name for name in before.versions if name not in after.versions],
    }
    _LOG.info("shelf_reloaded", extra={"event_fields": fields})
