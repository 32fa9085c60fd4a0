"""Turn what was served into rows of the log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.domain.prediction import Exposure
from app.services.ports import Fleet, LoggedPrediction
from app.services.shadow import OnFailure, answers_of

_ENCODER = msgspec.json.Encoder()


def log_rows(exposures: Sequence[Exposure], fleet: Fleet, on_failure: OnFailure) -> list[LoggedPrediction]:
    """One row for each prediction, in the order of serving, with every peer's answer to it.

    A missing number (NaN) is null in the JSON. Raises what encoding raises where a value has no JSON form.
    """
    rows_of: dict[int, list[LoggedPrediction]] = {}
    for version in {exposure.version: None for exposure in exposures}:
        places = [place for place, exposure in enumerate(exposures) if exposure.version == version]
        group = [exposures[place] for place in places]
        answers = _lines(answers_of(group, version, fleet, on_failure))
        features = _lines([row for exposure in group for row in exposure.rows.tolist()])
        start = 0
        for place, exposure in zip(places, group, strict=True):
            end = start + len(exposure)
            rows_of[place] = _rows(exposure, features[start:end], answers[start:end])
            start = end
    return [row for place in range(len(exposures)) for row in rows_of[place]]


def _lines(values: list) -> list[str]:
    """Each value's JSON; one call for all is several times cheaper than one each.

    JSON escapes line feeds, but not the other characters at which `splitlines` would cut.
    """
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
