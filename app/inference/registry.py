"""The model registry: every published version in a folder of its own, never changed, and the aliases of versions.

A version appears as a whole, so readers need no lock and never see half of it: `storage.py` and `bucket.py` have how.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from app.clock import now_us
from app.domain.classes import permutation
from app.domain.contract import VERSION_NAME
from app.domain.manifest import REFERENCE_FILE, REFERENCES, Manifest, ReferenceHistory, ReferenceManifest
from app.domain.timestamps import iso_utc
from app.errors import ArtefactRefused, InvalidRequest, RegistryConflict, StoreUnavailable, UnknownVersion
from app.inference.artefact import (
    Artefact,
    claimed_ordinal,
    encoded,
    file_sum,
    read_artefact,
    read_manifest,
    read_record,
)
from app.inference.references import (
    LEAD_US,
    LaterReferences,
    ReferenceDraft,
    encoded_reference,
    model_sum,
    read_references,
    reference_folders,
)
from app.inference.storage import (
    ALIASES,
    FolderStorage,
    Storage,
    decoded_aliases,
    encoded_aliases,
    readable_aliases,
    take_ordinal,
)
from app.services.ports import VersionRecord, VersionRows

_LOG = logging.getLogger(__name__)
_Read = TypeVar("_Read")
_NUMBERED = re.compile(r"v([1-9][0-9]{0,17})")


class ModelRegistry:
    """The versions in `storage` (MODEL_DIR), or in a folder, signed with `key`.

    Reading needs no lock and no write permission. `root` is where the files can be read. `rows` are what the store says
    of versions, where there is one.
    """

    def __init__(self, storage: Storage | Path, key: bytes, rows: VersionRows | None = None) -> None:
        self.storage = FolderStorage(storage) if isinstance(storage, Path) else storage
        self.root = self.storage.folder
        self.rows = rows
        self._key = key

    def names(self) -> tuple[str, ...]:
        """The names of all versions, broken ones too, in order of publication; those of unreadable manifests last."""
        self.storage.refresh()
        if not self.root.is_dir():
            return ()
        folders = [path for path in self.root.iterdir() if VERSION_NAME.fullmatch(path.name) and path.is_dir()]
        ranked = sorted((claimed_ordinal(folder) or math.inf, folder.name) for folder in folders)
        return tuple(name for _, name in ranked)

    def manifest(self, version: str) -> Manifest:
        """The manifest, its signature checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return self.repaired(version, lambda: read_manifest(self._folder(version), self._key, version))

    def record(self, version: str) -> VersionRecord:
        """What the store keeps of the version. Raises as `manifest` does."""
        return self.repaired(version, lambda: read_record(self._folder(version), self._key, version))

    def classes(self, manifest: Manifest) -> tuple[str, ...]:
        """The version's classes as answers, log and outcomes name and number them.

        As the oldest version with the same classes does: log and outcomes have ids, which must not change their
        meaning with the version that answers. Empty for a regression. Raises `OSError`.
        """
        return manifest.numbered_classes or self._numbered(manifest.contract.classes, manifest.ordinal)

    def verified(self, version: str) -> Artefact:
        """The manifest and the bytes of all its files, checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return self.repaired(version, lambda: read_artefact(self._folder(version), self._key, version))

    def next_name(self, but: Collection[str] = ()) -> str:
        """The name of a new version that was given none: `v` and the next number, `v1` in an empty registry.

        It is none of `but`, and of no version on another host.
        """
        taken = (*self.names(), *but, *(each.version for each in self._known()))
        numbers = [int(match[1]) for name in taken if (match := _NUMBERED.fullmatch(name))]
        return f"v{max(numbers, default=0) + 1}"

    def reserve(self, version: str | None) -> None:
        """Raise `RegistryConflict` if the name is taken, `InvalidRequest` if it cannot be one; None is always free.

        Nothing is held: this only lets a caller fail before an hour of training instead of after it.
        """
        if version is None:
            return
        if not VERSION_NAME.fullmatch(version):
            raise InvalidRequest(
                f"{version!r} is not a version name: use lower-case letters, digits and _", field="version"
            )
        if (self.root / version).exists():
            raise RegistryConflict(
                f"version {version!r} is already published, and versions never change: choose another name",
                field="version",
            )
        known = next((each for each in self._known() if each.version == version), None)
        if known is not None:
            who = f"{known.actor} published" if known.actor else "the deployment has"
            reason = f"the name {version!r} is taken: {who} another on {known.host}, and the log has its predictions"
            raise RegistryConflict(f"{reason}: copy its folder from there, or choose another name", field="version")

    def publish(
        self,
        manifest: Manifest,
        files: Mapping[str, bytes],
        version: str | None = None,
        before: Callable[[Manifest], None] | None = None,
    ) -> Manifest:
        """Publish a version, completely or not at all, and return its manifest as published.

        The manifest's `version` (None: the next name), `ordinal`, `files` and `numbered_classes` are filled in here,
        under the writers' lock. `before` is called with it, before any reader can see the version. Raises
        `RegistryConflict` and `InvalidRequest`.
        """
        claimed: list[str] = []
        with self.storage.writing():
            while True:
                self.storage.fetch()
                self.reserve(version)
                ordinal = self._take_ordinal()
                final = msgspec.structs.replace(
                    manifest,
                    version=version or self.next_name(claimed),
                    ordinal=ordinal,
                    files={name: file_sum(data) for name, data in files.items()},
                    numbered_classes=self._numbered(manifest.contract.classes, ordinal),
                )
                enter = None if before is None else partial(before, final)
                try:
                    self.storage.put(final.version, {**files, **encoded(final, self._key)}, enter)
                except FileExistsError as error:  # of a publisher on another host, which has no lock in common
                    if version is not None:
                        raise RegistryConflict(f"nothing was published: {error.strerror}", field="version") from error
                    claimed.append(final.version)
                else:
                    break
        if self.rows is not None:
            try:
                self.rows.publish(self.record(final.version))
            except StoreUnavailable as error:
                _LOG.warning("%s is published, and the store has no row of it: %s", final.version, error.message)
        return read_manifest(self.root / final.version, self._key, final.version)

    def references(self, version: str) -> LaterReferences:
        """The drift references that the version got after its publication. Raises as `manifest` does."""
        return read_references(self.root, self._key, self.manifest(version))

    def reference_history(self, version: str) -> ReferenceHistory:
        """The manifests of those references, and why others do not count. Raises as `manifest` does."""
        return self.references(version).history

    def stray_references(self) -> tuple[str, ...]:
        """The folders of references whose version is not in the registry. Raises `OSError`."""
        names = self.names()
        return tuple(str(folder) for version, _, folder in reference_folders(self.root) if version not in names)

    def publish_reference(
        self, version: str, draft: ReferenceDraft, clock_us: Callable[[], int] = now_us
    ) -> ReferenceManifest:
        """Give a published version a newer drift reference, completely or not at all; the version stays as it is.

        `clock_us` is µs since 1970. Raises as `manifest` does, and `OSError`.
        """
        document = draft.reference.to_json()
        with self.storage.writing():
            self.storage.fetch()
            published, before = self.manifest(version), self.references(version).history.newest
            # Above those that are refused too: their folders are there, and requests were compared with them.
            number = 1 + max((each for name, each, _ in reference_folders(self.root) if name == version), default=0)
            created_us = clock_us()
            manifest = ReferenceManifest(
                version=version,
                ordinal=published.ordinal,
                model=model_sum(published),
                number=number,
                created_at=f"{iso_utc(created_us)[:19]}Z",
                counts_from_us=max(created_us + LEAD_US, 0 if before is None else before.counts_from_us),
                reference_is=draft.reference_is,
                rows=draft.reference.rows,
                source=draft.source,
                libraries=draft.libraries,
                files={REFERENCE_FILE: file_sum(document)},
            )
            self.storage.put(f"{REFERENCES}/{version}.{number}", encoded_reference(manifest, document, self._key))
        return manifest

    def adopt(self, folder: Path, builder_key: bytes) -> Manifest:
        """Publish a version that another deployment built: verified with its key, signed again with ours.

        Raises `ArtefactRefused`, and `RegistryConflict` if its name is taken.
        """
        artefact = read_artefact(folder, builder_key, None)
        return self.publish(artefact.manifest, artefact.files, artefact.manifest.version)

    def aliases(self) -> dict[str, str]:
        """The version that each alias points at. Raises `ArtefactRefused` if the file cannot be read as a table."""
        self.storage.refresh()
        return self.repaired(ALIASES, self._aliases)

    def _aliases(self) -> dict[str, str]:
        path = self.root / ALIASES
        try:
            return decoded_aliases(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise ArtefactRefused(path, f"is not a table of aliases: {error}") from error

    def point(self, alias: str, version: str) -> None:
        """Point `alias` at `version`. Raises `UnknownVersion`, `ArtefactRefused`, `InvalidRequest`."""
        if not VERSION_NAME.fullmatch(alias):
            raise InvalidRequest(f"{alias!r} is not an alias: use lower-case letters, digits and _", field="alias")
        self.manifest(version)
        with self.storage.writing():
            self.storage.swap(ALIASES, lambda data: encoded_aliases({**readable_aliases(data), alias: version}))

    def unpoint(self, versions: Collection[str]) -> None:
        """Remove the aliases that point at the versions. Only within `storage.writing`. Raises `OSError`."""

        def without(data: bytes | None) -> bytes:
            return encoded_aliases(
                {alias: name for alias, name in readable_aliases(data).items() if name not in versions}
            )

        if not set(versions).isdisjoint(self.aliases().values()):
            self.storage.swap(ALIASES, without)

    def repaired(self, name: str, read: Callable[[], _Read]) -> _Read:
        """What `read` returns, after another try if the file that it refuses was not what the registry has."""
        try:
            return read()
        except ArtefactRefused:
            if not self.storage.repair(name):
                raise
            return read()

    def _folder(self, version: str) -> Path:
        self.storage.refresh()
        folder = self.root / version
        if not VERSION_NAME.fullmatch(version) or not folder.exists():
            raise UnknownVersion(f"there is no version {version[:64]!r} in the model registry", field="version")
        return folder

    def _known(self) -> Sequence[VersionRecord]:
        """What the store knows of versions, also of those of other hosts; none where it cannot be asked."""
        if self.rows is not None:
            with contextlib.suppress(StoreUnavailable):  # models can be published where no store is
                return self.rows.known()
        return ()

    def _take_ordinal(self) -> int:
        # All of them: the file may be older than the versions, if MODEL_DIR was restored from a copy of single folders.
        known = [each.ordinal for each in self._known()]
        return take_ordinal(self.storage, max([*self._signed_ordinals(), *known], default=0))

    def _signed_ordinals(self) -> Iterator[int]:
        for name in self.names():
            with contextlib.suppress(ArtefactRefused):
                yield self.manifest(name).ordinal

    def _numbered(self, classes: tuple[str, ...], ordinal: int) -> tuple[str, ...]:
        """The classes as the oldest version below `ordinal` numbers them that has the same ones."""
        for name in self.names() if classes else ():
            with contextlib.suppress(ArtefactRefused, UnknownVersion):
                older = self.manifest(name)
                if older.ordinal < ordinal and permutation(classes, older.contract.classes) is not None:
                    return older.numbered_classes or older.contract.classes
        return classes
