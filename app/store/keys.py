"""The deployment's secret, made once and kept in `DATA_DIR/keys`, and the keys that are derived from it."""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import blake2b
from pathlib import Path

import msgspec

from app.errors import SettingError
from app.files import sync_folder, write_new

FILE_NAME = "deployment.key"
_SECRET_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """The keys of one deployment: for signatures of manifests (32 bytes), prediction ids (32), user hashes (16), and
    hashes of what was erased (16).
    """

    registry: bytes
    predictions: bytes
    salt: bytes
    erased: bytes

    def __repr__(self) -> str:
        return "Keys(…)"  # a key must never reach a log or a traceback


def load_or_create(data_dir: Path) -> Keys:
    """The deployment's keys, made if they are missing; processes that start at once all get the same ones.

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
        raise SettingError("DATA_DIR", f"the key file {path} was removed while it was being made: start again")
    # The purposes must never change, `shelf` included: other ones would give other keys.
    return Keys(
        registry=_derived(secret, b"shelf", 32),
        predictions=_derived(secret, b"ids", 32),
        salt=_salt(secret),
        erased=_derived(secret, b"erased", 16),
    )


def _read(path: Path) -> bytes | None:
    """The secret; None where there is no file yet."""
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
            f"{path} is not a key file (64 hexadecimal digits): restore it from a backup. With a new key every "
            "published version and every prediction id would be refused",
        )
    return secret


def _create(path: Path) -> None:
    """Make the key file, complete and synced, unless another process was first."""
    # Written under another name and linked: unlike a rename, a link never replaces the file of a faster process.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.parent / f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        write_new(draft, f"{secrets.token_hex(_SECRET_BYTES)}\n".encode("ascii"), mode=0o600)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _salt(secret: bytes) -> bytes:
    return _derived(secret, b"salt", 16)


def _derived(secret: bytes, purpose: bytes, size: int) -> bytes:
    """A key for one purpose: keyed BLAKE2b, personalised by the purpose (RFC 7693), so that keys are independent."""
    return blake2b(key=secret, digest_size=size, person=b"bakeoff " + purpose).digest()
