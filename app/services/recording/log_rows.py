"""Makes the rows of the log: each prediction with the answers of all compatible versions.

The versions that did not serve are run here, many rows in one call (shadow), so that one label scores every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from app.domain.prediction import Exposure, Outputs
from app.services.boundaries import attempt
from app.services.ports import LoadedModels, LoadedVersion, LoggedPrediction

# What the log keeps of one answer: {"c": class id, "p": [probabilities]} or {"v": number}.
Answer = Mapping[str, object]
OnFailure = Callable[[str, Exception], None]


def answers_of(
    exposures: Sequence[Exposure], version: str, loaded_models: LoadedModels, on_failure: OnFailure
) -> list[dict[str, Answer]]:
    """Each row's answers by version: that of `version`, which served all of `exposures`, and its compatible versions'.

    A version that fails is left out of the exposures that it could not answer; `on_failure` is called for each.
    """
    served = _as_answers(_merged([exposure.outputs for exposure in exposures]), sum(map(len, exposures)))
    by_version: dict[str, list[Answer | None]] = {version: [*served]}
    if version in loaded_models.compatible:
        for name in loaded_models.compatible:
            if name != version:
                by_version[name] = _ask(loaded_models.versions[name], exposures, on_failure)
    names = tuple(by_version)
    return [
        {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}
        for answers in zip(*by_version.values(), strict=True)
    ]


def _ask(version: LoadedVersion, exposures: Sequence[Exposure], on_failure: OnFailure) -> list[Answer | None]:
    """The version's answers, None where it failed. After an error, each half is tried on its own.

    So one row that a model cannot take costs only its own answer.
    """
    answers = attempt(_asked, version, exposures)
    if not isinstance(answers, Exception):
        return answers
    if len(exposures) == 1:
        on_failure(version.name, answers)
        return [None] * len(exposures[0])
    middle = len(exposures) // 2
    return _ask(version, exposures[:middle], on_failure) + _ask(version, exposures[middle:], on_failure)


def _asked(version: LoadedVersion, exposures: Sequence[Exposure]) -> list[Answer | None]:
    rows = np.concatenate([exposure.rows for exposure in exposures])
    return [*_as_answers(version.runtime.predict(rows), len(rows))]


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
    """One row of the log for each prediction, in the order of `exposures`, with every compatible version's answer.

    A missing number (NaN) is null in the JSON. Raises the encoder's errors for a value that JSON cannot express.
    """
    rows_of: dict[int, list[LoggedPrediction]] = {}
    for version in {exposure.version: None for exposure in exposures}:
        places = [place for place, exposure in enumerate(exposures) if exposure.version == version]
        group = [exposures[place] for place in places]
        answers = _lines(answers_of(group, version, loaded_models, on_failure))
        features = _lines([row for exposure in group for row in exposure.rows.tolist()])
        start = 0
        for place, exposure in zip(places, group, strict=True):
            end = start + len(exposure)
            rows_of[place] = _rows(exposure, features[start:end], answers[start:end])
            start = end
    return [row for place in range(len(exposures)) for row in rows_of[place]]


def _lines(values: list) -> list[str]:
    """Each value's JSON; one call for all is several times cheaper than one each."""
    # Not splitlines(): it also cuts at characters, such as U+2028, that JSON does not escape.
    return _ENCODER.encode_lines(values).decode().split("\n")[:-1]


def _rows(exposure: Exposure, features: list[str], answers: list[str]) -> list[LoggedPrediction]:
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
        )
        for prediction_id, row, answer in zip(exposure.prediction_ids, features, answers, strict=True)
    ]
