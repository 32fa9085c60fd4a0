"""The outputs of the Open Inference Protocol: which ones a request asks for, as lists for JSON or as raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.domain.layouts import RequestColumns
from app.domain.prediction import all_readable, readable
from app.errors import InvalidRequest
from app.services.serving.predictor import ServedPrediction
from app.web.protocols import tensors
from app.web.protocols.row_bodies import predictions_of
from app.web.protocols.tensors import OutputTensor, Parameters

_LONG_TEXT = 60
_ONE = [1]
_PROBABILITIES = "predict_proba"


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that a request asks for."""

    name: str
    parameters: Parameters | None = None


class Wanted(NamedTuple):
    """An output to give: raw or in JSON; `best` is how many classes are to be named in place of the numbers."""

    name: str
    binary: bool
    best: int | None = None


def require_outputs(
    wanted: Sequence[WantedOutput] | None, parameters: Parameters | None, columns: RequestColumns
) -> None:
    """Raise `InvalidRequest` for an output that no version gives, or not in the form that is asked for."""
    _flag(parameters, "binary_data_output")
    known = output_names(columns)
    for each in wanted or ():
        if each.name not in known:
            raise InvalidRequest(f"there is no output {each.name[:_LONG_TEXT]!r}; known are {', '.join(known)}")
        _best(each)
        _flag(each.parameters, "binary_data")
        if "shared_memory_region" in (each.parameters or {}):
            raise InvalidRequest(f"output {each.name!r}: this service has no shared_memory_region")


def output_names(columns: RequestColumns) -> tuple[str, ...]:
    """The outputs that versions may give."""
    scores = (_PROBABILITIES, "class_id") if columns.contract.classes else ()
    return ("predict", *scores, "prediction_id")


def wanted_of(
    wanted: Sequence[WantedOutput] | None, parameters: Parameters | None, served: ServedPrediction
) -> list[Wanted]:
    """The outputs to give: those that are wanted, which `require_outputs` has checked, or else all."""
    binary = _flag(parameters, "binary_data_output")
    if not wanted:
        return [Wanted(name, binary) for name in _names(served)]
    return [Wanted(each.name, _flag(each.parameters, "binary_data", binary), _best(each)) for each in wanted]


def needs_probabilities(wanted: Sequence[WantedOutput] | None) -> bool:
    """Whether only a version with probabilities can answer."""
    return any(each.name == _PROBABILITIES for each in wanted or ())


def _best(wanted: WantedOutput) -> int | None:
    """How many classes Triton's extension `classification` asks for; 0 asks for none. Raises `InvalidRequest`."""
    count = (wanted.parameters or {}).get("classification")
    if count is None or count == 0:
        return None
    if wanted.name != _PROBABILITIES or type(count) is not int or count < 0:
        raise InvalidRequest(
            f"output {wanted.name!r}: classification is a number of classes, and for {_PROBABILITIES} alone"
        )
    return count


def _flag(parameters: Parameters | None, name: str, otherwise: bool = False) -> bool:
    """A parameter that is true or false. Raises `InvalidRequest`."""
    value = (parameters or {}).get(name)
    if value is None:
        return otherwise
    if type(value) is not bool:
        raise InvalidRequest(f"the parameter {name} must be true or false", field=name)
    return value


def _names(served: ServedPrediction) -> tuple[str, ...]:
    """The outputs that this version gives."""
    outputs = served.exposure.outputs
    scores = () if outputs.probabilities is None else (_PROBABILITIES,)
    ids = () if outputs.class_ids is None else ("class_id",)
    return ("predict", *scores, *ids, "prediction_id")


def output_of(wanted: Wanted, served: ServedPrediction) -> tuple[OutputTensor, bytes]:
    """An output, and its raw bytes if they are wanted."""
    name, binary, best = wanted
    exposure, outputs = served.exposure, served.exposure.outputs
    if best is not None and outputs.probabilities is not None:
        return _classification(outputs.probabilities, served.version.contract.classes, best, binary)
    shape, datatype = [len(exposure)], "BYTES"
    numbers: np.ndarray | None = None
    if name == _PROBABILITIES and outputs.probabilities is not None:
        shape, datatype, numbers = [*outputs.probabilities.shape], "FP64", outputs.probabilities
    elif name == "class_id":
        datatype, numbers = "INT64", outputs.class_ids
    elif name == "predict" and outputs.class_ids is None:
        datatype, numbers = "FP64", outputs.values
    if not binary:
        texts = predictions_of(served) if name == "predict" else [*exposure.prediction_ids]
        data = texts if numbers is None else _readable_list(numbers)
        return OutputTensor(name=name, shape=shape, datatype=datatype, data=data), b""
    raw = (
        _packed(name, served)
        if numbers is None
        else tensors.packed_numbers(all_readable(numbers) if numbers.ndim == 2 else numbers, datatype)
    )
    return OutputTensor(name=name, shape=shape, datatype=datatype, parameters={"binary_data_size": len(raw)}), raw


def outputs_of_a_row(served: ServedPrediction) -> list[OutputTensor]:
    """All outputs of a row alone in JSON, as `output_of` gives them, whose steps cost more than the prediction's."""
    exposure, outputs = served.exposure, served.exposure.outputs
    ids = OutputTensor(name="prediction_id", shape=_ONE, datatype="BYTES", data=[*exposure.prediction_ids])
    if outputs.class_ids is None:
        assert outputs.values is not None
        return [OutputTensor(name="predict", shape=_ONE, datatype="FP64", data=outputs.values.tolist()), ids]
    class_ids = outputs.class_ids.tolist()
    name = served.version.contract.classes[class_ids[0]]
    classes = OutputTensor(name="predict", shape=_ONE, datatype="BYTES", data=[name])
    numbers = OutputTensor(name="class_id", shape=_ONE, datatype="INT64", data=class_ids)
    if outputs.probabilities is None:
        return [classes, numbers, ids]
    shown = [readable(number) for number in outputs.probabilities.tolist()[0]]
    scores = OutputTensor(name=_PROBABILITIES, shape=[1, len(shown)], datatype="FP64", data=shown)
    return [classes, scores, numbers, ids]


def _classification(
    probabilities: np.ndarray, classes: tuple[str, ...], best: int, binary: bool
) -> tuple[OutputTensor, bytes]:
    """The best classes of each row as Triton writes them, `probability:class id:name`, the most probable first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : min(best, len(classes))]
    shown = np.take_along_axis(all_readable(probabilities), order, axis=1)
    pairs = zip(shown.ravel().tolist(), order.ravel().tolist(), strict=True)
    texts = [f"{number}:{place}:{classes[place]}" for number, place in pairs]
    shape = [*order.shape]
    if not binary:
        return OutputTensor(name=_PROBABILITIES, shape=shape, datatype="BYTES", data=texts), b""
    raw = tensors.packed_texts(texts)
    return OutputTensor(
        name=_PROBABILITIES, shape=shape, datatype="BYTES", parameters={"binary_data_size": len(raw)}
    ), raw


def _readable_list(numbers: np.ndarray) -> list[Any]:
    """The numbers in one dimension; probabilities, which have two, as answers show them."""
    if numbers.ndim == 1:
        return list(numbers.tolist())
    return list(all_readable(numbers).reshape(-1).tolist())


def _packed(name: str, served: ServedPrediction) -> bytes:
    class_ids = served.exposure.outputs.class_ids
    if name == "predict" and class_ids is not None:
        return tensors.packed_classes(class_ids, served.version.contract.classes)
    return tensors.packed_ids(served.exposure.prediction_ids)
