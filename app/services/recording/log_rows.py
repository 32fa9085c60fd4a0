"""Makes the rows of the log: each prediction with the answers of all compatible versions.

The versions that did not serve are run here, many rows in one call (shadow), so that one label scores every version.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from app.domain.layouts import Layout
from app.domain.logged_rows import AnswersPart, LoggedBatch, LoggedPrediction, RowBlock
from app.domain.prediction import CIRCUIT_OPEN, REPORTED, Exposure, Outputs, ReportedExposure
from app.services.boundaries import attempt
from app.services.ports import LoadedModels, LoadedVersion

OnFailure = Callable[[str, Exception], None]
# By row, the versions that were asked and gave no answer. Empty nearly always: rows that all answered are absent.
Failed = dict[int, list[str]]
# Enough calls for each row of a batch of 2,048, and for a few failing rows in any batch. Rows that these calls do not
# separate have failed together, as a served batch does.
MOST_CALLS = 4096


class NotFinite(ValueError):
    """A version answered with NaN or infinity."""


def log_rows(
    exposures: Sequence[Exposure], loaded_models: LoadedModels, on_failure: OnFailure, most_calls: int = MOST_CALLS
) -> list[Sequence[LoggedPrediction]]:
    """A row of the log for each prediction, with the answers of all versions that can read it; a batch for each layout.

    With up to `most_calls` calls, one version's failing rows are found; what these do not separate fails together.
    A missing value (NaN) is null in the log. Raises `ValueError` for outputs that are not those of the rows, and the
    encoder's errors for a value that JSON cannot express.
    """
    by_layout: dict[Layout, list[Exposure]] = {}
    for exposure in exposures:
        by_layout.setdefault(exposure.layout, []).append(exposure)
    blocks = [_block(group, loaded_models, on_failure, most_calls) for group in by_layout.values()]
    # Texts are made here for whatever is not an array of numbers: if they cannot be, the store never sees the row.
    return [LoggedBatch([block]) if _is_of_numbers(block) else block.rows() for block in blocks]


def reported_rows(exposures: Sequence[ReportedExposure]) -> list[LoggedPrediction]:
    """A row of the log for each exposure that a caller reported: it has no features, and no version was asked."""
    return [
        LoggedPrediction(
            prediction_id=each.prediction_id,
            served_at_us=each.served_at_us,
            request_id=each.request_id,
            epoch=each.epoch,
            version=each.version,
            chosen=each.version,
            assignment=REPORTED,
            propensity=each.propensity,
            counts=each.counts,
            synthetic=each.synthetic,
            user_hash=each.user_hash,
            features="[]",
            answers="{}",
            latency_us=0,
        )
        for each in exposures
    ]


def _is_of_numbers(block: RowBlock) -> bool:
    return _is_float(block.features) and all(
        (part.outputs.class_ids is None or part.outputs.class_ids.dtype.kind in "iu")
        and _is_float(part.outputs.probabilities)
        and _is_float(part.outputs.values)
        for parts in block.answers.values()
        for part in parts
    )


def _is_float(values: np.ndarray | None) -> bool:
    return values is None or (values.dtype.kind == "f" and values.dtype.itemsize <= 8)


class _Group(NamedTuple):
    """Exposures of one layout, and the borders of their rows; by place, or the places by version.

    `raised` are the versions that were to serve an exposure and failed, `served` those that answered.
    """

    exposures: Sequence[Exposure]
    borders: Sequence[int]
    raised: Mapping[int, Sequence[str]]
    served: Mapping[str, list[int]]


def _grouped(exposures: Sequence[Exposure], rows: int) -> _Group:
    served: dict[str, list[int]] = {}
    for place, exposure in enumerate(exposures):
        served.setdefault(exposure.version, []).append(place)
    raised = {place: _raised(exposure) for place, exposure in enumerate(exposures) if exposure.failures}
    return _Group(exposures, _borders(exposures, rows), raised, served)


def _block(
    exposures: Sequence[Exposure], loaded_models: LoadedModels, on_failure: OnFailure, most_calls: int
) -> RowBlock:
    """The rows of one layout, with the answers of the versions that served them, and of the others.

    Other versions are asked if the version that served is compatible and they have all of their columns in the layout.
    A version that raised when it was to serve is not asked again; one that was not asked then, because its circuit
    breaker was open, is asked here. `on_failure` is called once for each exposure with rows that a version could not
    answer here.
    """
    features = exposures[0].rows if len(exposures) == 1 else np.concatenate([each.rows for each in exposures])
    group = _grouped(exposures, len(features))
    failed = _by_row(group.raised, group.borders)
    readers, compatible = exposures[0].layout.readers, loaded_models.compatible
    # One that was loaded after the rows were parsed is not among the readers.
    names = [name for name in compatible if name in readers or name in group.served]
    answers: dict[str, list[AnswersPart]] = {name: [] for name in (*names, *group.served)}
    for name, places in group.served.items():
        answers[name].append(_served(group, places))
    for name in names:
        places = _to_ask(name, group, compatible) if name in readers else []
        if not places:
            continue
        rows = _rows_at(places, group.borders)
        borders = _borders([exposures[place] for place in places], len(rows))
        given = features if len(rows) == len(features) else features[rows]
        parts, errors = _ask(loaded_models.versions[name], readers[name].rows(given), borders, most_calls)
        answers[name] += [AnswersPart(rows[part.places], part.outputs) for part in parts]
        for row in errors:
            failed.setdefault(int(rows[row]), []).append(name)
        _report(name, errors, borders, on_failure)
    return RowBlock(exposures, features, {name: parts for name, parts in answers.items() if parts}, failed)


def _borders(exposures: Sequence[Exposure], rows: int) -> Sequence[int]:
    """Where the rows of each exposure begin, and the last ones end."""
    return range(rows + 1) if rows == len(exposures) else [*accumulate(map(len, exposures), initial=0)]


def _served(group: _Group, places: Sequence[int]) -> AnswersPart:
    """The answers that went out for the exposures at these places, all of one version."""
    rows = _rows_at(places, group.borders)
    outputs = _merged([group.exposures[place].outputs for place in places])
    _require(outputs, len(rows))
    return AnswersPart(rows, outputs)


def _to_ask(name: str, group: _Group, compatible: Collection[str]) -> list[int]:
    """The places of the exposures that compatible other versions served, and that this one did not fail to serve."""
    others = (places for version, places in group.served.items() if version != name and version in compatible)
    found = sorted(place for places in others for place in places)
    return [place for place in found if name not in group.raised.get(place, ())] if group.raised else found


def _rows_at(places: Sequence[int], borders: Sequence[int]) -> np.ndarray:
    """The rows of the exposures at these places."""
    if borders[-1] == len(borders) - 1:  # a row each
        return np.array(places, np.intp)
    return np.concatenate([np.arange(borders[place], borders[place + 1]) for place in places])


def _raised(exposure: Exposure) -> list[str]:
    """The versions that were asked to serve these rows and failed."""
    return [failure.version for failure in exposure.failures if failure.reason != CIRCUIT_OPEN]


def _by_row(raised: Mapping[int, Sequence[str]], borders: Sequence[int]) -> Failed:
    """The versions that failed to serve an exposure, for each row of it."""
    failed: Failed = {}
    for place, versions in raised.items():
        failed.update((row, [*versions]) for row in range(borders[place], borders[place + 1]) if versions)
    return failed


def _ask(
    version: LoadedVersion, rows: np.ndarray, borders: Sequence[int], most_calls: int
) -> tuple[list[AnswersPart], dict[int, Exception]]:
    """The version's answers, in parts that cover the rows that it could answer, and the errors by row.

    After an error, each half is asked on its own, so one row that a model cannot take costs only its own answer.
    Broad spans go first, so that the limit on calls leaves no large part unseparated.
    """
    parts: list[AnswersPart] = []
    errors: dict[int, Exception] = {}
    waiting = deque([(0, len(rows))])
    calls = 0
    while waiting:
        start, end = waiting.popleft()
        calls += 1
        found = attempt(_asked, version, rows[start:end])
        if not isinstance(found, Exception):
            places = start + found.places
            if len(places) < end - start:
                missing = set(range(start, end)).difference(places.tolist())
                errors.update((row, NotFinite("NaN or infinity")) for row in sorted(missing))
            parts.append(AnswersPart(places, found.outputs))
        elif end - start == 1 or calls + len(waiting) + 2 > most_calls:
            errors.update(dict.fromkeys(range(start, end), found))
        else:
            middle = _middle(borders, start, end)
            waiting += ((start, middle), (middle, end))
    return parts, errors


def _middle(borders: Sequence[int], start: int, end: int) -> int:
    """Where to halve the span: between two exposures if it has several, else between two rows."""
    inner = borders[bisect_right(borders, start) : bisect_left(borders, end)]
    return inner[len(inner) // 2] if inner else (start + end) // 2


def _asked(version: LoadedVersion, rows: np.ndarray) -> AnswersPart:
    """The version's answers to the rows that it has finite ones for."""
    outputs = version.runtime.predict(rows)
    _require(outputs, len(rows))
    numbers = outputs.probabilities if outputs.values is None else outputs.values
    places = np.arange(len(rows))
    if numbers is not None and not np.isfinite(numbers).all():
        places = places[np.isfinite(numbers).reshape(len(rows), -1).all(axis=1)]
        outputs = outputs.at(places)
    return AnswersPart(places, outputs)


def _report(name: str, errors: Mapping[int, Exception], borders: Sequence[int], on_failure: OnFailure) -> None:
    for start, end in pairwise(borders) if errors else ():
        error = next((errors[row] for row in range(start, end) if row in errors), None)
        if error is not None:
            on_failure(name, error)


def _merged(outputs: Sequence[Outputs]) -> Outputs:
    """One version's outputs, concatenated: one conversion of arrays to lists is several times cheaper than many."""
    if len(outputs) == 1:
        return outputs[0]
    return Outputs(
        class_ids=_joined([each.class_ids for each in outputs]),
        probabilities=_joined([each.probabilities for each in outputs]),
        values=_joined([each.values for each in outputs]),
    )


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None


def _require(outputs: Outputs, rows: int) -> None:
    """Raise `ValueError` where the outputs are not of `rows` rows."""
    answers = outputs.class_ids if outputs.values is None else outputs.values
    if answers is None:
        raise ValueError("the outputs hold neither classes nor values")
    lengths = {len(answers), len(answers if outputs.probabilities is None else outputs.probabilities)}
    if lengths != {rows}:
        raise ValueError(f"{max(lengths - {rows})} answers to {rows} rows")
