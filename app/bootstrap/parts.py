"""Small parts that the api and its workers share."""

from __future__ import annotations

import shutil
import time
from typing import NamedTuple

import msgspec

from app.domain.report import MonitorLag
from app.errors import StoreUnavailable
from app.inference.registry import ModelRegistry
from app.observe.state import HostCondition
from app.services.ports import Generations
from app.services.serving.breaker import Breaker
from app.settings import Settings
from app.store.deployment import DeploymentKey, StoredGenerations
from app.store.engine import Database
from app.store.host_files import SharedGenerations
from app.store.keys import Keys
from app.store.reports import MonitorReads
from app.store.stamps import stamped_at_s


class Shared(NamedTuple):
    """Made once before the fork; none of it has threads, open files or connections, which must not cross a fork."""

    settings: Settings
    keys: Keys
    registry: ModelRegistry
    database: Database
    key: DeploymentKey


def generations(shared: Shared) -> Generations:
    """By which one worker makes all others load the model registry again: those of the host, or of all on a server."""
    if shared.database.kind.server is None:
        return SharedGenerations(shared.settings.data_dir / "reload")
    return StoredGenerations(shared.database, admit=shared.key.admit)


def generation_now(shared: Shared) -> str:
    """The generation of the models that are loaded next; empty where the store cannot be asked."""
    try:
        return generations(shared).current()
    except StoreUnavailable:
        return ""


def breaker(settings: Settings) -> Breaker:
    """A version's circuit breaker."""
    return Breaker(settings.breaker_failures, settings.breaker_open_s, time.monotonic)


def store_complaint(database: Database, key: DeploymentKey) -> str | None:
    """Why the store cannot be written; None where it can be."""
    try:
        key.admit()
        database.probe()
    except StoreUnavailable as error:
        return error.message
    return None


def host_condition(settings: Settings, database: Database, key: DeploymentKey) -> HostCondition:
    """Whether the store can be written, the room on its disk, the last backup, archive and drill (None: unknown)."""
    condition = HostCondition(
        store_writable=store_complaint(database, key) is None,
        backup_at_s=stamped_at_s(settings.data_dir, "backup"),
        archive_at_s=stamped_at_s(settings.data_dir, "archive"),
        restore_drill_at_s=stamped_at_s(settings.data_dir, "restore_drill"),
    )
    try:
        room = shutil.disk_usage(settings.data_dir)
    except OSError:
        return condition
    return msgspec.structs.replace(condition, disk_free_bytes=room.free, disk_size_bytes=room.total)


def monitor_lag(reads: MonitorReads) -> MonitorLag | None:
    """How far the monitor is behind; None where the store is unavailable."""
    try:
        return reads.lag()
    except StoreUnavailable:
        return None
