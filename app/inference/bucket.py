"""A model registry on S3: objects with the names that files of a registry in a folder have, and a copy of them here.

A version appears with its manifest, which is written last and only if there is none. The first object of a version, its
signature, claims the name. Tables are replaced on the condition that they are what was read. ADR 43 says why.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import msgspec

from app.domain.contract import VERSION_NAME
from app.domain.manifest import REFERENCES
from app.files import folder_lock, replace
from app.inference.artefact import FILE_NAME, MANIFEST, SIGNATURE
from app.inference.s3 import S3Client
from app.inference.storage import INCOMING, TABLES, place_folder

_LOG = logging.getLogger(__name__)
_FETCHED = ".fetched.json"
_WHOLE = re.compile(rf"((?:{re.escape(REFERENCES)}/[a-z0-9_]{{1,64}}\.[1-9][0-9]{{0,8}})|[^/]+)/([^/]+)")
# Shorter than a monitor keeps what it has read (10 s), so that both together are shorter than a reference's lead.
_FRESH_S, _AWAY_S = 5.0, 60.0
_LOCK_S = 60.0  # a process that was stopped while it fetched has the lock until it goes on or is killed
_CLAIM_S = 3600.0  # a publisher that has not finished by then was killed
_AT_ONCE = 8
_SWAPS = 20


class BucketStorage:
    """A registry on S3, and its copy in `folder`, which all processes of this host share."""

    def __init__(self, client: S3Client, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.place = client.place
        self._client = client
        self._clock = clock
        self._next_s = self._away_s = -1.0
        self._same: dict[str, float] = {}

    def fetch(self) -> None:
        """Make the copy what the bucket has. What was fetched before an `OSError` stays."""
        with self._asking(_LOCK_S):
            self._same.clear()  # somebody may have mended it since
            self._fetch()

    def refresh(self) -> None:
        """Fetch what has changed, unless that was done some seconds ago, or another process is doing it."""
        if self._clock() < self._next_s:
            return
        try:
            with self._asking(0):
                self._fetch()
        except BlockingIOError:
            self._next_s = self._clock() + _FRESH_S  # another process is fetching
        except OSError as error:
            self._log_away(error)

    def repair(self, name: str) -> bool:
        """Whether a folder of the copy, or a table, was not what the bucket has; it is that now."""
        if self._clock() < max(self._away_s, self._same.get(name, 0.0)):
            return False
        with suppress(OSError), self._asking(_LOCK_S):
            there = self._client.etags()
            objects = _of_folder(there, name) if name not in TABLES else [name] if name in there else []
            before = {each: _content(self.folder / each) for each in objects}
            after = self._got(objects)
            if objects and before != after:
                self._install(name, after)
                return True
            self._same[name] = self._clock() + _AWAY_S  # the bucket has it so: not asked again in each step
        return False

    def writing(self) -> AbstractContextManager[None]:
        """Nothing: publishers anywhere exclude each other by the conditions of S3."""
        return nullcontext()

    def put(self, name: str, files: Mapping[str, bytes], before: Callable[[], None] | None = None) -> None:
        """See `Storage`. What a killed publisher leaves has no manifest, and its claim ends after an hour."""
        claim = self._claim(name, files[SIGNATURE])
        for file, data in files.items():
            if file not in (MANIFEST, SIGNATURE):
                self._overwrite(f"{name}/{file}", data)
        if before is not None:
            before()
        mine = self._client.get(f"{name}/{SIGNATURE}")
        if mine is None or mine.etag != claim or not self._put_own(f"{name}/{MANIFEST}", files[MANIFEST]):
            raise FileExistsError(errno.EEXIST, f"{name} was taken over by another publisher", self.place)
        self._fetch_own(name, {f"{name}/{file}": data for file, data in files.items()})

    def swap(self, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """See `Storage`."""
        for _ in range(_SWAPS):
            there = self._client.get(name)
            before = None if there is None else there.data
            after = change(before)
            if after == before or self._client.put(name, after, None if there is None else there.etag):
                return self._keep_own(name, after)
        raise OSError(errno.EAGAIN, f"{name} was written by others each time: try again", self.place)

    def _fetch_own(self, name: str, written: Mapping[str, bytes]) -> None:
        """Fetch what this process has just written. It is in the bucket, so nothing that fails here is raised."""
        try:
            self.fetch()
        except OSError as error:
            self._log_away(error)
            # So that the next step finds it; a later fetch compares. Not locked: the lock may be what failed.
            with suppress(OSError):
                self._install(name, written)

    def _keep_own(self, table: str, written: bytes) -> None:
        """Put a table that this process has just written into the copy; the next fetch compares it with the bucket."""
        # The bucket is not asked, and no lock is waited for: others may wait for a lock that the caller has.
        with suppress(OSError), folder_lock(self.folder, wait_s=0):
            self._install(table, {table: written})

    def _claim(self, name: str, signature: bytes) -> str:
        """The ETag of the signature, which claims the name. Raises `FileExistsError`."""
        key = f"{name}/{SIGNATURE}"
        etag = self._put_own(key, signature)
        if etag:
            return etag
        there, is_published = self._client.get(key), self._client.get(f"{name}/{MANIFEST}") is not None
        if there is not None and there.age_s > _CLAIM_S and not is_published:
            etag = self._client.put(key, signature, there.etag)
            if etag:
                return etag
        reason = "is being published by another process; if that was killed, the name is free again after an hour"
        if is_published:
            reason = "has just been published by another process: choose another name"
        raise FileExistsError(errno.EEXIST, f"{name} {reason}", self.place)

    def _put_own(self, key: str, data: bytes) -> str | None:
        """The ETag of an object that did not exist, also where the first answer was lost; `data` are nobody else's."""
        etag = self._client.put(key, data)
        if etag:
            return etag
        there = self._client.get(key)
        return there.etag if there is not None and there.data == data else None

    def _overwrite(self, key: str, data: bytes) -> None:
        for _ in range(_SWAPS):
            if self._client.put(key, data):
                return
            there = self._client.get(key)  # of a killed publisher, whose claim has ended
            if there is not None and (there.data == data or self._client.put(key, data, there.etag)):
                return
        raise OSError(errno.EAGAIN, f"{key} was written by others each time: try again", self.place)

    @contextmanager
    def _asking(self, wait_s: float) -> Iterator[None]:
        """Hold the copy's lock for the block, which asks the bucket; after a failure it is not asked for a while."""
        try:
            with folder_lock(self.folder, wait_s=wait_s):
                yield
        except BlockingIOError as error:
            if not wait_s:
                raise
            self._next_s = self._away_s = self._clock() + _AWAY_S
            reason = f"cannot be read: for {wait_s:g} s another process has been changing the copy in {self.folder}; "
            raise OSError(errno.EAGAIN, f"{reason}is one stopped that has its file .lock open?", self.place) from error
        except OSError:
            self._next_s = self._away_s = self._clock() + _AWAY_S
            raise
        self._away_s = -1.0

    def _log_away(self, error: OSError) -> None:
        _LOG.warning("registry_unreachable", extra={"event_fields": {"reason": f"{self.place} {error.strerror}"}})

    def _fetch(self) -> None:
        self._next_s = self._clock() + _AWAY_S  # what other threads read meanwhile is not asked for again
        there = self._client.etags()
        known = self._known()
        wanted = {name: there[f"{name}/{MANIFEST}"] for name in _folders(there)}
        if known.keys() - TABLES and not wanted:
            raise OSError(
                errno.ENODATA, f"has no version any more; the copy of what it had is in {self.folder}", self.place
            )
        try:
            for name, etag in wanted.items():
                if known.get(name) != etag or not (self.folder / name).is_dir():
                    self._install(name, self._got(_of_folder(there, name)))
                    known[name] = etag
            for table in TABLES:
                self._fetch_table(table, there.get(table), known)
        finally:
            replace(self.folder / _FETCHED, msgspec.json.encode({"place": self.place, "etags": known}))
        for gone in _folders_in(self.folder) - wanted.keys():
            shutil.rmtree(self.folder / gone, ignore_errors=True)
        self._next_s = self._clock() + _FRESH_S

    def _fetch_table(self, table: str, etag: str | None, known: dict[str, str]) -> None:
        path = self.folder / table
        if etag is None:
            return path.unlink(missing_ok=True)
        # With the checksum of what was read: a copy that was changed since is fetched again.
        data = _content(path)
        if data is None or known.get(table) != f"{etag} {hashlib.sha256(data).hexdigest()}":
            for name, data in self._got([table]).items():
                self._install(name, {name: data})
                known[table] = f"{etag} {hashlib.sha256(data).hexdigest()}"
        return None

    def _known(self) -> dict[str, str]:
        """The ETags of what the copy has, by name; none if it is the copy of another place."""
        with suppress(OSError, msgspec.DecodeError):
            noted = msgspec.json.decode((self.folder / _FETCHED).read_bytes(), type=_Fetched)
            if noted.place == self.place:
                return noted.etags
        return {}

    def _got(self, names: list[str]) -> dict[str, bytes]:
        """The content of the objects that are still there, by name. Its threads end with it: a fork may follow."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(names, pool.map(self._client.get, names), strict=True)
            return {name: each.data for name, each in found if each is not None}

    def _install(self, name: str, objects: Mapping[str, bytes]) -> None:
        if name in TABLES:
            return replace(self.folder / name, objects[name])
        files = {key.rpartition("/")[2]: data for key, data in objects.items()}
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            former = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.folder))
            target.rename(former / "former")
            shutil.rmtree(former, ignore_errors=True)
        return place_folder(target, files, self.folder)


class _Fetched(msgspec.Struct):
    place: str
    etags: dict[str, str]


def _folders(names: Mapping[str, str]) -> list[str]:
    """The folders of versions and references that have a manifest among the objects."""
    matches = (_WHOLE.fullmatch(name) for name in names)
    found = [match[1] for match in matches if match and match[2] == MANIFEST]
    return [name for name in found if name.startswith(f"{REFERENCES}/") or VERSION_NAME.fullmatch(name)]


def _of_folder(names: Mapping[str, str], folder: str) -> list[str]:
    """The objects of a folder; those only whose names a file of an artefact can have."""
    inside = [name for name in names if name.startswith(f"{folder}/")]
    return [name for name in inside if FILE_NAME.fullmatch(name[len(folder) + 1 :])]


def _folders_in(root: Path) -> set[str]:
    versions = {path.name for path in root.iterdir() if VERSION_NAME.fullmatch(path.name) and path.is_dir()}
    references = root / REFERENCES
    later = {f"{REFERENCES}/{path.name}" for path in references.iterdir()} if references.is_dir() else set()
    return versions | later


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
