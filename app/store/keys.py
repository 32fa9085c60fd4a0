"""The deployment's secret: made once, kept in `DATA_DIR/keys`, and the source of every other key."""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import blake2b
from pathlib import Path

import msgspec

from app.errors import SettingError

FILE_NAME = "deployment.key"
_SECRET_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """The keys of one deployment: for the shelf's signatures (32 bytes), prediction ids (32), user hashes (16)."""

    registry: bytes
    predictions: bytes
    salt: bytes

    def __repr__(self) -> str:
        return "Keys(…)"  # a key must not reach a log or a traceback


def load_or_create(data_dir: Path) -> Keys:
    """The deployment's keys; racing processes all get the same ones.

    Raises `SettingError` for `DATA_DIR` where the key file can be neither made nor read, or is not a key file.
    """
    path = data_dir / "keys" / FILE_NAME
    try:
        secret = _read(path)
        if secret is None:
            _create(path)
            secret = _read(path)
    except OSError as error:
        raise SettingError("DATA_DIR", f"cannot read or make the key file {path}: {error.strerror or error}") from error
    if secret is None:
        raise SettingError("DATA_DIR", f"the key file {path} vanished while it was made; start again")
    return Keys(registry=_derived(secret, b"shelf", 32), predictions=_derived(secret, b"ids", 32), salt=_salt(secret))


def _read(path: Path) -> bytes | None:
    """The secret, or None where no file is there yet."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        secret = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise SettingError(
            "DATA_DIR",
            f"{path} is not a key file (64 hexadecimal digits): put it back from a backup. A new key would disown "
            "every version on the shelf and every prediction id given out",
        )
    return secret


def _create(path: Path) -> None:
    """Publish a complete key under its name, unless another process was first.

    The secret is written under a name of its own and linked: a link is made whole or not at all, and never replaces.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.parent / f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _salt(secret: bytes) -> bytes:
    return _derived(secret, b"salt", 16)


def _derived(secret: bytes, purpose: bytes, size: int) -> bytes:
    """A key for one purpose: keyed BLAKE2b personalised by it (RFC 7693), so that no key tells of another."""
    return blake2b(key=secret, digest_size=size, person=b"bakeoff " + purpose).digest()
