"""Where the model registry is kept: a folder, or a prefix of a bucket on S3 (`bucket.py`) and its copy in a folder.

Whoever reads, reads files in a folder and verifies them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from app.domain.contract import VERSION_NAME
from app.errors import RegistryConflict
from app.files import folder_lock, replace, sync_folder, write_new
from app.inference.references import reference_files
from app.settings import Settings

ALIASES = "aliases.json"
# Without a dot in front, as it is restored from a backup by the release before, which does not read it.
RETIRED = "retired.json"
LAST_ORDINAL = ".last_ordinal"
TABLES = (ALIASES, RETIRED, LAST_ORDINAL)
_LARGEST_ORDINAL = 0xFFFF  # prediction ids have two bytes for it
# Starts with a dot, so that no version can have the name: see `VERSION_NAME`.
INCOMING = ".incoming-"


class Storage(Protocol):
    """The files of a registry, to be read in `folder`. Every call raises `OSError`.

    `place` is for messages. `fetch` makes the folder what the registry is now; `refresh` does so now and then, and
    raises nothing where it cannot. `repair` fetches one folder or table again, and returns whether it was another.
    """

    folder: Path
    place: str

    def fetch(self) -> None: ...

    def refresh(self) -> None: ...

    def repair(self, name: str, /) -> bool: ...

    def writing(self) -> AbstractContextManager[None]:
        """Within the block no other process of this host writes."""
        ...

    def put(self, name: str, files: Mapping[str, bytes], before: Callable[[], None] | None = None) -> None:
        """Add a folder, completely or not at all; `before` is called before any reader can see it.

        Raises `FileExistsError` where it is there, or another publisher has claimed its name.
        """
        ...

    def swap(self, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a table by what `change` makes of its content (None: there is none), called again if others write."""
        ...


class FolderStorage:
    """A registry in a folder: writers exclude each other by a lock, and a folder appears by one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    def fetch(self) -> None:
        """Nothing: the folder is the registry."""

    def refresh(self) -> None:
        """Nothing, too."""

    def repair(self, _name: str) -> bool:
        """Whether it was repaired: there is no other copy."""
        return False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The block holds the writers' lock; what killed writers left is removed first."""
        with folder_lock(self.folder):
            for left in self.folder.glob(f"{INCOMING}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def put(self, name: str, files: Mapping[str, bytes], before: Callable[[], None] | None = None) -> None:
        """See `Storage`. Only within `writing`."""
        if before is not None:
            before()
        target = self.folder / name
        if target.parent != self.folder:
            target.parent.mkdir(exist_ok=True)
        place_folder(target, files, self.folder)
        sync_folder(self.folder)

    def swap(self, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """See `Storage`. Only within `writing`."""
        path = self.folder / name
        replace(path, change(path.read_bytes() if path.exists() else None))


def storage_of(settings: Settings) -> Storage:
    """The registry that MODEL_DIR names. Touches nothing."""
    if settings.model_bucket is None:
        return FolderStorage(settings.model_dir)
    # Here: a registry in a folder does without the client of S3.
    from app.inference.bucket import BucketStorage
    from app.inference.s3 import S3Client

    return BucketStorage(S3Client(settings.model_bucket, settings.aws), settings.model_dir)


def place_folder(target: Path, files: Mapping[str, bytes], scratch: Path) -> None:
    """Write the files to a folder that appears at `target` as a whole, and is on disk then. Raises `OSError`."""
    incoming = Path(tempfile.mkdtemp(prefix=INCOMING, dir=scratch))
    try:
        for name, data in files.items():
            write_new(incoming / name, data)
        incoming.chmod(0o755)
        sync_folder(incoming)
        incoming.rename(target)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    sync_folder(target.parent)


def registry_files(root: Path) -> dict[str, Path]:
    """Every file of the versions and later references under `root`, broken ones too, and the registry's own, by path.

    The paths are relative to `root`. Needs no lock: a version or a reference appears whole and never changes, and the
    registry's own files are replaced by a rename.
    """
    if not root.is_dir():
        return {}
    own = [root / name for name in (ALIASES, RETIRED, LAST_ORDINAL) if (root / name).is_file()]
    return {str(path.relative_to(root)): path for path in [*_version_files(root), *reference_files(root), *own]}


def _version_files(root: Path) -> Iterator[Path]:
    for folder in sorted(root.iterdir()):
        if VERSION_NAME.fullmatch(folder.name) and folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def number_in(data: bytes | None) -> int:
    """The number in the content of `LAST_ORDINAL`; 0 if there is none."""
    try:
        return int(data or b"")
    except ValueError:
        return 0


def decoded_aliases(data: bytes) -> dict[str, str]:
    """The version of each alias. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=dict[str, str])


def encoded_aliases(table: dict[str, str]) -> bytes:
    """The content of `ALIASES`."""
    return msgspec.json.encode(table, order="sorted")


def readable_aliases(data: bytes | None) -> dict[str, str]:
    """As `decoded_aliases`; none where it cannot be read."""
    with suppress(msgspec.DecodeError):  # an unreadable table holds nothing to keep
        return decoded_aliases(data or b"{}")
    return {}


def last_ordinal(root: Path) -> int:
    """The largest ordinal that the registry under `root` has assigned; 0 if there is no record of it."""
    try:
        return number_in((root / LAST_ORDINAL).read_bytes())
    except OSError:
        return 0


def take_ordinal(storage: Storage, above: int) -> int:
    """The next ordinal of a registry, nobody else's, larger than `above`. Only within `storage.writing`.

    Reserved before it is used: prediction ids carry it (ADR 3). Raises `OSError` and `RegistryConflict`.
    """
    taken = 0

    def following(data: bytes | None) -> bytes:
        nonlocal taken
        taken = max(number_in(data), above) + 1
        if taken > _LARGEST_ORDINAL:
            raise RegistryConflict(
                f"the model registry is full: prediction ids have room for {_LARGEST_ORDINAL} versions; "
                "publish into a new MODEL_DIR"
            )
        return f"{taken}\n".encode()

    storage.swap(LAST_ORDINAL, following)
    return taken


def keep_last_ordinal(root: Path, assigned: int) -> None:
    """Make the registry assign only ordinals above `assigned`, for restoring a backup. Raises `OSError`."""
    if assigned > last_ordinal(root):
        with folder_lock(root):
            replace(root / LAST_ORDINAL, f"{assigned}\n".encode())
