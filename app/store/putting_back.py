"""Put the files of a backup where they belong: what was there before is moved aside, and back where a move fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from app.domain.backup import KEY, SHELF, STORE, TOKEN

_STAGED = ".restoring"
_BESIDE_STORE = ("", "-wal", "-shm", "-journal")


class Homes(msgspec.Struct, frozen=True):
    """Where the parts of a deployment's state live: its folder, the store's file (None: a server has it), the shelf."""

    data_dir: Path
    store: Path | None
    model_dir: Path

    def of(self, name: str) -> tuple[Path, Path]:
        """The root and, below it, the path of the file that a backup calls `name`."""
        if name == STORE and self.store is not None:
            return self.store.parent, Path(self.store.name)
        if name.startswith(f"{SHELF}/"):
            return self.model_dir, Path(name).relative_to(SHELF)
        return self.data_dir, Path(name)

    def staged(self, name: str) -> Path:
        """Where that file waits until all are there and found right: on its own file system, for a rename."""
        root, path = self.of(name)
        return root / _STAGED / path

    def roots(self) -> list[Path]:
        """The folders that hold state, once each."""
        places = (self.data_dir, self.store.parent if self.store else self.data_dir, self.model_dir)
        return [*dict.fromkeys(places)]


def standing(homes: Homes) -> list[Path]:
    """What is there now and would be replaced: the store's files, the key, the token, all of the shelf."""
    store = homes.store
    beside = [store.with_name(store.name + suffix) for suffix in _BESIDE_STORE] if store else []
    kept = [homes.data_dir / KEY, homes.data_dir / TOKEN]
    shelf = homes.model_dir.iterdir() if homes.model_dir.is_dir() else ()
    # Dotted names are the shelf's own: locks and the like.
    return [*(path for path in (*beside, *kept) if path.exists()), *(p for p in shelf if not p.name.startswith("."))]


@contextlib.contextmanager
def staging(homes: Homes) -> Iterator[None]:
    """Empty staging folders, gone at the end."""
    folders = [root / _STAGED for root in homes.roots()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def put_back(homes: Homes, names: Iterable[str], stamp: str, commit: Callable[[], None] = lambda: None) -> list[Path]:
    """Move what stands aside, and the staged files of these names in; the folders where the former now is.

    `commit` comes last, and puts the log in its place where that is no file. Where it or a move fails all moves are
    undone, and the `OSError` or `StoreUnavailable` is raised.
    """
    done: list[tuple[Path, Path]] = []
    units = {_unit(homes, name) for name in names if name != STORE or homes.store is not None}
    try:
        aside = {_aside(homes, path, stamp, done) for path in standing(homes)}
        for root, unit in sorted(units):
            _move(root / _STAGED / unit, root / unit, done)
        commit()
    except Exception:
        for source, target in reversed(done):
            target.rename(source)
        raise
    return sorted(aside)


def _unit(homes: Homes, name: str) -> tuple[Path, Path]:
    """What is moved as one: a version's folder, else the file."""
    root, path = homes.of(name)
    return (root, Path(path.parts[0])) if name.startswith(f"{SHELF}/") else (root, path)


def _aside(homes: Homes, path: Path, stamp: str, done: list[tuple[Path, Path]]) -> Path:
    root = max((root for root in homes.roots() if path.is_relative_to(root)), key=lambda root: len(root.parts))
    folder = root / f".replaced-{stamp}"
    _move(path, folder / path.relative_to(root), done)
    return folder


def _move(source: Path, target: Path, done: list[tuple[Path, Path]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)
    done.append((source, target))
