"""What a backup says about itself, and where its parts belong."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from app.domain.manifest import FileSum

BACKUP_FORMAT = 1
CONTENTS = "backup.json"
STORE, KEY, TOKEN, SHELF = "store.sqlite", "keys/deployment.key", "admin.token", "models"
_NAMES = re.compile(
    r"store\.sqlite|keys/deployment\.key|admin\.token|models/(?:[a-z0-9_]+/)?[A-Za-z0-9_.][A-Za-z0-9_.\-]*"
)


class BackupContents(msgspec.Struct, frozen=True, kw_only=True):
    """The file `backup.json`, which is the last one of the archive: every other file by its name in it."""

    format: int = BACKUP_FORMAT
    created_at: str
    release: str
    files: Mapping[str, FileSum]


def belongs(name: str) -> bool:
    """Whether a backup may have a file of that name: nothing that leads out of the folders it is put back to."""
    return _NAMES.fullmatch(name) is not None and ".." not in name.split("/") and "." not in name.split("/")
