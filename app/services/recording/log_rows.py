"""Makes the rows of the log: each prediction with the answers of all compatible versions.

The versions that did not serve are run here, many rows in one call (shadow), so that one label scores every version.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

import msgspec
import numpy as np

from app.domain.columns import Reading
from app.domain.layouts import Layout
from app.domain.prediction import CIRCUIT_OPEN, Exposure, Outputs
from app.services.boundaries import attempt
from app.services.ports import LoadedModels, LoadedVersion, LoggedPrediction

# What the log keeps of one answer: {"c": class id, "p": [probabilities]} or {"v": number}.
Answer = Mapping[str, object]
OnFailure = Callable[[str, Exception], None]
# By row, the versions that were asked and gave no answer. Empty nearly always: rows that all answered are absent.
Failed = dict[int, list[str]]
# The most calls with which one version's failing rows are found: enough for each row of a batch of 2,048, and for a few
# failing rows in any batch. Rows that these calls do not separate have failed together, as a served batch does.
_MOST_CALLS = 4096


class NotFinite(ValueError):
    """A version answered with NaN or infinity."""


def answers_of(
    exposures: Sequence[Exposure], version: str, loaded_models: LoadedModels, on_failure: OnFailure
) -> tuple[list[dict[str, Answer]], Failed]:
    """Each row's answers by version: that of `version`, which served all of `exposures`, and those of the others.

    All exposures have the same layout. Other versions are asked if they have all of their columns in it.
    Also the versions that failed: when they were to serve, or here, in shadow. A version that raised when it was to
    serve is not asked again; one that was not asked then, because its circuit breaker was open, is asked here.
    `on_failure` is called once for each exposure with rows that a version could not answer here.
    """
    borders = [*accumulate(map(len, exposures), initial=0)]
    by_version: dict[str, list[Answer | None]] = {
        version: [*_as_answers(_merged([exposure.outputs for exposure in exposures]), borders[-1])]
    }
    raised = {place: _raised(exposure) for place, exposure in enumerate(exposures) if exposure.failures}
    failed = _by_row(raised, borders)
    readers = exposures[0].layout.readers
    others = _others(version, loaded_models, readers)
    if others:
        rows = np.concatenate([exposure.rows for exposure in exposures])
        for name in others:
            spans = _spans_to_ask(name, raised, borders)
            own_rows = readers[name].rows(rows)
            by_version[name], errors = _ask(loaded_models.versions[name], own_rows, borders, spans)
            for row in errors:
                failed.setdefault(row, []).append(name)
            _report(name, errors, borders, on_failure)
    names = tuple(by_version)
    answers = [
        {name: answer for name, answer in zip(names, row_answers, strict=True) if answer is not None}
        for row_answers in zip(*by_version.values(), strict=True)
    ]
    return answers, failed


def _others(version: str, loaded_models: LoadedModels, readers: Mapping[str, Reading]) -> list[str]:
    """The versions to ask in shadow: the compatible ones that can read the rows, if the one that served is compatible.

    One that was loaded after the rows were parsed is not among the readers.
    """
    if version not in loaded_models.compatible:
        return []
    return [name for name in loaded_models.compatible if name != version and name in readers]


def _raised(exposure: Exposure) -> list[str]:
    """The versions that were asked to serve these rows and failed."""
    return [failure.version for failure in exposure.failures if failure.reason != CIRCUIT_OPEN]


def _by_row(raised: Mapping[int, Sequence[str]], borders: Sequence[int]) -> Failed:
    """The versions that failed to serve an exposure, for each row of it."""
    failed: Failed = {}
    for place, versions in raised.items():
        failed.update((row, [*versions]) for row in range(borders[place], borders[place + 1]) if versions)
    return failed


def _spans_to_ask(name: str, raised: Mapping[int, Sequence[str]], borders: Sequence[int]) -> list[tuple[int, int]]:
    """The spans of rows to ask the version in shadow: all rows at once, or each exposure's if it raised for some."""
    if not any(name in versions for versions in raised.values()):
        return [(0, borders[-1])]
    return [span for place, span in enumerate(pairwise(borders)) if name not in raised.get(place, ())]


def _ask(
    version: LoadedVersion, rows: np.ndarray, borders: Sequence[int], spans: Sequence[tuple[int, int]]
) -> tuple[list[Answer | None], dict[int, Exception]]:
    """The version's answers to the rows in `spans`, None elsewhere and where it failed, and the errors by row.

    After an error, each half is asked on its own, so one row that a model cannot take costs only its own answer.
    Broad spans go first, so that the limit on calls leaves no large part unseparated.
    """
    answers: list[Answer | None] = [None] * len(rows)
    errors: dict[int, Exception] = {}
    waiting = deque(spans)
    calls = 0
    while waiting:
        start, end = waiting.popleft()
        calls += 1
        found = attempt(_asked, version, rows[start:end])
        if not isinstance(found, Exception):
            answers[start:end] = found
            if None in found:
                errors.update((row, NotFinite("NaN or infinity")) for row in range(start, end) if answers[row] is None)
        elif end - start == 1 or calls + len(waiting) + 2 > _MOST_CALLS:
            errors.update(dict.fromkeys(range(start, end), found))
        else:
            middle = _middle(borders, start, end)
            waiting += ((start, middle), (middle, end))
    return answers, errors


