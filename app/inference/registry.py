"""The model registry: every published version in a folder of its own, never changed, and the aliases of versions.

A version appears by one rename of a complete folder, so readers need no lock and never see half of it.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from app.clock import now_us
from app.domain.classes import permutation
from app.domain.contract import VERSION_NAME
from app.domain.manifest import REFERENCE_FILE, REFERENCES, Manifest, ReferenceHistory, ReferenceManifest
from app.domain.timestamps import iso_utc
from app.errors import ArtefactRefused, InvalidRequest, RegistryConflict, UnknownVersion
from app.files import folder_lock, replace, sync_folder, write_new
from app.inference.artefact import Artefact, claimed_ordinal, encoded, file_sum, read_artefact, read_manifest
from app.inference.references import (
    LEAD_US,
    LaterReferences,
    ReferenceDraft,
    encoded_reference,
    model_sum,
    read_references,
    reference_files,
    reference_folders,
)

ALIASES = "aliases.json"
# Without a dot in front, as it is restored from a backup by the release before, which does not read it.
RETIRED = "retired.json"
LAST_ORDINAL = ".last_ordinal"
# Starts with a dot, so that no version can have the name: see `VERSION_NAME`.
_INCOMING = ".incoming-"
_LARGEST_ORDINAL = 0xFFFF  # prediction ids have two bytes for it
_NUMBERED = re.compile(r"v([1-9][0-9]{0,17})")


class ModelRegistry:
    """The versions under `root` (MODEL_DIR), signed with `key`. Reading needs no lock and no write permission."""

    def __init__(self, root: Path, key: bytes) -> None:
        self.root = root
        self._key = key

    def names(self) -> tuple[str, ...]:
        """The names of all versions, broken ones too, in order of publication; those of unreadable manifests last."""
        if not self.root.is_dir():
            return ()
        folders = [path for path in self.root.iterdir() if VERSION_NAME.fullmatch(path.name) and path.is_dir()]
        ranked = sorted((claimed_ordinal(folder) or math.inf, folder.name) for folder in folders)
        return tuple(name for _, name in ranked)

    def manifest(self, version: str) -> Manifest:
        """The manifest, its signature checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return read_manifest(self._folder(version), self._key, version)

    def classes(self, manifest: Manifest) -> tuple[str, ...]:
        """The version's classes as answers, log and outcomes name and number them.

        As the oldest version with the same classes does: log and outcomes have ids, which must not change their
        meaning with the version that answers. Empty for a regression. Raises `OSError`.
        """
        return manifest.numbered_classes or self._numbered(manifest.contract.classes, manifest.ordinal)

    def verified(self, version: str) -> Artefact:
        """The manifest and the bytes of all its files, checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return read_artefact(self._folder(version), self._key, version)

    def next_name(self) -> str:
        """The name of a new version that was given none: `v` and the next number, `v1` in an empty registry."""
        numbers = [int(match[1]) for name in self.names() if (match := _NUMBERED.fullmatch(name))]
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
        with folder_lock(self.root):
            self.reserve(version)
            self._sweep()
            ordinal = self._next_ordinal()
            final = msgspec.structs.replace(
                manifest,
                version=version or self.next_name(),
                ordinal=ordinal,
                files={name: file_sum(data) for name, data in files.items()},
                numbered_classes=self._numbered(manifest.contract.classes, ordinal),
            )
            # Reserved before it is used: prediction ids carry it, and must never name another version (ADR 0003).
            replace(self.root / LAST_ORDINAL, f"{ordinal}\n".encode())
            if before is not None:
                before(final)
            self._place(self.root / final.version, {**files, **encoded(final, self._key)})
            return read_manifest(self.root / final.version, self._key, final.version)

    def holding(self, sha256: str) -> str | None:
        """The oldest version whose model file has this SHA-256 (hex); None if there is none."""
        for name in self.names():
            with contextlib.suppress(ArtefactRefused, UnknownVersion):
                if self.manifest(name).model_sha256 == sha256:
                    return name
        return None

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
        with folder_lock(self.root):
            published, before = self.manifest(version), self.references(version).history.newest
            self._sweep()
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
            folder = self.root / REFERENCES
            folder.mkdir(exist_ok=True)
            self._place(folder / f"{version}.{number}", encoded_reference(manifest, document, self._key))
            sync_folder(self.root)
        return manifest

    def adopt(self, folder: Path, builder_key: bytes) -> Manifest:
        """Publish a version that another deployment built: verified with its key, signed again with ours.

        Raises `ArtefactRefused`, and `RegistryConflict` if its name is taken.
        """
        artefact = read_artefact(folder, builder_key, None)
        return self.publish(artefact.manifest, artefact.files, artefact.manifest.version)

    def aliases(self) -> dict[str, str]:
        """The version that each alias points at. Raises `ArtefactRefused` if the file cannot be read as a table."""
        path = self.root / ALIASES
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise ArtefactRefused(path, f"is not a table of aliases: {error}") from error

    def point(self, alias: str, version: str) -> None:
        """Point `alias` at `version`. Raises `UnknownVersion`, `ArtefactRefused`, `InvalidRequest`."""
        if not VERSION_NAME.fullmatch(alias):
            raise InvalidRequest(f"{alias!r} is not an alias: use lower-case letters, digits and _", field="alias")
        self.manifest(version)
        with folder_lock(self.root):
            try:
                table = self.aliases()
            except ArtefactRefused:
                table = {}  # an unreadable table holds nothing to keep
            table[alias] = version
            replace(self.root / ALIASES, msgspec.json.encode(table, order="sorted"))

    def _folder(self, version: str) -> Path:
        folder = self.root / version
        if not VERSION_NAME.fullmatch(version) or not folder.exists():
            raise UnknownVersion(f"there is no version {version[:64]!r} in the model registry", field="version")
        return folder

    def _next_ordinal(self) -> int:
        try:
            last = int((self.root / LAST_ORDINAL).read_text())
        except (FileNotFoundError, ValueError):
            last = 0
        # Both: the file may be older than the versions, if MODEL_DIR was restored from a copy of single folders.
        ordinal = max([last, *self._signed_ordinals()]) + 1
        if ordinal > _LARGEST_ORDINAL:
            raise RegistryConflict(
                f"the model registry is full: prediction ids have room for {_LARGEST_ORDINAL} versions; "
                "publish into a new MODEL_DIR"
            )
        return ordinal

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

    def _sweep(self) -> None:
        """Remove the folders of publishers that died while writing. Only under the lock, which they held too."""
        for left in self.root.glob(f"{_INCOMING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _place(self, target: Path, files: Mapping[str, bytes]) -> None:
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.root))
        try:
            for name, data in files.items():
                write_new(incoming / name, data)
            incoming.chmod(0o755)
            sync_folder(incoming)
            incoming.rename(target)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        sync_folder(target.parent)


def registry_files(root: Path) -> dict[str, Path]:
    """Every file of the versions and later references under `root`, broken ones too, and the registry's own, by path.

    The paths are relative to `root`. Needs no lock: a version or a reference appears whole and never changes, and the
    registry's own files are replaced by a rename.
    """
    if not root.is_dir():
        return {}
    own = [root / name for name in (ALIASES, RETIRED, LAST_ORDINAL) if (root / name).is_file()]
    return {str(path.relative_to(root)): path for path in [*_version_files(root), *reference_files(root), *own]}


def _version_files(root: Path) -> Iterator[Path]:
    for folder in sorted(root.iterdir()):
        if VERSION_NAME.fullmatch(folder.name) and folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def last_ordinal(root: Path) -> int:
    """The largest ordinal that the registry under `root` has assigned; 0 if there is no record of it."""
    try:
        return int((root / LAST_ORDINAL).read_text())
    except (OSError, ValueError):
        return 0


def keep_last_ordinal(root: Path, assigned: int) -> None:
    """Make the registry assign only ordinals above `assigned`, for restoring a backup. Raises `OSError`."""
    if assigned > last_ordinal(root):
        with folder_lock(root):
            replace(root / LAST_ORDINAL, f"{assigned}\n".encode())
