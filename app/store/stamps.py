"""Stamps: empty files in DATA_DIR whose time of change is when something last succeeded.

Metrics, alerts and the doctor read them. A script that makes backups in another way stamps them with `touch`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Stamped = Literal["backup", "archive", "restore_drill"]


def stamp(data_dir: Path, what: Stamped) -> None:
    """Record that `what` was completed now; call it once that is on disk. Raises `OSError`."""
    _path(data_dir, what).touch(0o600)


def stamped_at_s(data_dir: Path, what: Stamped) -> float | None:
    """When `what` was last completed, in seconds since 1970; None where that never was, or cannot be read."""
    try:
        return _path(data_dir, what).stat().st_mtime
    except OSError:
        return None


def _path(data_dir: Path, what: Stamped) -> Path:
    return data_dir / f"{what}.stamp"
