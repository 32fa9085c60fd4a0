"""What a folder is: it folds the log's events into derived state of its own, with a cursor of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from app.domain.derived import Changes, UserFact
from app.domain.experiment import Configuration
from app.domain.log_event import Event


class DerivedReads(Protocol):
    """What a folder may read while it folds: what it wrote before, and the configurations. Raises `StoreUnavailable`.

    Nothing else of the log: what a fold gives must depend on the events alone, or a replay would differ.
    """

    def states(self, names: Iterable[str]) -> dict[str, str]: ...

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]: ...

    def configurations(self, epochs: Iterable[int]) -> dict[int, Configuration]: ...

    def first_configuration(self, experiment_id: str) -> Configuration | None: ...


class Folder(Protocol):
    """One member of the monitor. `name` is where its cursor and states are kept.

    `fold` gives the changes after `events`, which follow in order on those that it was given before. However they are
    cut into calls, the state must be the same to the last bit. A call may be repeated: it must remember nothing.
    """

    name: str

    def fold(self, events: Sequence[Event], reads: DerivedReads) -> Changes: ...
