"""What the use cases need from outside, as protocols; `app.bootstrap` supplies the implementations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from app.domain.columns import union_of
from app.domain.contract import FeatureContract
from app.domain.logged_rows import LoggedPrediction
from app.domain.prediction import Exposure, Outputs, ReportedExposure
from app.domain.rows import RowParser


class Runtime(Protocol):
    """Runs one version. `rows` is the array that `RowParser` makes, shape (rows, features).

    Raises if an answer would not be finite. May raise anything: call it through `app.services.boundaries.attempt`.
    """

    def predict(self, rows: np.ndarray) -> Outputs: ...


class LoadedVersion(msgspec.Struct, frozen=True):
    """A version in memory, verified and warmed up. `manifest` is the signed manifest as plain data, for reports."""

    name: str
    ordinal: int
    contract: FeatureContract
    parser: RowParser
    runtime: Runtime
    runtime_name: str
    sha256: str
    manifest: Mapping[str, object]

    @property
    def gives_probabilities(self) -> bool:
        """Whether it answers with probabilities: without them there was no log loss to measure at publishing."""
        measured = self.manifest.get("metrics")
        parts = measured.values() if isinstance(measured, Mapping) else ()
        return bool(self.contract.classes) and not any(
            isinstance(part, Mapping) and part.get("log_loss", 0) is None for part in parts
        )


class RefusedVersion(msgspec.Struct, frozen=True):
    """A version in the model registry that may not be served, and why.

    `elsewhere`: other hosts have a version with this name, or with its ordinal, that may be served. `registry`: it is
    the registry itself, by its place, that could not be read.
    """

    name: str
    reason: str
    elsewhere: bool = False
    registry: bool = False


class RetiredVersion(msgspec.Struct, frozen=True):
    """A retired version, which is not loaded: what reading its past predictions and their labels needs.

    Where its manifest is refused, `ordinal` is 0, which no version has, and the contract is empty. A `candidate` was
    never loaded: it waits to be let in.
    """

    ordinal: int
    contract: FeatureContract
    candidate: bool = False


class LoadedModels(msgspec.Struct, frozen=True):
    """The loaded versions by name, in order of their ordinals; replaced as a whole, never changed.

    Requests that force no version are parsed against the contract of `reference`: the champion, or the first version.
    `compatible` are the versions that can be asked the same requests, the only ones that routing and shadow use; with
    at least one version, the reference is among them. `excluded` has the reason for each other loaded version.
    `refused` are the versions that may not be served, `retired` those that are not to be. `removed` left the registry
    before a reload that was asked for here, which takes them out of the split. `unrecorded`: the store could not be
    asked which versions these are, and which were retired. `shared`: other hosts may share the store.
    """

    versions: Mapping[str, LoadedVersion]
    reference: str | None
    compatible: tuple[str, ...]
    aliases: Mapping[str, str]
    refused: tuple[RefusedVersion, ...] = ()
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)
    retired: Mapping[str, RetiredVersion] = msgspec.field(default_factory=dict)
    removed: tuple[str, ...] = ()
    unrecorded: bool = False
    shared: bool = False

    def led_by(self, reference: str | None) -> LoadedModels:
        """The same versions with another reference, which decides who can be asked the same requests."""
        if reference is None:
            return msgspec.structs.replace(self, reference=None, compatible=(), excluded={})
        union = union_of(reference, {name: version.contract for name, version in self.versions.items()})
        compatible = tuple(union.contracts)
        return msgspec.structs.replace(self, reference=reference, compatible=compatible, excluded=union.excluded)


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps of a version: the SHA-256 (hex) of its manifest, which has the checksums of all its files.

    `created_at` is the manifest's. `host` is where it was published, or first found; `actor` published it.
    """

    version: str
    ordinal: int
    manifest: str
    created_at: str
    host: str = ""
    actor: str = ""


class RetirementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry of the audit log on whether a version is served: `retired`, or else restored, at a time in UTC.

    `used`: the configuration in force needs the version. `since` has the manifests (SHA-256, hex) of the versions that
    somebody has published under this name after the entry, which does not count for them.
    """

    retired: bool
    at: str
    by: str
    note: str | None
    used: bool
    since: tuple[str, ...] = ()


class VersionRows(Protocol):
    """What the store says of versions, for all hosts. Every call raises `StoreUnavailable`.

    `shared`: other hosts may share the store, whose registries may have other versions.
    """

    @property
    def shared(self) -> bool: ...

    def publish(self, published: VersionRecord) -> None:
        """Record it, so that it is the one that its name and its ordinal mean. Durable on return."""
        ...

    def compare(self, found: Sequence[VersionRecord]) -> Mapping[str, VersionRecord]:
        """Record what is new, and return, by the name of the one found, the versions that are meant instead of it.

        Of several that were found with one ordinal none is recorded.
        """
        ...

    def known(self) -> Sequence[VersionRecord]:
        """All records, oldest first: a new version must have none of their names and ordinals."""
        ...

    def retirements(self) -> Mapping[str, RetirementRecord]:
        """The newest entry by version."""
        ...


class Generations(Protocol):
    """The generation of the loaded models, shared by the workers that follow each other's reloads.

    May raise `OSError` and `StoreUnavailable`.

    `advance` begins a new one, `confirm` reports that this worker has it, and which versions; `behind` counts the
    workers that have not, and `lacking` has by host the versions that only others have loaded (in it, if it is given).
    `leave` ends the worker, for which nobody waits any more.
    """

    def current(self) -> str: ...

    def advance(self) -> str: ...

    def confirm(self, generation: str, versions: Collection[str], /) -> None: ...

    def behind(self, generation: str) -> int: ...

    def lacking(self, generation: str | None = None, /) -> Mapping[str, Sequence[str]]: ...

    def leave(self) -> None: ...


class Sink(Protocol):
    """Takes records of what was served; never blocks and never raises."""

    def record(self, exposure: Exposure | ReportedExposure) -> None: ...

    def failed(self, version: str, reason: str) -> None: ...


# For so long a key that a caller gave to a case means this case; later it may be given to another one.
KEY_DAYS = 90


class KeyLookup(Protocol):
    """Finds predictions by the caller's own keys. Raises `StoreUnavailable`."""

    def bound(self, keys: Collection[str]) -> Mapping[str, str]:
        """The prediction id by key, for the keys that a prediction of the last `KEY_DAYS` days has."""
        ...


class ExposureLog(Protocol):
    """The store's side of recording. Raises `StoreUnavailable`. A repeated id is ignored, so a retry is safe.

    The rows may be a `LoggedBatch`: a store that keeps numbers takes its columns, and no row of it is made.
    """

    def append(self, rows: Sequence[LoggedPrediction]) -> None: ...
