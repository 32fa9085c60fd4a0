"""Reads what a predict request says: its rows, its user, and the caller's own keys, from the body and from headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any, TypeVar

from app.domain.prediction import LONGEST_KEY, is_own_key
from app.errors import InvalidRequest, MalformedJson
from app.web.request import decoded_object

LONGEST_USER_ID = 256
_LONG_TEXT = 60
# The options of a body with the headers that say the same.
_HEADERS = {"id": "X-Prediction-Key", "user_id": "X-User-Id"}
_SINGLE_KEYS = frozenset(("features", *_HEADERS))
_BATCH_KEYS = frozenset(("instances", "features", "ids", "user_id"))
# The rows of a large body are decoded by blocks: as objects of Python, they take some ten times its memory.
_BYTES_PER_BLOCK = 32 * 1024
_ROWS_BEGIN = re.compile(rb'"(instances|features)"\s*:\s*\[\s*')
# Stands for the name of the rows in front of the last ones. It can be written in one way only.
_REST, _REST_IN_JSON = "\0", rb'"\u0000"'
Block = TypeVar("Block")


def single_row(
    body: dict[str, Any], columns: Container[str], environ: dict[str, Any]
) -> tuple[object, str | None, str | None]:
    """The row (an array or object, not checked yet), the user id, and the caller's own key for the row.

    The body is `{"features": …}` or a flat object. A feature that is itself called `id` or `user_id` goes before the
    option of that name, which can then be given as a header only. Raises `InvalidRequest`.
    """
    features = body.get("features")
    kind = type(features)
    # An array or object under `features` is the nested form: no feature has such a value.
    if kind is list or kind is dict:
        if len(body) == 1:  # by far the most common body: nothing unknown in it, and no options
            user_id = header_user(environ) if "HTTP_X_USER_ID" in environ else None
            return features, user_id, header_key(environ) if "HTTP_X_PREDICTION_KEY" in environ else None
        _refuse_unknown(body, _SINGLE_KEYS)
        _refuse_features(body, columns)
        return features, _user(body, environ), _key(body, environ)
    return _flat_row(body, columns, environ)


def _flat_row(
    body: dict[str, Any], columns: Container[str], environ: dict[str, Any]
) -> tuple[object, str | None, str | None]:
    """The same of a body that is the row itself: `{"width": 1, "length": 2, "id": "order-4711"}`."""
    if "features" in body and "features" not in columns:
        raise InvalidRequest("features must be an array or an object by feature name", field="features")
    if "id" not in body and "user_id" not in body:
        return body, header_user(environ), header_key(environ)
    options = {key: body[key] for key in _HEADERS if key in body and key not in columns}
    row = {key: value for key, value in body.items() if key not in options}
    return row, _user(options, environ), _key(options, environ)


def rows_in_blocks(body: bytes, read: Callable[[bytes], Block]) -> tuple[list[Block], dict[str, Any]] | None:
    """What `read` makes of the first rows of `{"instances": [...]}`, block by block, and the body with the other rows.

    `read` gets a JSON array of rows, and raises `MalformedJson` if it is none.

    None for a body that is small or of another form: it is to be decoded as a whole. Raises what `decoded_object` and
    `read` raise, perhaps for another fault than the first one.
    """
    found = _ROWS_BEGIN.search(body) if len(body) > 2 * _BYTES_PER_BLOCK else None
    if found is None or _REST_IN_JSON in body:
        return None
    name, begin, blocks = found[1].decode(), found.end(), []
    # Where decoding the beginning gives an empty array of that name as the last, the rows of the body begin here.
    if [*decoded_object(body[:begin] + b"]}").items()][-1] != (name, []):
        return None
    closed = b"}" if body.startswith(b"{", begin) else b"]"
    while len(body) - begin > _BYTES_PER_BLOCK:
        end = body.rfind(closed + b",", begin, begin + _BYTES_PER_BLOCK) + 1
        if not end:
            break
        try:
            # A cut within a row or a text, or behind the rows, leaves something that is no JSON.
            blocks.append(read(b"[%b]" % body[begin:end]))
        except MalformedJson:
            break
        begin = end + 1
    rest = decoded_object(b"%b%b:[%b" % (body[: found.start()], _REST_IN_JSON, body[begin:])) if blocks else {}
    # Nothing may follow a comma; and of rows that are given twice, the last ones are meant.
    if not rest.get(_REST) or name in rest:
        return None
    return blocks, {name if key == _REST else key: value for key, value in rest.items()}


def batch_rows(
    body: dict[str, Any], columns: Container[str], environ: dict[str, Any], before: int = 0
) -> tuple[list[Any], str | None, tuple[str, ...]]:
    """The rows (not checked yet) of `{"instances": [...]}`, the user id, and the caller's own keys.

    `features` is accepted as another name of `instances`. There is a key for each row, or none at all; `before` rows
    are no longer in the array. Raises `InvalidRequest`.
    """
    _refuse_unknown(body, _BATCH_KEYS)
    _refuse_features(body, columns)
    key = "instances" if "instances" in body else "features"
    if key not in body:
        raise InvalidRequest("instances is missing: give an array of rows", field="instances")
    if key == "instances" and "features" in body:
        raise InvalidRequest("give the rows as instances or as features, not as both", field="features")
    rows = body[key]
    if type(rows) is not list:
        raise InvalidRequest(f"{key} must be an array of rows", field=key)
    return rows, _user(body, environ), _keys(body, environ, before + len(rows))


def header_user(environ: dict[str, Any]) -> str | None:
    """The user id in `X-User-Id`, None without the header. Raises `InvalidRequest` unless it is 1 to 256 long."""
    text = environ.get("HTTP_X_USER_ID")
    return None if text is None else user_in_header(text, "X-User-Id")


def user_in_header(text: str, header: str) -> str:
    """The user id that a header has. Raises `InvalidRequest` that names the header unless it is 1 to 256 long."""
    return _checked_user(_utf8(text), header)


def header_key(environ: dict[str, Any]) -> str | None:
    """The caller's own key in `X-Prediction-Key`, None without the header.

    Raises `InvalidRequest` unless it has 1 to 128 printable characters.
    """
    text = environ.get("HTTP_X_PREDICTION_KEY")
    return None if text is None else key_in_header(text, "X-Prediction-Key")


def key_in_header(text: str, header: str) -> str:
    """The caller's own key that a header has. Raises `InvalidRequest` that names the header, as `header_key` does."""
    return _checked_key(_utf8(text), header)


