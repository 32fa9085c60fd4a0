"""The OpenAPI 3.1 document, made from the operations, their records and the feature contract of the loaded models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from app import __version__
from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import ExperimentTerms
from app.settings import Settings
from app.web.documentation.schemas import Json, example_item, narrowed, request_examples, request_schemas
from app.web.operations import Operation, Parameter
from app.web.prediction import BatchItem, PredictionAnswer
from app.web.protocols.oip_metadata import IndexEntry
from app.web.response import ErrorBody

_CONDITIONS: dict[str, Json] = {
    # Only `promote` needs a version.
    "DecisionRequest": {
        "anyOf": [
            {"properties": {"action": {"const": "promote"}, "version": {"type": "string"}}, "required": ["version"]},
            {"properties": {"action": {"enum": ["rollback", "keep"]}}},
        ]
    },
    # The terms are fixed while an experiment runs.
    "ConfigurationPatch": {
        "anyOf": [
            {"properties": {"new_experiment": {"const": True}}, "required": ["new_experiment"]},
            {"properties": dict.fromkeys(ExperimentTerms.__struct_fields__, False)},
        ]
    },
}


def refined(schemas: dict[str, Json]) -> dict[str, Json]:
    """The schemas in JSON Schema 2020-12, with the conditions between properties that a type cannot express."""
    return {name: {**_modern(schema), **_CONDITIONS.get(name, {})} for name, schema in schemas.items()}


def _modern(schema: Any) -> Any:
    """The schema with tuples under `prefixItems`: msgspec writes a list under `items`, as an older draft had it."""
    if isinstance(schema, list):
        return [_modern(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: _modern(value) for key, value in schema.items()}
    if parts.get("type") == "array" and isinstance(parts.get("items"), list):
        parts["prefixItems"] = parts.pop("items")
    return parts


_DESCRIPTION = """Serves versions of a model behind one URL and says which one is better.

Bodies are read as JSON whatever their Content-Type. Every response carries `X-Request-Id`; every error has the shape
`{"error": {"code", "message", "field"}}`. The schemas of rows and answers are those of the loaded models."""
_PROBLEMS = {
    304: "Not modified: the caller has the answer.",
    400: "The request is invalid; `field` names the part at fault.",
    401: "The call needs a token.",
    403: "The token is wrong, or administration is disabled.",
    404: "Not found.",
    409: "The request contradicts the recorded state.",
    413: "The body or the batch is too large.",
    415: "The content type or encoding of the body is not known.",
    424: "A version that was forced failed.",
    500: "Internal error; the server's log has the details under the `X-Request-Id`.",
    503: "Temporarily unavailable; try again after `Retry-After` seconds.",
}
_ANSWERS_OF_A_VERSION = ("PredictionAnswer", "BatchAnswer", "RowAnswers", "InferAnswer")
_REF = "#/components/schemas/{name}"
_HEADER_TEXT = {"schema": {"type": "string"}}


def document(
    operations: Iterable[Operation],
    contract: FeatureContract | None,
    settings: Settings,
    optional: Sequence[Feature] = (),
    model: str = "model",
) -> Json:
    """The whole document as plain data. Without a contract, rows are described in outline only.

    `optional` are columns that only other versions than that of `contract` read, `model` is the served model's name.
    """
    operations = tuple(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, contract, settings)
        _name_model(paths[operation.path][operation.method], model)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bakeoff", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations, contract, optional),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _schemas(
    operations: tuple[Operation, ...], contract: FeatureContract | None, optional: Sequence[Feature]
) -> dict[str, Json]:
    records: dict[str, type[msgspec.Struct]] = {}
    # Once each: several operations share a record.
    for record in _records(operations):
        records.setdefault(record.__name__, record)
    _, schemas = msgspec.json.schema_components(records.values(), schema_hook=_any_json, ref_template=_REF)
    if contract is not None:
        for name in ("PredictionAnswer", "BatchItem"):
            schemas[name] = narrowed(schemas[name], contract)
    return {**refined(schemas), **request_schemas(contract, optional)}


def _any_json(kind: type) -> Json:
    """The schema of `object`, which stands for any JSON; msgspec asks for types that it does not know."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(kind)


