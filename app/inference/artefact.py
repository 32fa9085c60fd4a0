"""The artefact of one version, a signed folder: nothing in it is used before signature and checksums are verified.

The signature is HMAC-SHA256 over the bytes of `manifest.json`, keyed with the deployment's key. The manifest has the
SHA-256 of every other file, so one signature covers all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.domain.manifest import MANIFEST_FORMAT, WITHOUT_PICKLE_FORMAT, FileSum, Manifest
from app.errors import ArtefactRefused
from app.services.ports import VersionRecord

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
# The same key signs prediction ids too: with a context, a signature of one kind never passes for the other.
_CONTEXT = b"bakeoff manifest\x00"
# One component, which cannot start with a dot: a signed manifest of another deployment must not name `../../x`.
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_LARGEST_MANIFEST = 32 * 1024 * 1024
_FORMATS = (MANIFEST_FORMAT, WITHOUT_PICKLE_FORMAT)
_DECODER = msgspec.json.Decoder(Manifest)


class _Claims(msgspec.Struct):
    """The fields that a manifest of any format has."""

    format: int
    ordinal: int
    created_at: str = ""


_CLAIMS = msgspec.json.Decoder(_Claims)


class Artefact(msgspec.Struct, frozen=True):
    """A verified version: its manifest, and the bytes that were checked.

    The bytes are kept rather than read again, because the files could be replaced between check and use.
    """

    manifest: Manifest
    folder: Path
    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `ArtefactRefused` if the manifest does not list it."""
        try:
            return self.files[name]
        except KeyError:
            raise ArtefactRefused(self.folder / name, "the manifest does not list this file") from None


def signature(key: bytes, manifest: bytes, context: bytes = _CONTEXT) -> bytes:
    """The signature of a manifest's bytes, as 64 hex digits and a newline."""
    return hmac.new(key, context + manifest, hashlib.sha256).hexdigest().encode() + b"\n"


def is_signed(key: bytes, manifest: bytes, claimed: bytes, context: bytes = _CONTEXT) -> bool:
    """Whether `claimed` is the signature of these bytes under this key (compared in constant time)."""
    return hmac.compare_digest(signature(key, manifest, context), claimed)


def file_sum(data: bytes) -> FileSum:
    """A manifest's entry for a file with this content: SHA-256 in hex and the number of bytes."""
    return FileSum(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def encoded(manifest: Manifest, key: bytes) -> dict[str, bytes]:
    """The manifest and its signature, by file name. NumPy numbers become JSON numbers, NaN becomes null."""
    text = msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_plain), indent=2)
    return {MANIFEST: text, SIGNATURE: signature(key, text)}


def decoded(data: bytes, path: Path) -> Manifest:
    """The manifest in `data`. Raises `ArtefactRefused` if it is not one that this release reads."""
    try:
        # The format first: decoding a later one would only name its first unknown field.
        written_as = _CLAIMS.decode(data).format
        if written_as not in _FORMATS:
            raise ArtefactRefused(
                path, f"its format is {written_as}, this release reads {_FORMATS[-1]}: publish the model again"
            )
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ArtefactRefused(path, f"is not a manifest: {error}") from error


def read_manifest(folder: Path, key: bytes, version: str | None) -> Manifest:
    """The verified manifest in `folder`. Raises `ArtefactRefused`, also if it is of another version than `version`.

    None accepts any version. The other files are not read.
    """
    with opened(folder) as descriptor:
        return _manifest(folder, descriptor, key, version)


def read_record(folder: Path, key: bytes, version: str) -> VersionRecord:
    """What the store keeps of the version in `folder`. Raises as `read_manifest` does."""
    with opened(folder) as descriptor:
        manifest = _manifest(folder, descriptor, key, version)
        found = signed_manifest(folder, descriptor, key)
    return VersionRecord(
        version=version,
        ordinal=manifest.ordinal,
        manifest=file_sum(found).sha256,
        created_at=manifest.created_at,
    )


def read_artefact(folder: Path, key: bytes, version: str | None) -> Artefact:
    """The verified manifest and files in `folder`; each file is read once. Raises as `read_manifest` does.

    Files that the manifest does not list are never opened.
    """
    with opened(folder) as descriptor:
        manifest = _manifest(folder, descriptor, key, version)
        files = {name: verified_file(folder, descriptor, name, promised) for name, promised in manifest.files.items()}
    return Artefact(manifest=manifest, folder=folder, files=files)