def _user(body: dict[str, Any], environ: dict[str, Any]) -> str | None:
    """The user id of the body, otherwise of the header."""
    by_header = header_user(environ)  # checked in any case: a wrong header must not pass because of the body
    return _checked_user(body["user_id"], "user_id") if "user_id" in body else by_header


def _checked_user(user_id: object, field: str) -> str:
    if type(user_id) is not str or not 0 < len(user_id) <= LONGEST_USER_ID:
        raise InvalidRequest(f"{field} must be a string of 1 to {LONGEST_USER_ID} characters", field=field)
    return user_id


def _key(body: dict[str, Any], environ: dict[str, Any]) -> str | None:
    """The own key of the body or of the header: a case has one name, so two different ones are refused."""
    by_header = header_key(environ)
    if "id" not in body:
        return by_header
    key = _checked_key(body["id"], "id")
    if by_header is not None and by_header != key:
        raise InvalidRequest("id and the header X-Prediction-Key differ: give one of them", field="id")
    return key


def _keys(body: dict[str, Any], environ: dict[str, Any], rows: int) -> tuple[str, ...]:
    """The own keys of a batch, one for each of its `rows`; empty if it has none."""
    by_header = header_key(environ)
    if by_header is not None and rows > 1:
        raise InvalidRequest(
            f"X-Prediction-Key names one row, and the batch has {rows}: give ids, a key for each row",
            field="X-Prediction-Key",
        )
    ids = option_keys(body, rows)
    if not ids:
        return () if by_header is None else (by_header,)
    if by_header is not None and (by_header,) != ids:
        raise InvalidRequest("ids and the header X-Prediction-Key differ: give one of them", field="ids")
    return ids


def option_user(options: dict[str, Any]) -> str | None:
    """The user id among the options of a body. Raises `InvalidRequest` unless it has 1 to 256 characters."""
    return _checked_user(options["user_id"], "user_id") if "user_id" in options else None


def option_keys(options: dict[str, Any], rows: int) -> tuple[str, ...]:
    """The own keys among the options of a body, one for each of its `rows`, or none. Raises `InvalidRequest`."""
    if "ids" not in options:
        return ()
    ids = options["ids"]
    if type(ids) is not list:
        raise InvalidRequest("ids must be an array of keys, one for each row", field="ids")
    if len(ids) != rows:
        raise InvalidRequest(f"ids has {len(ids)} keys, and the batch has {rows} rows: give one for each", field="ids")
    for index, key in enumerate(ids):
        try:
            _checked_key(key, "ids")
        except InvalidRequest as error:
            raise error.within("row", index) from None
    return tuple(ids)


def _checked_key(key: object, field: str) -> str:
    if not isinstance(key, str) or not is_own_key(key):
        what = "each of ids" if field == "ids" else field
        raise InvalidRequest(f"{what} must be a string of 1 to {LONGEST_KEY} printable characters", field=field)
    return key


def _refuse_features(body: dict[str, Any], columns: Container[str]) -> None:
    """Refuse an option that has the name of a feature: whoever sends it beside the row may mean either."""
    for key, header in _HEADERS.items():
        if key in body and key in columns:
            raise InvalidRequest(
                f"{key!r} is a feature of this model: put it in the row, and give the option as the header {header}",
                field=key,
            )


def _utf8(text: str) -> str:
    """Decode a header as UTF-8 like a body, so that one name in both means the same user or case.

    WSGI decodes header bytes as Latin-1 (PEP 3333).
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _refuse_unknown(body: dict[str, Any], known: frozenset[str]) -> None:
    for key in body:
        if key not in known:
            shown = key[:_LONG_TEXT]
            raise InvalidRequest(f"unknown key {shown!r}; known keys: {', '.join(sorted(known))}", field=shown)
