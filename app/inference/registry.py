"""The shelf: every published version in a folder of its own, never changed, and the aliases that point at them.

The files of a shelf, for copying it as a whole.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from app.domain.contract import VERSION_NAME
from app.domain.manifest import Manifest
from app.errors import ArtefactRefused, InvalidRequest, RegistryConflict, UnknownVersion
from app.files import locked, replace, sync_folder, write_new
from app.inference.artefact import Artefact, claimed_ordinal, encoded, file_sum, read_artefact, read_manifest

ALIASES = "aliases.json"
LAST_ORDINAL = ".last_ordinal"
_INCOMING = ".incoming-"
_LARGEST_ORDINAL = 0xFFFF  # prediction ids have two bytes for it
_NUMBERED = re.compile(r"v([1-9][0-9]{0,17})")


class ModelRegistry:
    """The versions under `root`, signed with `key`. Reading needs no lock and no right to write."""

    def __init__(self, root: Path, key: bytes) -> None:
        self.root = root
        self._key = key

    def names(self) -> tuple[str, ...]:
        """Every version's name, also of broken ones, in order of publication (those that do not say it last)."""
        if not self.root.is_dir():
            return ()
        folders = [path for path in self.root.iterdir() if VERSION_NAME.fullmatch(path.name) and path.is_dir()]
        ranked = sorted((claimed_ordinal(folder) or math.inf, folder.name) for folder in folders)
        return tuple(name for _, name in ranked)

    def manifest(self, version: str) -> Manifest:
        """The manifest, its signature checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return read_manifest(self._folder(version), self._key, version)

    def verified(self, version: str) -> Artefact:
        """The manifest and the bytes of all its files, checked. Raises `UnknownVersion` and `ArtefactRefused`."""
        return read_artefact(self._folder(version), self._key, version)

    def next_name(self) -> str:
        """The name a new version gets where none is asked for: `v1` on an empty shelf, else one number further."""
        numbers = [int(match[1]) for name in self.names() if (match := _NUMBERED.fullmatch(name))]
        return f"v{max(numbers, default=0) + 1}"

    def reserve(self, version: str | None) -> None:
        """Raise now, not after an hour of training: `RegistryConflict` for a taken name, `InvalidRequest` for no name."""
        if version is None:
            return
        if not VERSION_NAME.fullmatch(version):
            raise InvalidRequest(
                f"{version!r} is not a version name: use lower-case letters, digits and _", field="version"
            )
        if (self.root / version).exists():
            raise RegistryConflict(
                f"version {version!r} is already published, and versions never change", field="version"
            )

    def publish(self, manifest: Manifest, files: Mapping[str, bytes], version: str | None = None) -> Manifest:
        """Put a version on the shelf, whole or not at all, and return its manifest as published.

        The manifest's `version` (None: the next name), `ordinal` and `files` are filled in here, under the writers'
        lock. Raises `RegistryConflict` and `InvalidRequest`.
        """
        with locked(self.root):
            self.reserve(version)
            self._sweep()
            ordinal = self._next_ordinal()
            final = msgspec.structs.replace(
                manifest,
                version=version or self.next_name(),
                ordinal=ordinal,
                files={name: file_sum(data) for name, data in files.items()},
            )
            # Spent before it is used: an ordinal whose version vanished must never name another one.
            replace(self.root / LAST_ORDINAL, f"{ordinal}\n".encode())
            self._place(final.version, {**files, **encoded(final, self._key)})
            return read_manifest(self.root / final.version, self._key, final.version)

    def adopt(self, folder: Path, builder_key: bytes) -> Manifest:
        """Take in a version that another deployment built: verified under its key, signed anew under ours.

        Raises `ArtefactRefused`, and `RegistryConflict` where its name is taken.
        """
        artefact = read_artefact(folder, builder_key, None)
        return self.publish(artefact.manifest, artefact.files, artefact.manifest.version)

    def aliases(self) -> dict[str, str]:
        """The version that each alias points at. Raises `ArtefactRefused` where the file is not what we write."""
        path = self.root / ALIASES
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise ArtefactRefused(path, f"is not a table of aliases: {error}") from error

    def point(self, alias: str, version: str) -> None:
        """Let `alias` mean `version` from now on. Raises `UnknownVersion`, `ArtefactRefused`, `InvalidRequest`."""
        if not VERSION_NAME.fullmatch(alias):
            raise InvalidRequest(f"{alias!r} is not an alias: use lower-case letters, digits and _", field="alias")
        self.manifest(version)
        with locked(self.root):
            try:
                table = self.aliases()
            except ArtefactRefused:
                table = {}  # a broken table says nothing that could be kept
            table[alias] = version
            replace(self.root / ALIASES, msgspec.json.encode(table, order="sorted"))

    def _folder(self, version: str) -> Path:
        folder = self.root / version
        if not VERSION_NAME.fullmatch(version) or not folder.exists():
            raise UnknownVersion(f"no version {version[:64]!r} is on the shelf", field="version")
        return folder

    def _next_ordinal(self) -> int:
        try:
            last = int((self.root / LAST_ORDINAL).read_text())
        except (FileNotFoundError, ValueError):
            last = 0
        ordinal = max([last, *self._signed_ordinals()]) + 1
        if ordinal > _LARGEST_ORDINAL:
            raise RegistryConflict(f"the shelf is full: prediction ids can tell {_LARGEST_ORDINAL} versions apart")
        return ordinal

    def _signed_ordinals(self) -> Iterator[int]:
        for name in self.names():
            with contextlib.suppress(ArtefactRefused):
                yield self.manifest(name).ordinal

    def _sweep(self) -> None:
        """Remove what a publisher left that died while it wrote: it held the lock that is ours now."""
        for left in self.root.glob(f"{_INCOMING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _place(self, version: str, files: Mapping[str, bytes]) -> None:
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.root))
        try:
            for name, data in files.items():
                write_new(incoming / name, data)
            incoming.chmod(0o755)
            sync_folder(incoming)
            incoming.rename(self.root / version)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        sync_folder(self.root)


def registry_files(root: Path) -> dict[str, Path]:
    """Every file of the versions under `root`, also of broken ones, and the shelf's own, by its path from there.

    Needs no lock: a version appears whole and never changes, and the others are replaced by a rename.
    """
    if not root.is_dir():
        return {}
    folders = sorted(path for path in root.iterdir() if VERSION_NAME.fullmatch(path.name) and path.is_dir())
    versions = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    own = [root / name for name in (ALIASES, LAST_ORDINAL) if (root / name).is_file()]
    return {str(path.relative_to(root)): path for path in [*versions, *own]}


def last_ordinal(root: Path) -> int:
    """The largest ordinal that the shelf under `root` ever gave away, 0 where it says none."""
    try:
        return int((root / LAST_ORDINAL).read_text())
    except (OSError, ValueError):
        return 0


def keep_last_ordinal(root: Path, given_away: int) -> None:
    """Let the shelf go on from `given_away` at least. Raises `OSError`."""
    if given_away > last_ordinal(root):
        with locked(root):
            replace(root / LAST_ORDINAL, f"{given_away}\n".encode())