def claimed_ordinal(folder: Path) -> int | None:
    """The ordinal in the manifest in `folder`, unverified: fit for sorting and nothing else. None if unreadable."""
    claims = _claims(folder)
    return None if claims is None else claims.ordinal


def claimed_date(folder: Path) -> str:
    """When the version in `folder` was published (UTC), unverified. Empty if unreadable."""
    claims = _claims(folder)
    return "" if claims is None else claims.created_at


def claimed_sum(folder: Path) -> str:
    """The SHA-256 (hex) of the manifest in `folder`, unverified. Empty if unreadable."""
    try:
        return file_sum(_claimed(folder)).sha256
    except ArtefactRefused:
        return ""


def _claimed(folder: Path) -> bytes:
    with opened(folder) as descriptor:
        return _content(folder, descriptor, MANIFEST, _LARGEST_MANIFEST)


def _claims(folder: Path) -> _Claims | None:
    try:
        return _CLAIMS.decode(_claimed(folder))
    except (ArtefactRefused, msgspec.DecodeError):
        return None


def _manifest(folder: Path, descriptor: int, key: bytes, version: str | None) -> Manifest:
    path = folder / MANIFEST
    manifest = decoded(signed_manifest(folder, descriptor, key), path)
    # A renamed folder is still signed: without this it would serve under a name that it was not published with.
    if version is not None and manifest.version != version:
        raise ArtefactRefused(path, f"it is the manifest of {manifest.version!r}, in the folder of {version!r}")
    return manifest


def signed_manifest(folder: Path, descriptor: int, key: bytes, context: bytes = _CONTEXT) -> bytes:
    """The bytes of the manifest in the folder that `descriptor` has open. Raises `ArtefactRefused`."""
    data = _content(folder, descriptor, MANIFEST, _LARGEST_MANIFEST)
    claimed = _content(folder, descriptor, SIGNATURE, 1024)
    if not is_signed(key, data, claimed, context):
        reason = "its signature is wrong: it was changed, or signed with another deployment's key"
        raise ArtefactRefused(folder / MANIFEST, reason)
    return data


def verified_file(folder: Path, descriptor: int, name: str, promised: FileSum) -> bytes:
    """The bytes of a file that a signed manifest lists. Raises `ArtefactRefused` if they are not those."""
    if not FILE_NAME.fullmatch(name):
        raise ArtefactRefused(folder / MANIFEST, f"{name!r} is not a file name of an artefact")
    data = _content(folder, descriptor, name, promised.bytes)
    if len(data) != promised.bytes:
        raise ArtefactRefused(folder / name, f"has {len(data)} bytes, the manifest says {promised.bytes}")
    if hashlib.sha256(data).hexdigest() != promised.sha256:
        raise ArtefactRefused(folder / name, "its SHA-256 is not the one in the manifest")
    return data


def _content(folder: Path, descriptor: int, name: str, at_most: int) -> bytes:
    """A regular file's bytes; raises `ArtefactRefused` for a link or a device, and for more than `at_most` bytes.

    Opened relative to the folder's descriptor, so that the folder cannot be exchanged between two files.
    """
    path = folder / name
    try:
        # Non-blocking: a pipe of that name must not hang the loader.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    except FileNotFoundError:
        raise ArtefactRefused(path, "is missing") from None
    except OSError as error:
        raise ArtefactRefused(path, f"cannot be opened as a plain file: {error.strerror}") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ArtefactRefused(path, "is not a plain file")
        if status.st_size > at_most:
            raise ArtefactRefused(path, f"has {status.st_size} bytes, more than the {at_most} expected")
        with os.fdopen(file, "rb", closefd=False) as opened:
            return opened.read(at_most + 1)  # one more: a file that grew since `fstat` shows by its length
    finally:
        os.close(file)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder, which is not followed if it is a link. Raises `ArtefactRefused`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ArtefactRefused(folder, f"cannot be opened as a folder: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _plain(value: Any) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"a manifest cannot hold a {type(value).__name__}")
