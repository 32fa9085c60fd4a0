"""The files of a shelf, for copying it as a whole."""

from __future__ import annotations

from pathlib import Path

from app.domain.contract import VERSION_NAME
from app.inference.durable import locked, replace
from app.inference.shelf import ALIASES, LAST_ORDINAL


def shelf_files(root: Path) -> dict[str, Path]:
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
