"""What records cannot say about themselves, added to the schemas that are made of them."""

from __future__ import annotations

from typing import Any

from app.web.documentation.contract_schemas import Json

_TERMS = (
    "metric",
    "alpha",
    "baseline",
    "equivalence_margin",
    "min_effect",
    "reward_range",
    "reward_triggered",
    "error_range",
    "labels_exogenous",
)
_CONDITIONS: dict[str, Json] = {
    # To promote, a version is needed; the others know theirs.
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
            {"properties": dict.fromkeys(_TERMS, False)},
        ]
    },
}


def refined(schemas: dict[str, Json]) -> dict[str, Json]:
    """The schemas, in JSON Schema 2020-12 throughout and with the conditions between their properties."""
    return {name: {**_modern(schema), **_CONDITIONS.get(name, {})} for name, schema in schemas.items()}


def _modern(schema: Any) -> Any:
    """The same, with a tuple written as OpenAPI 3.1 wants it: a list under `items` is of an older draft."""
    if isinstance(schema, list):
        return [_modern(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: _modern(value) for key, value in schema.items()}
    if parts.get("type") == "array" and isinstance(parts.get("items"), list):
        parts["prefixItems"] = parts.pop("items")
    return parts
