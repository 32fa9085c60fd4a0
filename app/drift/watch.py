"""Drift detection for one version: its inputs, answers and errors, with one false-alarm promise over all of them."""

from __future__ import annotations

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.drift.callers import Callers
from app.drift.detector import acknowledge, advance
from app.drift.detector_state import WINDOW, DetectorState, Moments, new_state
from app.drift.errors import ErrorState, acknowledge_errors, advance_errors, declared_anew, new_errors
from app.drift.evidence import alarm_wealth
from app.drift.keys import category_keys, numeric_keys, row_keys
from app.drift.output_keys import output_columns
from app.drift.reference import DriftReference
from app.drift.walks import Walks

# Bounds the memory of a large file, and is no less than a page of the log; the state does not depend on it.
_ROWS_AT_ONCE = 5000


class DriftState(msgspec.Struct, frozen=True, kw_only=True):
    """The detection state of one version between two batches; survives JSON and MessagePack without loss."""

    inputs: DetectorState
    outputs: DetectorState | None = None
    errors: ErrorState | None = None

    @property
    def alarm(self) -> bool:
        """Whether any change is proven that has neither been acknowledged nor cleared."""
        return any(part is not None and part.alarm for part in (self.inputs, self.outputs, self.errors))

    @property
    def alarms(self) -> int:
        """The number of alarms raised so far, cleared ones too."""
        return sum(part.alarms for part in (self.inputs, self.outputs, self.errors) if part is not None)


def watched_streams(reference: DriftReference) -> int:
    """The number of streams that share the false-alarm promise: D."""
    outputs = 0 if reference.outputs is None else len(reference.outputs.streams)
    return len(reference.inputs.streams) + outputs + (reference.errors is not None)


def start(reference: DriftReference, window: int = WINDOW) -> DriftState:
    """The state before the first request; histograms and scores cover the last `window` requests."""
    errors = reference.errors
    return DriftState(
        inputs=new_state(reference.inputs, window),
        outputs=None if reference.outputs is None else new_state(reference.outputs, window),
        errors=None if errors is None else new_errors(errors.errors, errors.rows),
    )


def fits(reference: DriftReference, state: DriftState) -> bool:
    """Whether `state` was made with this reference and this release; if not, it must be started again."""
    fresh = start(reference, state.inputs.window)
    return state.inputs.rules == fresh.inputs.rules and _sizes(state) == _sizes(fresh)


def update(
    reference: DriftReference,
    state: DriftState,
    rows: np.ndarray,
    outputs: Outputs | None = None,
    at_us: np.ndarray | None = None,
    callers: Callers | None = None,
    moments: Moments | None = None,
    walks: Walks | None = None,
) -> DriftState:
    """The state after `rows` (as `RowParser` gives them), in log order, served at `at_us` (µs since 1970).

    `outputs` are this version's answers to these rows, None if they are not known. Without `callers` each row is a
    request of its own. The state does not depend on how the log is cut into calls. `moments` are those of the inputs,
    `walks` those of other parts through the same rows.
    """
    inputs, level = state.inputs, alarm_wealth(watched_streams(reference))
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        keys = input_keys(reference, rows[part])
        inputs = advance(
            reference.inputs,
            inputs,
            keys,
            level=level,
            at_us=None if at_us is None else at_us[part],
            callers=None if callers is None else callers.part(part),
            moments=moments,
            walks=walks,
        )
    state = msgspec.structs.replace(state, inputs=inputs)
    return state if outputs is None else update_outputs(reference, state, outputs, at_us, callers)


def update_outputs(
    reference: DriftReference,
    state: DriftState,
    outputs: Outputs,
    at_us: np.ndarray | None = None,
    callers: Callers | None = None,
    moments: Moments | None = None,
    walks: Walks | None = None,
) -> DriftState:
    """The state after this version's answers, in log order; unchanged if the reference has none to compare with."""
    if reference.outputs is None or state.outputs is None:
        return state
    keys = output_keys(reference, outputs)
    # Answers without the probabilities that the reference has, or with more, cannot be ranked against it.
    if keys.shape[1] != len(reference.outputs.streams):
        return state
    level = alarm_wealth(watched_streams(reference))
    after = advance(
        reference.outputs,
        state.outputs,
        keys,
        level=level,
        at_us=at_us,
        callers=callers,
        moments=moments,
        walks=walks,
    )
    return msgspec.structs.replace(state, outputs=after)


def update_labels(
    reference: DriftReference,
    state: DriftState,
    wrong: np.ndarray,
    at_us: np.ndarray | None = None,
    *,
    declared: bool = True,
) -> DriftState:
    """The state after labels of this version's answers, in the order in which they were processed.

    `declared`: it was declared that labels do not depend on the answer; otherwise they raise no alarm.
    """
    errors, norm = state.errors, reference.errors
    if errors is None or norm is None or not len(wrong):
        return state
    if declared and not errors.declared:
        errors = declared_anew(errors, norm.errors, norm.rows)
    errors = msgspec.structs.replace(errors, declared=declared)
    level = alarm_wealth(watched_streams(reference))
    return msgspec.structs.replace(state, errors=advance_errors(errors, wrong, level=level, at_us=at_us))


def acknowledge_all(state: DriftState, at_us: int) -> DriftState:
    """The state with every alarm acknowledged at `at_us` (µs since 1970)."""
    return DriftState(
        inputs=acknowledge(state.inputs, at_us),
        outputs=None if state.outputs is None else acknowledge(state.outputs, at_us),
        errors=None if state.errors is None else acknowledge_errors(state.errors, at_us),
    )


def input_keys(reference: DriftReference, rows: np.ndarray) -> np.ndarray:
    """The keys of `rows` in every input stream, shape (n, streams)."""
    # Streams first in memory, as all that follows goes along the rows.
    keys = np.ascontiguousarray(row_keys(rows, [cells.ranks for cells in reference.inputs.cells]).T)
    return (keys if reference.transform is None else np.concatenate([keys, reference.transform.values(keys.T).T])).T


def output_keys(reference: DriftReference, outputs: Outputs) -> np.ndarray:
    """The keys of answers in every output stream, shape (n, streams)."""
    assert reference.outputs is not None
    keys = []
    columns = output_columns(reference.classes, outputs, reference.answer_digits)
    for cells, column in zip(reference.outputs.cells, columns, strict=False):
        ranks = cells.ranks
        found = numeric_keys(column.values) if ranks is None else category_keys(column.values, ranks)
        keys.append(column.each(found))
    return np.stack(keys, axis=1)


def _sizes(state: DriftState) -> list[dict[str, int] | None]:
    """The lengths of a state's arrays, which never change; the streams of an alarm come and go."""
    parts = (state.inputs, state.outputs, state.errors)
    fields = [None if part is None else msgspec.structs.asdict(part) for part in parts]
    return [part and {name: len(value) for name, value in part.items() if isinstance(value, bytes)} for part in fields]
