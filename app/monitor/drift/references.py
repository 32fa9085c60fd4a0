"""The drift references of the published versions: verified, kept in memory, and checked for changes now and then."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from app.domain.manifest import Manifest
from app.drift.reference import DriftReference
from app.drift.watch import watched_streams
from app.errors import BakeoffError
from app.services.queries.drift_records import REFERENCE_FILE
from app.services.snapshot import CachedSnapshot

_LOG = logging.getLogger(__name__)


class VerifiedVersion(Protocol):
    """The files of a version, with their checksums verified. Raises `ArtefactRefused`."""

    @property
    def manifest(self) -> Manifest: ...

    def read(self, name: str) -> bytes: ...


class PublishedVersions(Protocol):
    """The model registry. Raises `UnknownVersion`, `ArtefactRefused` and `OSError`."""

    def manifest(self, version: str) -> Manifest: ...

    def verified(self, version: str) -> VerifiedVersion: ...


class KnownReference(msgspec.Struct, frozen=True):
    """The reference of a version. `sha256` is the checksum of its file.

    Versions with the same `inputs_digest` compare the same requests in the same way.
    """

    version: str
    ordinal: int
    sha256: str
    reference: DriftReference
    inputs_digest: str

    @property
    def width(self) -> int:
        """The number of features."""
        return len(self.reference.inputs.cells)


class References:
    """References by version, read again after `good_s` seconds; `clock` is monotonic seconds.

    A version without a reference, or whose artefact is refused, is not monitored; each reason is logged once.
    """

    def __init__(
        self, registry: PublishedVersions, clock: Callable[[], float] = time.monotonic, good_s: float = 10.0
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._good_s = good_s
        self._snapshots: dict[str, CachedSnapshot[KnownReference | None]] = {}
        self._logged: set[tuple[str, str]] = set()

    def of(self, version: str) -> KnownReference | None:
        """The reference of a version; None where there is none that can be used."""
        snapshot = self._snapshots.setdefault(version, CachedSnapshot(self._clock, self._good_s))
        return snapshot.get(partial(self._read_or_keep, version, snapshot.last()))

    def _read_or_keep(self, version: str, before: KnownReference | None) -> KnownReference | None:
        try:
            return self._read(version, before)
        except (BakeoffError, OSError) as error:
            # Returned, and so cached, instead of raised: a refused artefact must not be hashed again in each step.
            self._log(version, str(error))
            return before  # bytes that were verified stay valid in memory, whatever has become of the disk

    def _read(self, version: str, before: KnownReference | None) -> KnownReference | None:
        promised = self._registry.manifest(version).files.get(REFERENCE_FILE)
        if promised is None:
            self._log(version, "it was published without a drift reference")
            return None
        # Only the signed manifest is read each time: verifying a whole version takes as long as loading it.
        if before is not None and before.sha256 == promised.sha256:
            return before
        artefact = self._registry.verified(version)
        reference = DriftReference.from_json(artefact.read(REFERENCE_FILE))
        return KnownReference(version, artefact.manifest.ordinal, promised.sha256, reference, _digest(reference))

    def _log(self, version: str, reason: str) -> None:
        if (version, reason) not in self._logged:
            self._logged.add((version, reason))
            _LOG.warning("drift_not_watched", extra={"event_fields": {"version": version, "reason": reason}})


def _digest(reference: DriftReference) -> str:
    """The checksum of everything that decides how requests change the state of the inputs."""
    inputs = (reference.inputs, reference.joint, watched_streams(reference))
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()
