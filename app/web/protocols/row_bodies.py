"""Bodies that carry rows: JSON with `instances`, `inputs` or a dataframe, and CSV. MLflow, KServe v1 and others.

The forms of JSON are those of MLflow's scoring server; `instances` is also that of KServe v1, TensorFlow Serving and
Vertex AI.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from app.domain.classes import boolean_values
from app.domain.contract import Feature
from app.domain.layouts import RequestColumns
from app.domain.prediction import Assignment
from app.errors import InvalidRequest, UnsupportedMedia
from app.services.serving.predictor import ServedPrediction
from app.tables.meaning import category_of, dated, stands_for_nothing
from app.tables.numbers import number_of
from app.web.label_csv import csv_records, csv_text
from app.web.predict_body import option_keys, option_user
from app.web.protocols.asking import Question
from app.web.request import decoded_with_nan, object_of
from app.web.response import JSON, Answer, Environ, whole

CSV = "text/csv"


class RowAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to rows in their order: class names, or the numbers of a regression. One version gave all of them."""

    predictions: list[str | float]
    prediction_ids: list[str]
    model_version: str
    assignment: Assignment


_LONG_TEXT = 60
_PARAMETERS = ("params", "parameters")
_UTF8 = re.compile(r'charset\s*=\s*"?(utf-?8|us-ascii)"?', re.IGNORECASE)


def read_json(body: bytes, columns: RequestColumns, _environ: Environ, bare: bool = False) -> Question:
    """The question of a JSON body; with `bare`, an array is the rows. Raises `MalformedJson` and `InvalidRequest`."""
    values = decoded_with_nan(body)
    if bare and type(values) is list:
        values = {"instances": values}
    values = object_of(values)
    found = [form for form in _FORMS if form in values]
    if len(found) != 1:
        given = f"has {' and '.join(found)}" if found else "has none of them"
        raise InvalidRequest(f"the body {given}: give the rows as exactly one of {', '.join(_FORMS)}")
    rows = _FORMS[found[0]](values[found[0]])
    if len(columns.array_names) == 1 and not any(type(row) in (list, dict) for row in rows):
        rows = [[value] for value in rows]  # of one column, such as a text, each value is a row
    options = _options(values)
    return Question(rows=rows, count=len(rows), user_id=option_user(options), keys=option_keys(options, len(rows)))


def read_rows(body: bytes, columns: RequestColumns, environ: Environ, bare: bool = False) -> Question:
    """The question of a JSON or CSV body, by its content type; `bare` as in `read_json`.

    Raises `UnsupportedMedia`, and as the readers do.
    """
    if _media_type(environ, (JSON, CSV)) == CSV:
        return read_csv(body, columns, environ)
    return read_json(body, columns, environ, bare)


def _media_type(environ: Environ, known: Sequence[str]) -> str:
    """The type of the body, which is JSON unless the header says otherwise. Raises `UnsupportedMedia`."""
    given = environ.get("CONTENT_TYPE") or JSON
    kind, *parameters = (part.strip() for part in given.split(";"))
    if kind.lower() not in known:
        raise UnsupportedMedia(f"Content-Type {kind[:_LONG_TEXT]!r} is not known; send {' or '.join(known)}")
    for parameter in parameters:
        if parameter and not _UTF8.fullmatch(parameter):
            raise UnsupportedMedia(f"Content-Type has {parameter[:_LONG_TEXT]!r}; the only parameter is charset=utf-8")
    return kind.lower()


