"""Request bodies that are records: their type is the check, and the schema in the documentation."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from app.errors import InvalidRequest
from app.web.bodies import decoded_object, read_body

_Record = TypeVar("_Record", bound=msgspec.Struct)
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")
_LONG_TEXT = 60


def body_as(kind: type[_Record], environ: dict[str, Any], limit: int) -> _Record:
    """The request's body as a record. Raises `InvalidRequest` (its field is the key at fault) and `TooLarge`."""
    values = decoded_object(read_body(environ, limit))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _complaint(str(error), kind) from None


def _complaint(text: str, kind: type[msgspec.Struct]) -> InvalidRequest:
    named, place = _NAMED.search(text), _PLACE.search(text)
    if named:
        field, known = named["name"][:_LONG_TEXT], ", ".join(kind.__struct_fields__)
        what = "is missing" if "required" in text else f"is not known here; known are {known}"
        return InvalidRequest(f"{field!r} {what}", field=field)
    field = re.split(r"[.\[]", place["path"])[0] if place else ""
    problem = _PLACE.sub("", text).replace("`", "")
    problem = problem[:1].lower() + problem[1:]
    return InvalidRequest(f"{field}: {problem}" if field else problem, field=field or None)
