"""The deployment's secret, and the keys that are derived from it.

It is made once and kept in `DATA_DIR/keys`, unless `DEPLOYMENT_KEY_FILE` names another file: that is never made here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from hashlib import blake2b
from pathlib import Path

import msgspec

from app.errors import SettingError
from app.files import sync_folder, write_new

FILE_NAME = "deployment.key"
NAMED = "DEPLOYMENT_KEY_FILE"
_SECRET_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """The keys of one deployment: for signatures of manifests (32 bytes), prediction ids (32), user hashes (16), and
    hashes of what was erased (16).

    `fingerprint` tells one deployment's key from another's, in 32 hex digits, and gives nothing of it away.
    """

    registry: bytes
    predictions: bytes
    salt: bytes
    erased: bytes
    fingerprint: str

    def __repr__(self) -> str:
        return "Keys(…)"  # a key must never reach a log or a traceback


def load_or_create(data_dir: Path, named: Path | None = None) -> Keys:
    """The deployment's keys: of the `named` file (DEPLOYMENT_KEY_FILE), or of `data_dir`, where they are made.

    Processes that start at once all get the same ones. Raises `SettingError` for the variable whose file can be neither
    read nor made, or is not a key file.
    """
    secret = _made(data_dir / "keys" / FILE_NAME) if named is None else _named(named)
    # The purposes must never change, `shelf` included: other ones would give other keys.
    return Keys(
        registry=_derived(secret, b"shelf", 32),
        predictions=_derived(secret, b"ids", 32),
        salt=_salt(secret),
        erased=_derived(secret, b"erased", 16),
        fingerprint=_derived(secret, b"print", 16).hex(),
    )


def _made(path: Path) -> bytes:
    try:
        secret = _read(path, "DATA_DIR")
        if secret is None:
            _create(path)
            secret = _read(path, "DATA_DIR")
    except OSError as error:
        raise SettingError("DATA_DIR", f"cannot read or make the key file {path}: {error.strerror or error}") from error
    if secret is None:
        raise SettingError("DATA_DIR", f"the key file {path} was removed while it was being made: start again")
    return secret


def _named(path: Path) -> bytes:
    try:
        secret = _read(path, NAMED)
        mode = 0 if secret is None else path.stat().st_mode
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(
            NAMED, f"{path} cannot be read ({reason}): it must be a file that user {os.geteuid()} may read"
        ) from error
    if secret is None:
        # Made anew it would be another key, and all hosts must have the same one.
        raise SettingError(
            NAMED,
            f"{path} does not exist: mount the secret there. A key that is named is never made, because published "
            f"versions, prediction ids and users' versions depend on it. A service that has run before keeps its own: "
            f"copy DATA_DIR/keys/{FILE_NAME}. For a new one: openssl rand -hex 32",
        )
    if mode & stat.S_IWOTH:
        raise SettingError(NAMED, f"every user may write to {path}, and so choose the key: chmod 400 {path}")
    return secret


def _read(path: Path, variable: str) -> bytes | None:
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
            variable,
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