def _options(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the call; what this service does not know is the model's own affair there, and ignored."""
    for name in _PARAMETERS:
        options = values.get(name)
        if options is not None:
            if type(options) is not dict:
                raise InvalidRequest(f"{name} must be an object", field=name)
            return options
    return {}


def _instances(value: object, name: str = "instances") -> list[Any]:
    rows = _array(value, name)
    # TensorFlow Serving names the tensor of a model that has one: each row is then an object around an array.
    if rows and all(type(row) is dict and len(row) == 1 and row.keys() == rows[0].keys() for row in rows):
        arrays = [array for row in rows for array in row.values()]
        return arrays if all(type(array) is list for array in arrays) else rows
    return rows


def _array(value: object, name: str) -> list[Any]:
    if type(value) is not list:
        raise InvalidRequest(f"{name} must be an array of rows", field=name)
    return value


def _inputs(value: object) -> list[Any]:
    """Rows, an object of columns, or one named tensor, whose rows are arrays."""
    if type(value) is not dict:
        return _instances(value, "inputs")
    if len(value) == 1:
        [rows] = value.values()
        if type(rows) is list and rows and all(type(row) is list for row in rows):
            return rows
    return _of_columns(value)


def _of_columns(columns: dict[str, Any]) -> list[Any]:
    lengths = set()
    for name, column in columns.items():
        if type(column) is not list:
            raise InvalidRequest(f"inputs: the column {name[:_LONG_TEXT]!r} must be an array", field="inputs")
        lengths.add(len(column))
    if len(lengths) > 1:
        raise InvalidRequest("inputs: the columns must have the same number of values", field="inputs")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _records(value: object) -> list[Any]:
    rows = _array(value, "dataframe_records")
    if any(type(row) is not dict for row in rows):
        raise InvalidRequest("dataframe_records must be an array of objects", field="dataframe_records")
    return rows


def _split(value: object) -> list[Any]:
    field = "dataframe_split"
    if type(value) is not dict or type(value.get("data")) is not list:
        raise InvalidRequest(f'{field} must be an object like {{"columns": […], "data": [[…]]}}', field=field)
    names: Any = value.get("columns")
    data: list[Any] = value["data"]
    # A frame without names has the numbers of its columns in their place.
    if names is None or (type(names) is list and names and names == list(range(len(names)))):
        return _of_width(data, names)
    if type(names) is not list or any(type(name) is not str for name in names) or len(set(names)) < len(names):
        raise InvalidRequest(f"{field}: columns must be an array of names, each once", field=field)
    return [dict(zip(names, row, strict=True)) for row in _of_width(data, names)]


def _of_width(data: list[Any], names: list[Any] | None) -> list[Any]:
    """The rows of a data frame, if each has a value for each of its columns. Raises `InvalidRequest`."""
    for index, row in enumerate(data):
        if type(row) is not list or (names is not None and len(row) != len(names)):
            width = "" if names is None else f" of {len(names)} values"
            raise InvalidRequest(f"dataframe_split: row {index} must be an array{width}", field="dataframe_split")
    return data


_FORMS: dict[str, Callable[[Any], list[Any]]] = {
    "instances": _instances,
    "inputs": _inputs,
    "dataframe_split": _split,
    "dataframe_records": _records,
}


def read_csv(body: bytes, columns: RequestColumns, _environ: Environ) -> Question:
    """The question of a CSV body, whose first line may name the columns; without names they are in the model's order.

    Cells are read by the column's feature: an empty one is a missing value. Raises `InvalidRequest`.
    """
    records = [(line, cells) for line, cells in csv_records(csv_text(body), ",") if cells]
    if not records:
        raise InvalidRequest("the body is empty: give a line for each row")
    names = [name.strip() for name in records[0][1]]
    headed = any(name in columns for name in names)
    if headed and len(set(names)) < len(names):
        raise InvalidRequest("line 1: a column is named twice")
    features = [columns.feature(name) for name in (names if headed else columns.array_names)]
    rows: list[Any] = []
    for line, cells in records[1:] if headed else records:
        if len(cells) != len(features):
            raise InvalidRequest(f"line {line}: {len(cells)} fields where {len(features)} are expected")
        values = [_value(feature, cell) for feature, cell in zip(features, cells, strict=True)]
        rows.append(dict(zip(names, values, strict=True)) if headed else values)
    return Question(rows=rows, count=len(rows))


def _value(feature: Feature | None, cell: str) -> object:
    """What a cell says of a feature; text that the checks of the row then refuse, where it says nothing of it."""
    if feature is None:
        return cell
    if feature.kind == "numeric":
        number = number_of(cell, ".")
        return number if number is not None else None if stands_for_nothing(cell) else cell
    category = category_of(cell, feature.categories, needed=not feature.nullable)
    if category == cell and cell not in feature.categories and boolean_values(feature) is not None:
        flag = number_of(cell, ".")  # 1 and 0 are booleans, as in JSON
        return cell if flag is None else flag
    return category if feature.dates_like is None else dated(category, feature.dates_like)


def write_rows(served: ServedPrediction, request_id: str) -> Answer:
    """The whole answer to a question about rows."""
    exposure = served.exposure
    record = RowAnswers(
        predictions=predictions_of(served),
        prediction_ids=[*exposure.prediction_ids],
        model_version=exposure.version,
        assignment=exposure.assignment,
    )
    return whole(200, record, request_id, [("X-Model-Version", exposure.version)])


def predictions_of(served: ServedPrediction) -> list[str | float]:
    """The predicted class names, or numbers, in the order of the rows."""
    outputs = served.exposure.outputs
    if outputs.class_ids is None:
        assert outputs.values is not None
        return list(outputs.values.tolist())
    classes = served.version.contract.classes
    return [classes[index] for index in outputs.class_ids.tolist()]


def csv_of(records: Iterable[Sequence[object]]) -> bytes:
    """Lines of CSV, without a header line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(records)
    return text.getvalue().encode()
