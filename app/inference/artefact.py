"""The signature over a manifest: HMAC-SHA256 with the deployment's key, over the very bytes of the file.

One version's folder: nothing in it is believed before the signature and the checksum say so.
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

from app.domain.manifest import MANIFEST_FORMAT, FileSum, Manifest
from app.errors import ArtefactRefused

# The same key signs other things; what is signed here must never pass for one of those.
_CONTEXT = b"bakeoff manifest\x00"


def signature(key: bytes, manifest: bytes) -> bytes:
    """The signature of a manifest's bytes, as 64 hex digits and a newline."""
    return hmac.new(key, _CONTEXT + manifest, hashlib.sha256).hexdigest().encode() + b"\n"


def is_signed(key: bytes, manifest: bytes, claimed: bytes) -> bool:
    """Whether `claimed` is the signature of these bytes under this key (compared in constant time)."""
    return hmac.compare_digest(signature(key, manifest), claimed)


MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_LARGEST_MANIFEST = 32 * 1024 * 1024
_DECODER = msgspec.json.Decoder(Manifest)


class _Claims(msgspec.Struct):
    """What can be read of a manifest of any format."""

    format: int
    ordinal: int


_CLAIMS = msgspec.json.Decoder(_Claims)


class Artefact(msgspec.Struct, frozen=True):
    """A verified version: its manifest and the very bytes whose checksums were found right."""

    manifest: Manifest
    folder: Path
    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `ArtefactRefused` where the manifest has no such file."""
        try:
            return self.files[name]
        except KeyError:
            raise ArtefactRefused(self.folder / name, "the manifest does not list this file") from None


def file_sum(data: bytes) -> FileSum:
    """What a manifest says about a file of this content."""
    return FileSum(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def encoded(manifest: Manifest, key: bytes) -> dict[str, bytes]:
    """The manifest and its signature, as files. Numbers of NumPy become JSON numbers, NaN becomes null."""
    text = msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_plain), indent=2)
    return {MANIFEST: text, SIGNATURE: signature(key, text)}


def decoded(data: bytes, path: Path) -> Manifest:
    """The manifest in `data`. Raises `ArtefactRefused` where it is not one that this release reads."""
    try:
        written_as = _CLAIMS.decode(data).format
        if written_as != MANIFEST_FORMAT:
            raise ArtefactRefused(path, f"its format is {written_as}, this release reads {MANIFEST_FORMAT}")
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ArtefactRefused(path, f"is not a manifest: {error}") from error


def read_manifest(folder: Path, key: bytes, version: str | None) -> Manifest:
    """The signed manifest in `folder`, which must be that of `version` (None: of whatever it says).

    Raises `ArtefactRefused`.
    """
    with _opened(folder) as descriptor:
        return _manifest(folder, descriptor, key, version)


def read_artefact(folder: Path, key: bytes, version: str | None) -> Artefact:
    """The verified manifest and files in `folder`; each file is read once. Raises `ArtefactRefused`.

    Files that the manifest does not list are never opened.
    """
    with _opened(folder) as descriptor:
        manifest = _manifest(folder, descriptor, key, version)
        files = {name: _verified(folder, descriptor, name, promised) for name, promised in manifest.files.items()}
    return Artefact(manifest=manifest, folder=folder, files=files)


def claimed_ordinal(folder: Path) -> int | None:
    """What the manifest in `folder` says its ordinal is, unverified: good enough for an order, for nothing else."""
    try:
        with _opened(folder) as descriptor:
            return _CLAIMS.decode(_content(folder, descriptor, MANIFEST, _LARGEST_MANIFEST)).ordinal
    except (ArtefactRefused, msgspec.DecodeError):
        return None


def _manifest(folder: Path, descriptor: int, key: bytes, version: str | None) -> Manifest:
    path = folder / MANIFEST
    data = _content(folder, descriptor, MANIFEST, _LARGEST_MANIFEST)
    claimed = _content(folder, descriptor, SIGNATURE, 1024)
    if not is_signed(key, data, claimed):
        raise ArtefactRefused(path, "its signature is wrong: it was changed, or signed with another key")
    manifest = decoded(data, path)
    if version is not None and manifest.version != version:
        raise ArtefactRefused(path, f"it is the manifest of {manifest.version!r}, in the folder of {version!r}")
    return manifest


def _verified(folder: Path, descriptor: int, name: str, promised: FileSum) -> bytes:
    if not _FILE_NAME.fullmatch(name):
        raise ArtefactRefused(folder / MANIFEST, f"{name!r} is not a file name of an artefact")
    data = _content(folder, descriptor, name, promised.bytes)
    if len(data) != promised.bytes:
        raise ArtefactRefused(folder / name, f"has {len(data)} bytes, the manifest says {promised.bytes}")
    if hashlib.sha256(data).hexdigest() != promised.sha256:
        raise ArtefactRefused(folder / name, "its SHA-256 is not the one in the manifest")
    return data


def _content(folder: Path, descriptor: int, name: str, at_most: int) -> bytes:
    """A regular file's bytes, read through the folder's descriptor so that no link leads elsewhere."""
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
            return opened.read(at_most + 1)
    finally:
        os.close(file)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
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
