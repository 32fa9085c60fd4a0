"""The drift references that versions got after their publication: signed, numbered folders beside the versions.

`.references/v1.2` in MODEL_DIR is the second later reference of v1. A version itself never changes, so its model, its
contract and its checksums stay what they were; releases before this one see no version in these folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from app.domain.manifest import (
    REFERENCE_FILE,
    REFERENCE_MANIFEST_FORMAT,
    REFERENCES,
    Manifest,
    ReferenceHistory,
    ReferenceManifest,
    Source,
)
from app.drift.reference import DriftReference
from app.errors import ArtefactRefused, DataRefused
from app.inference.artefact import MANIFEST, SIGNATURE, opened, signature, signed_manifest, verified_file

# Longer than a monitor keeps what it has read of the registry (10 s): by the time the first request counts against the
# reference, every monitor knows it. So a replay of the log, which knows it from the start, gives the same state.
LEAD_US = 20_000_000
# The same key signs versions: with a context of its own, no manifest passes for one of the other kind.
_CONTEXT = b"bakeoff reference\x00"
_FOLDER_NAME = re.compile(r"([a-z0-9_]{1,64})\.([1-9][0-9]{0,8})")
_DECODER = msgspec.json.Decoder(ReferenceManifest)


class _Claims(msgspec.Struct):
    """The field that a manifest of any format has."""

    format: int


_CLAIMS = msgspec.json.Decoder(_Claims)


class ReferenceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a later reference's manifest records and publishing does not find out itself; `reference` is its content."""

    reference: DriftReference
    reference_is: str
    source: Source
    libraries: Mapping[str, str]


class LaterReference(msgspec.Struct, frozen=True):
    """A verified reference, with its manifest."""

    manifest: ReferenceManifest
    reference: DriftReference

    @property
    def sha256(self) -> str:
        """The checksum of the reference's file, in hex."""
        return self.manifest.files[REFERENCE_FILE].sha256


class LaterReferences(msgspec.Struct, frozen=True):
    """The later references of a version that are valid, oldest first, and the reasons why others are not, by folder."""

    valid: tuple[LaterReference, ...] = ()
    refused: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def history(self) -> ReferenceHistory:
        """The manifests and the reasons alone."""
        return ReferenceHistory(tuple(each.manifest for each in self.valid), tuple(self.refused.values()))


def reference_folders(root: Path) -> list[tuple[str, int, Path]]:
    """The version, the number and the path of every later reference below `root`, valid or not, in that order.

    Raises `OSError`.
    """
    folder = root / REFERENCES
    if not folder.is_dir():
        return []
    named = ((_FOLDER_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((match[1], int(match[2]), path) for match, path in named if match)


def reference_files(root: Path) -> Iterator[Path]:
    """Every file of the later references below `root`, also of those that are not valid. Raises `OSError`."""
    for _, _, folder in reference_folders(root):
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def read_references(root: Path, key: bytes, published: Manifest) -> LaterReferences:
    """The later references of the version with that manifest, each verified; one that is refused hides no other."""
    valid, refused = [], {}
    try:
        found = [(number, path) for version, number, path in reference_folders(root) if version == published.version]
    except OSError as error:
        return LaterReferences(refused={REFERENCES: f"{root / REFERENCES}: {error.strerror or error}"})
    for number, folder in found:
        try:
            valid.append(_read(folder, key, published, number))
        except ArtefactRefused as error:
            refused[folder.name] = error.message
        except OSError as error:
            refused[folder.name] = f"{folder}: {error.strerror or error}"
    return LaterReferences(tuple(valid), refused)


def encoded_reference(manifest: ReferenceManifest, document: bytes, key: bytes) -> dict[str, bytes]:
    """The files of a reference's folder, by name."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return {REFERENCE_FILE: document, MANIFEST: text, SIGNATURE: signature(key, text, _CONTEXT)}


def _read(folder: Path, key: bytes, published: Manifest, number: int) -> LaterReference:
    with opened(folder) as descriptor:
        manifest = _decoded(signed_manifest(folder, descriptor, key, _CONTEXT), folder / MANIFEST)
        _require_own(manifest, folder / MANIFEST, published, number)
        promised = manifest.files.get(REFERENCE_FILE)
        if promised is None:
            raise ArtefactRefused(folder / MANIFEST, f"it does not list {REFERENCE_FILE}")
        document = verified_file(folder, descriptor, REFERENCE_FILE, promised)
    try:
        reference = DriftReference.from_json(document)
    except DataRefused as error:
        raise ArtefactRefused(folder / REFERENCE_FILE, error.message) from error
    names = tuple(cells.name for cells in reference.inputs.cells)
    if names != published.contract.names:
        raise ArtefactRefused(folder / REFERENCE_FILE, f"its columns are not those of {published.version}")
    return LaterReference(manifest, reference)


def _decoded(data: bytes, path: Path) -> ReferenceManifest:
    try:
        written_as = _CLAIMS.decode(data).format
        if written_as != REFERENCE_MANIFEST_FORMAT:
            raise ArtefactRefused(path, f"its format is {written_as}, this release reads {REFERENCE_MANIFEST_FORMAT}")
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ArtefactRefused(path, f"is not a reference's manifest: {error}") from error


def _require_own(manifest: ReferenceManifest, path: Path, published: Manifest, number: int) -> None:
    """Raise `ArtefactRefused` for a reference in a renamed folder, or of another version that had the same name."""
    named = f"{published.version}.{number}"
    if (manifest.version, manifest.number) != (published.version, number):
        raise ArtefactRefused(
            path, f"it is the manifest of reference {manifest.version}.{manifest.number}, in the folder of {named}"
        )
    if (manifest.ordinal, manifest.model) != (published.ordinal, model_sum(published)):
        raise ArtefactRefused(path, f"it was made for another version that was called {published.version} before")


def model_sum(published: Manifest) -> str:
    """The SHA-256 of the version's model file; empty where its manifest lists none."""
    return published.model_sha256
