"""JSON schemas and examples of requests and answers, made from a feature contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.classes import boolean_values, class_names
from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import LONGEST_KEY
from app.domain.rows import LARGEST_FLOAT32
from app.domain.typical_row import typical_row
from app.web.predict_body import LONGEST_USER_ID

Json = dict[str, Any]

_USER_ID: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_USER_ID,
    "description": "Who asks, for a sticky assignment.",
}
_KEY: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_KEY,
    "description": "The caller's own key for this case, of printable characters; sent again, it is the same case.",
}
# As long as a prediction id and made of the same characters, so that it passes the check of the shape.
SAMPLE_ID = "-Sample-" * 8
_ABOUT_LABELS = (
    "A class is named as the training data name it: by a string, or by the number or boolean that it is there. "
    "Only where no class is a number is a number a class id."
)
_ANY_ROW: Json = {"anyOf": [{"type": "array"}, {"type": "object"}]}


def request_schemas(contract: FeatureContract | None, optional: Sequence[Feature] = ()) -> dict[str, Json]:
    """The schemas of request bodies and their parts by name; without a contract only in outline.

    `optional` are columns that only other versions than that of `contract` read.
    """
    names = () if contract is None else contract.names
    user = {} if "user_id" in names else {"user_id": _USER_ID}
    options = user if "id" in names else {"id": _KEY, **user}
    forms = [_object({"features": _ref("Row"), **options}, ["features"])]
    if contract is not None:
        by_name = {feature.name: _value(feature) for feature in (*contract.features, *optional)}
        forms.append(_object({**options, **by_name}, list(names)))
    rows = {"type": "array", "items": _ref("Row"), "minItems": 1}
    keys = {"type": "array", "items": _KEY, "description": "The caller's own keys, one for each row."}
    batch = {"anyOf": [_object({key: rows, "ids": keys, **user}, [key]) for key in ("instances", "features")]}
    return {
        "Row": _row(contract, optional),
        "PredictRequest": {"anyOf": forms},
        "BatchRequest": batch,
        "RowsRequest": _rows_request(contract),
        "InvocationRequest": {"anyOf": [_rows(contract), _ref("RowsRequest")]},
        "InferRequest": _infer_request(),
        "RepositoryIndex": {"type": "array", "items": _ref("IndexEntry")},
        "Outcome": _outcome(contract),
        "FeedbackRequest": {"anyOf": [_ref("Outcome"), _object({"feedback": _outcomes()}, ["feedback"])]},
    }


# Of bodies that do not depend on the models.
_EXAMPLES: dict[str, dict[str, Json]] = {
    "AcknowledgeRequest": {"known": {"summary": "A known cause", "value": {"note": "a new supplier since Monday"}}},
    "ConfigurationPatch": {
        "split": {"summary": "A new split", "value": {"weights": {"v1": 0.9, "v2": 0.1}, "note": "less of v2"}}
    },
    "DecisionRequest": {
        "promote": {
            "summary": "Promote a version",
            "value": {"action": "promote", "version": "v2", "note": "better on every class"},
        },
        "rollback": {"summary": "Return to the previous champion", "value": {"action": "rollback"}},
    },
    "ExposureRequest": {"user": {"summary": "A user met the user's version", "value": {"user_id": "u-17"}}},
    "OfrepRequest": {"user": {"summary": "For a user", "value": {"context": {"targetingKey": "u-17"}}}},
}


def request_examples(contract: FeatureContract) -> dict[str, dict[str, Json]]:
    """Example bodies that the service accepts, by the name of their schema."""
    row = typical_row(contract)
    by_name = dict(zip(contract.names, row, strict=True))
    single: dict[str, Json] = {
        "array": {"summary": "Values in column order", "value": {"features": row}},
        "object": {"summary": "Values by feature name", "value": {"features": by_name}},
    }
    if "user_id" not in by_name:
        single["user"] = {"summary": "For a user", "value": {"features": row, "user_id": "u-17"}}
    if "id" not in by_name:
        single["key"] = {"summary": "With a key of your own", "value": {"features": row, "id": "order-4711"}}
    if not {"features", "user_id"} & set(by_name):
        single["flat"] = {"summary": "Flat", "value": by_name}
    actual = contract.classes[0] if contract.task == "classification" else 0.5
    outcome = {"prediction_id": SAMPLE_ID, "actual": actual}
    rows_request = _rows_examples(row, by_name)
    return {
        **_EXAMPLES,
        "FeedbackRequest": {
            "label": {"summary": "A true label (insert the id of a prediction)", "value": outcome},
            "list": {"summary": "Several outcomes", "value": {"feedback": [outcome]}},
            "key": {"summary": "By a key of your own", "value": {"id": "order-4711", "actual": actual}},
        },
        "PredictRequest": single,
        "RowsRequest": rows_request,
        "InvocationRequest": {"array": {"summary": "Rows alone", "value": [row, row]}, **rows_request},
        "InferRequest": _infer_examples(contract, row),
        "BatchRequest": {"rows": {"summary": "Two rows", "value": {"instances": [row, by_name]}}},
    }


def _rows_examples(row: Sequence[Any], by_name: Json) -> dict[str, Json]:
    columns = {name: [value] for name, value in by_name.items()}
    split = {"columns": list(by_name), "data": [row]}
    options = {"user_id": "u-17", "ids": ["order-4711"]}
    return {
        "instances": {"summary": "Rows", "value": {"instances": [row, by_name]}},
        "dataframe_split": {"summary": "A data frame", "value": {"dataframe_split": split}},
        "inputs": {"summary": "Columns, for a user", "value": {"inputs": columns, "params": options}},
    }


def narrowed(answer: Json, contract: FeatureContract) -> Json:
    """The schema of an answer, narrowed to the answers that models of this contract give."""
    properties = dict(answer["properties"])
    required = list(answer["required"])
    if contract.task == "regression":
        properties["prediction"] = {"type": "number", "description": contract.target}
        for absent in ("class_id", "confidence", "probabilities"):
            del properties[absent]
    else:
        classes = list(contract.classes)
        properties["prediction"] = {"type": "string", "enum": classes}
        properties["class_id"] = {"type": "integer", "minimum": 0, "maximum": len(classes) - 1}
        properties["probabilities"] = _object({name: {"type": "number"} for name in classes}, classes)
        required.append("class_id")
    return {**answer, "properties": properties, "required": required}


def example_item(contract: FeatureContract) -> Json:
    """An example answer to one row; invented, so that the document needs no prediction."""
    item: Json = {"prediction_id": SAMPLE_ID, "prediction": 0.5}
    if contract.task == "classification":
        first, *others = contract.classes
        probabilities = {first: 1.0} | dict.fromkeys(others, 0.0)
        item |= {"prediction": first, "class_id": 0, "confidence": 1.0, "probabilities": probabilities}
    return item


def _rows(contract: FeatureContract | None) -> Json:
    """Rows as other servers take them: of one column, the value alone is a row, too."""
    alone = [] if contract is None or len(contract.features) > 1 else [_value(contract.features[0])]
    return {"type": "array", "items": {"anyOf": [_ref("Row"), *alone]}, "minItems": 1}


def _rows_request(contract: FeatureContract | None) -> Json:
    """A body with rows in one of MLflow's forms; further keys are ignored, as other servers do."""
    rows = _rows(contract)
    named: Json = {"type": "array", "items": {"type": "object"}, "minItems": 1}
    split = _object({"index": {}, "columns": {"type": "array"}, "data": {"type": "array", "minItems": 1}}, ["data"])
    parameters: Json = {
        "type": "object",
        "properties": {"user_id": _USER_ID, "ids": {"type": "array", "items": _KEY}},
        "description": "Options of the call.",
    }
    forms = {
        "instances": rows,
        "inputs": {"anyOf": [rows, {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}]},
        "dataframe_split": {**split, "description": "A data frame as pandas writes it; its index is ignored."},
        "dataframe_records": named,
    }
    options = dict.fromkeys(("params", "parameters"), parameters)
    return {"anyOf": [_object({form: schema, **options}, [form]) for form, schema in forms.items()]}


