"""How long a published version takes for a single row, beside the champion: in the runtimes that will serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from app.domain.columns import reading
from app.errors import ArtefactRefused, UnknownVersion
from app.inference.loader import CHAMPION, example_rows, load_version
from app.inference.registry import ModelRegistry
from app.services.boundaries import attempt
from app.services.ports import LoadedVersion, Runtime

# A slow version is timed less often: each of the two takes about this long at the most, unless five calls take longer.
_BUDGET_S = 2.0
_LEAST_CALLS, _MOST_CALLS = 5, 300

Clock = Callable[[], float]


class SingleRowLatency(msgspec.Struct, frozen=True):
    """The 95th percentile (µs) over single rows; None for the champion where there is none to compare with."""

    p95_us: float
    champion: str | None = None
    champion_p95_us: float | None = None


def timed_versions(
    registry: ModelRegistry, names: Sequence[str], progress: Callable[[str], None]
) -> dict[str, SingleRowLatency]:
    """The latencies of these versions, by name, without those that do not answer. `progress` gets each step."""
    timed = {}
    for name in names:
        progress(f"timing single rows of {name}")
        latency = beside_champion(registry, name)
        if latency is not None:
            timed[name] = latency
    return timed


def beside_champion(registry: ModelRegistry, version: str, clock: Clock = time.perf_counter) -> SingleRowLatency | None:
    """The latencies of `version` and of the champion; None if the version does not answer.

    They answer the same rows if the champion reads no other columns, else each its own examples.
    `clock` is in seconds.
    """
    try:
        loaded = load_version(registry, version)
    except (ArtefactRefused, UnknownVersion):
        return None
    rows = example_rows(registry.manifest(version))
    champion = _champion(registry, version)
    if champion is None:
        return compared(loaded, None, rows, rows, clock)
    # On its own rows where it reads other columns: a row of the new version is none of the champion's.
    reads = reading(champion.contract, loaded.contract.features)
    theirs = example_rows(registry.manifest(champion.name)) if reads is None else reads.rows(rows)
    return compared(loaded, champion, rows, theirs, clock)


def compared(
    version: LoadedVersion,
    champion: LoadedVersion | None,
    rows: np.ndarray,
    champion_rows: np.ndarray,
    clock: Clock,
) -> SingleRowLatency | None:
    """The latencies of two versions on rows of their own, shape (rows, features), each row asked alone."""
    own = attempt(p95_us, version.runtime, rows, clock)
    if isinstance(own, Exception):
        return None
    other = None if champion is None else attempt(p95_us, champion.runtime, champion_rows, clock)
    if champion is None or other is None or isinstance(other, Exception):
        return SingleRowLatency(own)
    return SingleRowLatency(own, champion.name, other)


def p95_us(runtime: Runtime, rows: np.ndarray, clock: Clock) -> float:
    """The 95th percentile (µs) of the time that the runtime takes for one of `rows`. Raises what it raises."""
    began = clock()
    durations: list[float] = []
    while len(durations) < _MOST_CALLS:
        place = len(durations) % len(rows)
        before = clock()
        runtime.predict(rows[place : place + 1])
        after = clock()
        durations.append(after - before)
        if len(durations) >= _LEAST_CALLS and after - began > _BUDGET_S:
            break
    return float(np.quantile(durations, 0.95)) * 1e6


def _champion(registry: ModelRegistry, version: str) -> LoadedVersion | None:
    """The champion, if it is another version and can be loaded."""
    try:
        name = registry.aliases().get(CHAMPION)
        return None if name is None or name == version else load_version(registry, name)
    except (ArtefactRefused, UnknownVersion):
        return None
