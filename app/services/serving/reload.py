"""Loads what has changed in the model registry while the process serves: verify, load, warm up, and only then replace.

Every worker follows, those of other hosts too where they share a database server. Replaced versions need no draining: a
request holds the versions that it began with, and the last such request releases them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec
from msgspec.structs import replace

from app.domain.experiment import Configuration
from app.errors import BakeoffError, Contradiction, SettingError, StoreUnavailable, Unavailable
from app.services.control.config_watcher import waiting
from app.services.ports import Generations, LoadedModels

_LOG = logging.getLogger(__name__)
_FOLLOW_S = 2.0
_POLL_S = 0.02

_UNREACHABLE = (OSError, StoreUnavailable)
# A worker that could not carry out a reload, perhaps because its registry could not be read just then, tries again.
_RETRY_S, _LONGEST_RETRY_S = 5.0, 300.0

Change = Literal["kept", "loaded", "replaced"]


class ServedVersion(msgspec.Struct, frozen=True):
    """A loaded version: the checksum of its original file, and whether this reload `loaded` it, `replaced` another one
    of its name with it, or `kept` it."""

    sha256: str
    change: Change


class RefusedFile(msgspec.Struct, frozen=True):
    """Why a version in the registry may not be served. `still_served`: it was loaded before and goes on serving."""

    reason: str
    still_served: bool


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The loaded versions, those removed and those refused. `workers_behind` workers had not followed after 2 s.

    `announced`: the other workers know of this reload; if not, they hear of it once the store can be written again.
    `workers_behind` is None where it could not be asked. `excluded` has the reason for each loaded version that takes
    no part in the experiment. `lacking` has, by host, the versions that another host has loaded and this one has not.
    """

    served: Mapping[str, ServedVersion]
    removed: tuple[str, ...]
    refused: Mapping[str, RefusedFile]
    excluded: Mapping[str, str]
    experiment_id: str
    epoch: int
    announced: bool
    workers_behind: int | None
    lacking: Mapping[str, Sequence[str]]


class _Failed(msgspec.Struct, frozen=True):
    """A generation that could not be loaded, and when to try again (monotonic seconds). Empty: the present one."""

    generation: str
    wait_s: float = _RETRY_S / 2
    until_s: float = 0.0

    def holds(self, generation: str, now_s: float) -> bool:
        return generation == self.generation and now_s < self.until_s

    def again(self, now_s: float) -> _Failed:
        wait_s = min(2 * self.wait_s, _LONGEST_RETRY_S)
        return _Failed(self.generation, wait_s, now_s + wait_s)


