"""The drift references of the versions on the shelf: verified, kept in memory, and looked for again now and then."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from app.domain.manifest import Manifest
from app.drift.reference import DriftReference
from app.drift.watch import watched_streams
from app.errors import BakeoffError
from app.inference.artefact import Artefact
from app.services.queries.drift_records import REFERENCE_FILE

_LOG = logging.getLogger(__name__)


class PublishedVersions(Protocol):
    """The shelf. Raises `UnknownVersion`, `ArtefactRefused` and `OSError`."""

    def manifest(self, version: str) -> Manifest: ...

    def verified(self, version: str) -> Artefact: ...


class KnownReference(msgspec.Struct, frozen=True):
    """The reference of a version. `sha256` is that of its file; versions with the same `inputs_digest` compare the
    same requests in the same way."""

    version: str
    ordinal: int
    sha256: str
    reference: DriftReference
    inputs_digest: str

    @property
    def width(self) -> int:
        """The number of features."""
        return len(self.reference.inputs.cells)


class _Look(msgspec.Struct, frozen=True):
    """What was found at `at_s`; None: there is no reference, or it may not be used."""

    at_s: float
    known: KnownReference | None


class References:
    """References by version. A look is good for `good_s` seconds; `clock` is monotonic seconds.

    A version that has none, or whose artefact is refused, is not watched; that is logged once for each reason.
    """

    def __init__(
        self, registry: PublishedVersions, clock: Callable[[], float] = time.monotonic, good_s: float = 10.0
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._good_s = good_s
        self._looks: dict[str, _Look] = {}
        self._said: set[tuple[str, str]] = set()

    def of(self, version: str) -> KnownReference | None:
        """The reference of a version, None where there is none to use."""
        look, now = self._looks.get(version), self._clock()
        if look is None or now - look.at_s >= self._good_s:
            look = self._looks[version] = _Look(now, self._looked(version, look.known if look else None))
        return look.known

    def _looked(self, version: str, before: KnownReference | None) -> KnownReference | None:
        try:
            return self._read(version, before)
        except (BakeoffError, OSError) as error:
            self._say(version, str(error))
            return before  # what was verified stays good in memory, whatever has become of the disk

    def _read(self, version: str, before: KnownReference | None) -> KnownReference | None:
        """The reference; what is in memory is read again only where the signed manifest names another file."""
        promised = self._registry.manifest(version).files.get(REFERENCE_FILE)
        if promised is None:
            self._say(version, "it was published without a drift reference")
            return None
        if before is not None and before.sha256 == promised.sha256:
            return before
        artefact = self._registry.verified(version)
        reference = DriftReference.from_json(artefact.read(REFERENCE_FILE))
        return KnownReference(version, artefact.manifest.ordinal, promised.sha256, reference, _digest(reference))

    def _say(self, version: str, reason: str) -> None:
        if (version, reason) not in self._said:
            self._said.add((version, reason))
            _LOG.warning("drift_not_watched", extra={"event_fields": {"version": version, "reason": reason}})


def _digest(reference: DriftReference) -> str:
    """Of all that decides what requests do to the state of the inputs."""
    inputs = (reference.inputs, reference.joint, watched_streams(reference))
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()