def _records(operations: tuple[Operation, ...]) -> Iterable[type[msgspec.Struct]]:
    yield from (ErrorBody, PredictionAnswer, BatchItem, IndexEntry)
    for operation in operations:
        yield from (record for record in (operation.answer, operation.body) if isinstance(record, type))
        yield from filter(None, operation.other_answers.values())
        yield from () if operation.error is None else (operation.error,)


def _operation(operation: Operation, contract: FeatureContract | None, settings: Settings) -> Json:
    described: Json = {
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": _responses(operation, contract, settings),
        "security": [{"token": []}, {"key": []}] if _guarded(operation, settings) else [],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        content = {"application/json": _body(operation.body, contract)}
        for media_type, example in operation.text_bodies.items():
            content[media_type] = {"schema": {"type": "string"}, "example": example}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _body(body: type[msgspec.Struct] | str, contract: FeatureContract | None) -> Json:
    name = _name(body)
    examples = request_examples(contract).get(name) if contract is not None else None
    content: Json = {"schema": {"$ref": _REF.format(name=name)}}
    return {**content, "examples": examples} if examples else content


def _name(schema: type[msgspec.Struct] | str) -> str:
    return schema if isinstance(schema, str) else schema.__name__


def _responses(operation: Operation, contract: FeatureContract | None, settings: Settings) -> Json:
    responses: Json = {"200": _success(operation, contract)}
    for status, record in operation.other_answers.items():
        text = _PROBLEMS[status]
        responses[str(status)] = _answer(text, record.__name__, status) if record else {"description": text}
    # The settings decide: where a scope is open, its calls need no token, and the document must not ask for one.
    guards = (401, 403) if _guarded(operation, settings) else ()
    for status in sorted({*operation.problems, *guards, 500}):
        responses[str(status)] = _answer(_PROBLEMS[status], (operation.error or ErrorBody).__name__, status)
    return responses


def _success(operation: Operation, contract: FeatureContract | None) -> Json:
    if not operation.media_type:
        return {"description": operation.summary}
    if operation.answer is None:
        schema = {"schema": {"type": "string"}}
        return {"description": operation.summary, "content": {operation.media_type: schema}}
    named = _name(operation.answer)
    answer = _answer(operation.summary, named, 200)
    if named in _ANSWERS_OF_A_VERSION:
        answer["headers"]["X-Model-Version"] = {"description": "The version that answered.", **_HEADER_TEXT}
    example = _example(named, contract)
    if example is not None:
        answer["content"]["application/json"]["example"] = example
    return answer


def _answer(description: str, schema: str, status: int) -> Json:
    headers: Json = {"X-Request-Id": {"description": "The request's id.", **_HEADER_TEXT}}
    if status == 503:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
    content = {"application/json": {"schema": {"$ref": _REF.format(name=schema)}}}
    return {"description": description, "headers": headers, "content": content}


def _example(schema: str, contract: FeatureContract | None) -> Json | None:
    if contract is None or schema not in _ANSWERS_OF_A_VERSION or schema == "InferAnswer":
        return None
    served: Json = {
        "model_version": "v1",
        "assignment": "weighted",
        "latency_ms": 0.12,
        "timestamp": "2026-11-20T12:00:00.123456Z",
    }
    item = example_item(contract)
    if schema == "RowAnswers":
        ids, version = [item["prediction_id"]], served["model_version"]
        return {
            "predictions": [item["prediction"]],
            "prediction_ids": ids,
            "model_version": version,
            "assignment": "weighted",
        }
    return {**item, **served} if schema == "PredictionAnswer" else {"predictions": [item], "count": 1, **served}


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    return described if parameter.example is None else {**described, "example": parameter.example}


def _name_model(described: Json, model: str) -> None:
    """Say which name the model, or the flag of OpenFeature that stands for it, has; any other is 404."""
    for parameter in described["parameters"]:
        if parameter["in"] == "path" and parameter["name"] in ("model", "key"):
            parameter |= {"schema": {"type": "string", "enum": [model]}, "example": model}


def _guarded(operation: Operation, settings: Settings) -> bool:
    if operation.access == "open" or operation.access == "administrative":
        return operation.access == "administrative"
    return not settings.tokens.is_open(operation.access)


def _operation_id(operation: Operation) -> str:
    words: list[Any] = re.findall(r"[a-z0-9]+", operation.path)
    return "_".join([operation.method, *words])