class Reload:
    """The reloads of one worker.

    `load` makes the next loaded models from the present ones, which it leaves as they are. `serve` installs them and
    settles the configuration; it raises `SettingError` and changes nothing if the settings do not fit. `generation` is
    that of the models that the process began with.
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
        self._failed: _Failed | None = None  # of `follow`
        self._not_again: _Failed | None = None  # of `again`
        self._why_not = ""
        # What the other workers are still to be told: that this one was reloaded, and what it has loaded.
        self._unannounced, self._unconfirmed = False, True
        self._untold, self._logged = 0, ""  # how often that failed in a row, and what was logged of it
        self._lock = threading.Lock()

    def start(self) -> None:
        """In a new process: catch up with reloads since its models were loaded, and confirm the generation."""
        # The master's models may be older than the last reload: the worker must not serve them first.
        self.follow()

    def stop(self) -> None:
        """At the end of the process; raises nothing."""
        with suppress(*_UNREACHABLE):  # then others wait for it until it has not been seen for a while
            self._generations.leave()

    def now(self) -> ReloadReport:
        """Reload, and wait for up to two seconds until the other workers have followed.

        Raises `Contradiction` if the registry has no version to serve any more, or its versions do not fit the
        settings: then nothing has changed.
        """
        # One at a time: two reloads would load the same versions twice.
        with self._lock:
            before = self._loaded_models()
            after, configuration = self._swap(before, asked=True)
            self._unannounced = True
            generation = self._share()
        behind, lacking = self._wait(generation) if generation else (None, {})
        return ReloadReport(
            served={name: _served(name, before, after) for name in after.versions},
            removed=tuple(name for name in before.versions if name not in after.versions),
            refused={each.name: RefusedFile(each.reason, each.name in after.versions) for each in after.refused},
            excluded={**after.excluded, **waiting(after, configuration)},
            experiment_id=configuration.experiment_id,
            epoch=configuration.epoch,
            announced=generation is not None,
            workers_behind=behind,
            lacking=lacking,
        )

    def lacking(self) -> Mapping[str, Sequence[str]]:
        """By host, the versions that only other hosts have loaded. Raises `StoreUnavailable`."""
        return self._generations.lacking()

    def again(self) -> None:
        """Load the registry again in this process alone, which lacks a version or has not asked the store; raises
        nothing. Tries again after a failure, later each time: what fails has loaded every version."""
        if self._not_again and self._not_again.holds("", time.monotonic()):
            return
        try:
            with self._lock:
                after, _ = self._swap(self._loaded_models())
                self._share()
            if after.unrecorded:  # the store answers, but not this; whoever asks for the configuration logs it
                self._not_again = _Failed("").again(time.monotonic())
        except (BakeoffError, OSError) as error:
            self._say_why_not(error)

    def _say_why_not(self, error: Exception) -> None:
        """Say why the registry was not loaded again: where it says that it cannot be read, and in the log."""
        reason = str(error)
        # Read under the lock: a reload that waited for it may have installed others meanwhile.
        with self._lock, suppress(SettingError):
            models = self._loaded_models()
            # Whoever shows it names the registry.
            refused = tuple(
                replace(each, reason=reason.removeprefix(f"the model registry at {each.name} "))
                if each.registry
                else each
                for each in models.refused
            )
            if refused != models.refused and not isinstance(error, StoreUnavailable):
                self._serve(replace(models, refused=refused))
        if isinstance(error, Unavailable):
            return  # before anything is loaded; whoever asks the store or the registry logs it
        if self._not_again is None or self._why_not != reason:
            _LOG.error("not_loaded_again", extra={"event_fields": {"reason": reason}})
        self._why_not = reason
        self._not_again = (self._not_again or _Failed("")).again(time.monotonic())

    def follow(self) -> None:
        """Reload if another worker has since the last call, and tell the others what they could not be told before.

        Cheap; raises nothing. Tries again after a failure.
        """
        before = generation = self._generation
        try:
            generation = self._generations.current()
            failed = self._failed
            if generation != before and not (failed and failed.holds(generation, time.monotonic())):
                with self._lock:
                    if self._generation != before:
                        return  # this worker was reloaded meanwhile: the next call sees what is newer
                    self._swap(self._loaded_models())
                    self._generation = generation
        except StoreUnavailable:
            return  # logged by those who ask for the configuration
        except (BakeoffError, OSError) as error:
            if self._failed is None or self._failed.generation != generation:
                self._failed = _Failed(generation)
                _LOG.error("reload_not_followed", extra={"event_fields": {"reason": str(error)}})
            self._failed = self._failed.again(time.monotonic())
        if self._unannounced or self._unconfirmed:
            with self._lock:
                self._share()

    def _swap(self, before: LoadedModels, *, asked: bool = False) -> tuple[LoadedModels, Configuration]:
        after = self._load(before)
        after = replace(after, removed=_removed(before, after, asked=asked))
        # An empty registry almost always means an unmounted volume: it must not stop the service (ADR 13).
        if before.versions and not after.versions:
            raise Contradiction(
                f"the model registry has no version that can be served any more ({_why(after)}); the loaded versions "
                "go on serving"
            )
        try:
            configuration = self._serve(after)
        except SettingError as error:
            raise Contradiction(
                f"nothing was changed: the registry does not fit the settings: {error.message}"
            ) from error
        self._not_again, self._unconfirmed = None, True
        _log_reload(before, after)
        return after, configuration

    def _share(self) -> str | None:
        """Tell the other workers what is still to be told, under the lock; the generation if it announced one.

        Raises nothing: `follow` tries again.
        """
        announced, failing = None, "reload_not_announced"
        try:
            if self._unannounced:
                newest, announced = self._generations.current(), self._generations.advance()
                self._unannounced, self._unconfirmed = False, True
                # If another worker's came between, this one may not have what that is about: `follow` loads it.
                self._generation = announced if newest == self._generation else self._generation
                if self._logged == failing:
                    _LOG.info("reload_announced")
            failing = "reload_not_confirmed"
            if self._unconfirmed:
                self._generations.confirm(self._generation, self._loaded_models().versions)
                self._unconfirmed = False
            self._untold, self._logged = 0, ""
        except _UNREACHABLE as error:
            self._untold += 1
            # Once, and a confirmation only if it fails again: many workers that start at once wait for one lock.
            if self._logged != failing and (self._unannounced or self._untold > 1):
                self._logged = failing
                _LOG.warning(failing, extra={"event_fields": {"reason": str(error)}})
        return announced

    def _wait(self, generation: str) -> tuple[int | None, Mapping[str, Sequence[str]]]:
        """The workers that have not followed in time (None: unknown), and what hosts lack whose workers have."""
        deadline = time.monotonic() + _FOLLOW_S
        try:
            while (behind := self._generations.behind(generation)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            return behind, self._generations.lacking(generation)
        except _UNREACHABLE as error:
            _LOG.warning("reload_not_awaited", extra={"event_fields": {"reason": str(error)}})
            return None, {}


def _removed(before: LoadedModels, after: LoadedModels, *, asked: bool) -> tuple[str, ...]:
    known = set(before.removed)
    if asked:  # by a person, who sees what is gone; a worker that follows may have an older registry
        known |= {*before.versions, *(refused.name for refused in before.refused)}
    left = {*after.versions, *(refused.name for refused in after.refused), *after.retired}
    return tuple(sorted(known - left))


def _why(after: LoadedModels) -> str:
    refused = ", ".join(f"{version.name}: {version.reason}" for version in after.refused)
    return f"refused: {refused}" if refused else "it is empty"


def _served(name: str, before: LoadedModels, after: LoadedModels) -> ServedVersion:
    version, known = after.versions[name], before.versions.get(name)
    change: Change = "loaded" if known is None else "kept" if known is version else "replaced"
    return ServedVersion(version.sha256, change)


def _log_reload(before: LoadedModels, after: LoadedModels) -> None:
    for refused in after.refused:
        _LOG.error("version_refused", extra={"event_fields": {"version": refused.name, "reason": refused.reason}})
    fields = {
        "loaded": [name for name, version in after.versions.items() if before.versions.get(name) is not version],
        "removed": [name for name in before.versions if name not in after.versions],
        "excluded": after.excluded,
    }
    _LOG.info("shelf_reloaded", extra={"event_fields": fields})
