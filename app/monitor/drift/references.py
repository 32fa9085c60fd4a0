"""The drift references of the published versions: verified, kept in memory, and checked for changes now and then."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Protocol

import msgspec

from app.domain.contract import Feature
from app.domain.manifest import REFERENCE_FILE, REFERENCES, Manifest, ReferenceManifest
from app.drift.reference import DriftReference
from app.drift.watch import watched_streams
from app.errors import BakeoffError
from app.services.snapshot import CachedSnapshot

_LOG = logging.getLogger(__name__)
_NUMBER = attrgetter("number")


class VerifiedVersion(Protocol):
    """The files of a version, with their checksums verified. Raises `ArtefactRefused`."""

    @property
    def manifest(self) -> Manifest: ...

    def read(self, name: str) -> bytes: ...


class LaterReference(Protocol):
    """A verified reference that a version got after its publication; `sha256` is the checksum of its file."""

    @property
    def manifest(self) -> ReferenceManifest: ...

    @property
    def reference(self) -> DriftReference: ...

    @property
    def sha256(self) -> str: ...


class LaterReferences(Protocol):
    """Those of a version that are valid, oldest first, and the reasons why others are not, by folder."""

    @property
    def valid(self) -> Sequence[LaterReference]: ...

    @property
    def refused(self) -> Mapping[str, str]: ...


class PublishedVersions(Protocol):
    """The model registry. Raises `UnknownVersion`, `ArtefactRefused` and `OSError`."""

    def manifest(self, version: str) -> Manifest: ...

    def classes(self, manifest: Manifest) -> tuple[str, ...]: ...

    def verified(self, version: str) -> VerifiedVersion: ...

    def references(self, version: str) -> LaterReferences: ...


class KnownReference(msgspec.Struct, frozen=True):
    """A reference of a version. `sha256` is the checksum of its file.

    `number` is 0 for the one that the version was published with. A later one counts for requests served from `from_us`
    on (µs since 1970). Versions with the same `inputs_digest` compare the same requests in the same way.
    """

    version: str
    ordinal: int
    sha256: str
    reference: DriftReference
    inputs_digest: str
    number: int = 0
    from_us: int = 0

    @property
    def width(self) -> int:
        """The number of features."""
        return len(self.reference.inputs.cells)


class References:
    """References by version, read again after `good_s` seconds; `clock` is monotonic seconds.

    A version without a reference, or whose artefact is refused, is not monitored. A later reference that is refused
    does not count. Each reason is logged once.
    """

    def __init__(
        self, registry: PublishedVersions, clock: Callable[[], float] = time.monotonic, good_s: float = 10.0
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._good_s = good_s
        self._snapshots: dict[str, CachedSnapshot[tuple[KnownReference, ...]]] = {}
        self._contracts: dict[str, CachedSnapshot[tuple[Feature, ...] | None]] = {}
        self._logged: set[tuple[str, str]] = set()

    def of(self, version: str) -> Sequence[KnownReference]:
        """The references of a version, oldest first; empty where there is none that can be used."""
        snapshot = self._snapshots.setdefault(version, CachedSnapshot(self._clock, self._good_s))
        return snapshot.get(partial(self._read_or_keep, version, snapshot.last() or ()))

    def features(self, version: str) -> Sequence[Feature] | None:
        """The features of a version's contract, in order; None for one that is gone, or whose manifest is refused."""
        snapshot = self._contracts.setdefault(version, CachedSnapshot(self._clock, self._good_s))
        return snapshot.get(partial(self._features_or_keep, version, snapshot.last()))

    def _features_or_keep(self, version: str, before: tuple[Feature, ...] | None) -> tuple[Feature, ...] | None:
        try:
            return self._registry.manifest(version).contract.features
        except (BakeoffError, OSError):
            return before  # what a version read stays true; why its reference cannot be used is logged

    def _read_or_keep(self, version: str, before: tuple[KnownReference, ...]) -> tuple[KnownReference, ...]:
        try:
            manifest = self._registry.manifest(version)
            classes = self._registry.classes(manifest)
            later = self._later(version, manifest.ordinal, before)
        except (BakeoffError, OSError) as error:
            # Returned, and so cached, instead of raised: a refused artefact must not be hashed again in each step.
            self._log("drift_not_watched", version, str(error))
            return before  # bytes that were verified stay valid in memory, whatever has become of the disk
        published = self._published(version, manifest, before, reported=not later)
        return tuple(_named(each, classes) for each in sorted((*published, *later), key=_NUMBER))

    def _published(
        self, version: str, manifest: Manifest, before: tuple[KnownReference, ...], *, reported: bool
    ) -> tuple[KnownReference, ...]:
        """The reference that the version was published with, if it can be used; else the reason is logged."""
        kept = tuple(each for each in before if each.number == 0)
        try:
            return self._read_published(version, manifest, kept, reported=reported)
        except (BakeoffError, OSError) as error:
            self._log("drift_not_watched" if reported else "drift_reference_refused", version, str(error))
            return kept

    def _read_published(
        self, version: str, manifest: Manifest, kept: tuple[KnownReference, ...], *, reported: bool
    ) -> tuple[KnownReference, ...]:
        promised = manifest.files.get(REFERENCE_FILE)
        if promised is None:
            if reported:
                self._log("drift_not_watched", version, "it was published without a drift reference")
            return ()
        # Only the signed manifest is read each time: verifying a whole version takes as long as loading it.
        if kept and kept[0].sha256 == promised.sha256:
            return kept
        artefact = self._registry.verified(version)
        reference = DriftReference.from_json(artefact.read(REFERENCE_FILE))
        ordinal = artefact.manifest.ordinal
        return (KnownReference(version, ordinal, promised.sha256, reference, _digest(reference)),)

    def _later(self, version: str, ordinal: int, before: tuple[KnownReference, ...]) -> list[KnownReference]:
        found = self._registry.references(version)
        known = {(each.number, each.sha256): each for each in before}
        later = {
            each.manifest.number: known.get((each.manifest.number, each.sha256)) or _known_later(each)
            for each in found.valid
        }
        for name, reason in found.refused.items():
            self._log("drift_reference_refused", version, reason)
            # As with versions: what was verified when it was read stays in use until this process ends.
            later |= {
                each.number: each
                for each in before
                if each.number and each.ordinal == ordinal and name in (REFERENCES, f"{version}.{each.number}")
            }
        return list(later.values())

    def _log(self, event: str, version: str, reason: str) -> None:
        if (version, reason) not in self._logged:
            self._logged.add((version, reason))
            _LOG.warning(event, extra={"event_fields": {"version": version, "reason": reason}})


def _named(known: KnownReference, classes: tuple[str, ...]) -> KnownReference:
    """The reference with the classes as the log numbers them, and as answers name them."""
    reference = known.reference.renamed(classes)
    return known if reference is known.reference else msgspec.structs.replace(known, reference=reference)


def _known_later(later: LaterReference) -> KnownReference:
    manifest, reference = later.manifest, later.reference
    return KnownReference(
        version=manifest.version,
        ordinal=manifest.ordinal,
        sha256=later.sha256,
        reference=reference,
        inputs_digest=_digest(reference),
        number=manifest.number,
        from_us=manifest.counts_from_us,
    )


def _digest(reference: DriftReference) -> str:
    """The checksum of everything that decides how requests change the state of the inputs."""
    inputs = (reference.inputs, reference.joint, watched_streams(reference))
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()