_DATATYPES = ("BOOL", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "FP32", "FP64", "BYTES")


def _infer_request() -> Json:
    """A request of the Open Inference Protocol in JSON; its further keys are ignored, as other servers do."""
    tensor = _object(
        {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"type": "string", "enum": list(_DATATYPES)},
            "data": {"type": "array", "description": "The values, flat or nested in the shape."},
            "parameters": {"type": "object"},
        },
        ["name", "shape", "datatype", "data"],
    )
    names = {"type": "string", "enum": ["predict", "predict_proba", "class_id", "prediction_id"]}
    output = _object({"name": names, "parameters": {"type": "object"}}, ["name"])
    return _object(
        {
            "id": {"type": "string", "description": "Comes back; of a row alone it is the caller's own key."},
            "parameters": {"type": "object", "properties": {"user_id": _USER_ID}},
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "outputs": {"type": "array", "items": output},
        },
        ["inputs"],
    )


def _infer_examples(contract: FeatureContract, row: Sequence[Any]) -> dict[str, Json]:
    def tensor(feature: Feature, value: Any) -> Json:
        datatype = "BOOL" if isinstance(value, bool) else "FP64" if feature.kind == "numeric" else "BYTES"
        return {"name": feature.name, "shape": [1], "datatype": datatype, "data": [value]}

    columns = [tensor(feature, value) for feature, value in zip(contract.features, row, strict=True)]
    examples: dict[str, Json] = {"columns": {"summary": "A tensor a feature", "value": {"inputs": columns}}}
    if contract.all_numeric:
        matrix = {"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}
        examples["matrix"] = {"summary": "One tensor", "value": {"id": "order-4711", "inputs": [matrix]}}
    return examples


def _outcomes() -> Json:
    return {"type": "array", "items": _ref("Outcome"), "minItems": 1}


def _outcome(contract: FeatureContract | None) -> Json:
    label: Json = {"type": ["string", "number", "boolean"]}
    if contract is not None and contract.task == "regression":
        label = {"type": "number"}
    elif contract is not None:
        label = _class(contract.classes)
    properties: Json = {
        "prediction_id": {"type": "string"},
        "id": {**_KEY, "description": "In place of `prediction_id`: the caller's own key, which the prediction has."},
        "actual": {"description": f"The true label: scores every version's answer. {_ABOUT_LABELS}", **label},
        "reward": {"description": "The reward of the served answer: counts for its version only.", "type": "number"},
    }
    named = {"oneOf": [{"required": ["prediction_id"]}, {"required": ["id"]}]}
    known = {"anyOf": [{"required": ["actual"]}, {"required": ["reward"]}]}
    return {**_object(properties, []), "allOf": [named, known]}


def _class(classes: tuple[str, ...]) -> Json:
    names = class_names(classes)
    named: Json = {"enum": [*classes, *names.values]}
    if names.like_numbers or names.binary:
        return named
    return {"anyOf": [named, {"type": "integer", "minimum": 0, "maximum": len(classes) - 1}]}


def _row(contract: FeatureContract | None, optional: Sequence[Feature]) -> Json:
    if contract is None:
        return {**_ANY_ROW, "description": "No model is loaded yet, so there is no feature contract."}
    width = len(contract.features)
    values = [{"title": feature.name, **_value(feature)} for feature in contract.features]
    by_name = {feature.name: _value(feature) for feature in (*contract.features, *optional)}
    others = ", ".join(feature.name for feature in optional)
    may_lack = f" Rows without {others} are answered by the versions that do not read them." if others else ""
    return {
        "description": f"One row: values in column order, or by feature name.{may_lack}",
        "anyOf": [
            {"type": "array", "prefixItems": values, "minItems": width, "maxItems": width},
            _object(by_name, list(contract.names)),
        ],
    }


def _value(feature: Feature) -> Json:
    flags = boolean_values(feature)
    if flags is not None:
        return _boolean(feature, flags)
    kind = "number" if feature.kind == "numeric" else "string"
    schema: Json = {"type": [kind, "null"] if feature.nullable else kind}
    if feature.kind == "numeric":
        schema |= {"minimum": -LARGEST_FLOAT32, "maximum": LARGEST_FLOAT32}
    if feature.minimum is not None and feature.maximum is not None:
        schema["description"] = f"Trained on values from {feature.minimum:g} to {feature.maximum:g}."
    if feature.dates_like is not None:
        schema |= {"description": f"A date or time in ISO 8601, written like {feature.dates_like}."}
    # Open categories accept values that were not in the training data, so the list is no limit.
    allowed = feature.choices if feature.kind == "numeric" else () if feature.open_categories else feature.categories
    if allowed:
        schema["enum"] = [*allowed, None] if feature.nullable else list(allowed)
    return schema


def _boolean(feature: Feature, flags: Mapping[bool, float | str]) -> Json:
    """A boolean, or 0 or 1, or where the training data have words for it, these."""
    closed = feature.kind == "categorical" and not feature.open_categories
    known = [flag for flag, own in flags.items() if not closed or own in feature.categories]
    named: Json = {"enum": [*known, *map(int, known), *feature.categories, *([None] if feature.nullable else [])]}
    return {"anyOf": [named, {"type": "string"}]} if feature.open_categories else named


def _object(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