def _middle(borders: Sequence[int], start: int, end: int) -> int:
    """Where to halve the span: between two exposures if it has several, else between two rows."""
    inner = borders[bisect_right(borders, start) : bisect_left(borders, end)]
    return inner[len(inner) // 2] if inner else (start + end) // 2


def _asked(version: LoadedVersion, rows: np.ndarray) -> list[Answer | None]:
    """The version's answers, None for one that is not finite."""
    outputs = version.runtime.predict(rows)
    answers: list[Answer | None] = [*_as_answers(outputs, len(rows))]
    numbers = outputs.probabilities if outputs.values is None else outputs.values
    if numbers is not None and not np.isfinite(numbers).all():
        finite = np.isfinite(numbers).reshape(len(rows), -1).all(axis=1).tolist()
        return [answer if is_finite else None for answer, is_finite in zip(answers, finite, strict=True)]
    return answers


def _report(name: str, errors: Mapping[int, Exception], borders: Sequence[int], on_failure: OnFailure) -> None:
    for start, end in pairwise(borders) if errors else ():
        error = next((errors[row] for row in range(start, end) if row in errors), None)
        if error is not None:
            on_failure(name, error)


def _merged(outputs: Sequence[Outputs]) -> Outputs:
    """One version's outputs, concatenated: one conversion of arrays to lists is several times cheaper than many."""
    return Outputs(
        class_ids=_joined([each.class_ids for each in outputs]),
        probabilities=_joined([each.probabilities for each in outputs]),
        values=_joined([each.values for each in outputs]),
    )


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None


def _as_answers(outputs: Outputs, rows: int) -> list[Answer]:
    """The outputs row by row. Raises `ValueError` where they are not of `rows` rows."""
    if outputs.values is not None:
        answers: list[Answer] = [{"v": value} for value in outputs.values.tolist()]
    elif outputs.class_ids is None:
        raise ValueError("the outputs hold neither classes nor values")
    elif outputs.probabilities is None:
        answers = [{"c": class_id} for class_id in outputs.class_ids.tolist()]
    else:
        pairs = zip(outputs.class_ids.tolist(), outputs.probabilities.tolist(), strict=True)
        answers = [{"c": class_id, "p": probabilities} for class_id, probabilities in pairs]
    if len(answers) != rows:
        raise ValueError(f"{len(answers)} answers to {rows} rows")
    return answers


_ENCODER = msgspec.json.Encoder()


def log_rows(
    exposures: Sequence[Exposure], loaded_models: LoadedModels, on_failure: OnFailure
) -> list[LoggedPrediction]:
    """One row of the log for each prediction, in the order of `exposures`, with the answers of all that can read it.

    A missing value (NaN) is null in the JSON. Raises the encoder's errors for a value that JSON cannot express.
    """
    rows_of: dict[int, list[LoggedPrediction]] = {}
    groups: dict[tuple[str, Layout], list[int]] = {}
    for place, exposure in enumerate(exposures):
        groups.setdefault((exposure.version, exposure.layout), []).append(place)
    for (version, _), places in groups.items():
        group = [exposures[place] for place in places]
        found, failed = answers_of(group, version, loaded_models, on_failure)
        answers = _lines(found)
        features = _lines([row for exposure in group for row in exposure.rows.tolist()])
        marks = _marks(failed, len(found))
        start = 0
        for place, exposure in zip(places, group, strict=True):
            end = start + len(exposure)
            rows_of[place] = _rows(exposure, features[start:end], answers[start:end], marks[start:end])
            start = end
    return [row for place in range(len(exposures)) for row in rows_of[place]]


def _lines(values: list) -> list[str]:
    """Each value's JSON; one call for all is several times cheaper than one each."""
    # Not splitlines(): it also cuts at characters, such as U+2028, that JSON does not escape.
    return _ENCODER.encode_lines(values).decode().split("\n")[:-1]


def _marks(failed: Failed, rows: int) -> list[str | None]:
    """What the log says of failures, row by row; None where there was none."""
    marks: list[str | None] = [None] * rows
    for row, versions in failed.items():
        marks[row] = _ENCODER.encode(versions).decode()
    return marks


def _rows(
    exposure: Exposure, features: list[str], answers: list[str], failed: list[str | None]
) -> list[LoggedPrediction]:
    keys: Sequence[str | None] = exposure.keys or [None] * len(answers)
    layout = exposure.layout.logged_for(exposure.version)
    lacking = exposure.layout.lacking_text
    latency_us = round(exposure.latency_s * 1e6)
    return [
        LoggedPrediction(
            prediction_id,
            exposure.served_at_us,
            exposure.request_id,
            exposure.epoch,
            exposure.version,
            exposure.chosen,
            exposure.assignment,
            exposure.propensity,
            exposure.counts,
            exposure.synthetic,
            exposure.user_hash,
            row,
            answer,
            latency_us,
            own_key,
            failed_versions,
            layout,
            lacking,
        )
        for prediction_id, row, answer, own_key, failed_versions in zip(
            exposure.prediction_ids, features, answers, keys, failed, strict=True
        )
    ]
