"""Small parts that both the api and its workers are made of."""

from __future__ import annotations

import shutil
import time
from typing import NamedTuple

from app.errors import StoreUnavailable
from app.inference.registry import ModelRegistry
from app.observe.state import HostCondition
from app.services.serving.breaker import Breaker
from app.settings import Settings
from app.store.engine import Database
from app.store.host_files import SharedGenerations
from app.store.keys import Keys
from app.store.reports import MonitorReads


class Shared(NamedTuple):
    """What is made once before the fork and holds nothing that may not cross it."""

    settings: Settings
    keys: Keys
    registry: ModelRegistry
    database: Database


def generations(settings: Settings) -> SharedGenerations:
    """The marker by which the workers of a host tell each other to look at the shelf again."""
    return SharedGenerations(settings.data_dir / "reload")


def breaker(settings: Settings) -> Breaker:
    """A version's circuit breaker."""
    return Breaker(settings.breaker_failures, settings.breaker_open_s, time.monotonic)


def store_complaint(database: Database) -> str | None:
    """What keeps the store from being written, None where it can be."""
    try:
        database.probe()
    except StoreUnavailable as error:
        return error.message
    return None


def host_condition(settings: Settings, database: Database) -> HostCondition:
    """Whether the store takes a write, and how much room is left where it lies."""
    writable = store_complaint(database) is None
    try:
        room = shutil.disk_usage(settings.data_dir)
    except OSError:
        return HostCondition(store_writable=writable)
    return HostCondition(store_writable=writable, disk_free_bytes=room.free, disk_size_bytes=room.total)


def monitor_age_s(reads: MonitorReads) -> float | None:
    """How old the monitor's state is, in seconds; None where it cannot be told."""
    try:
        return reads.age_s()
    except StoreUnavailable:
        return None
