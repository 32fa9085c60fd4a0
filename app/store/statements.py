"""The named statements of `app/store/sql`, and a script cut into statements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from app.store.dialects import in_dialect

_FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)


@cache
def statements(concern: str, dialect: str | None = None) -> Mapping[str, str]:
    """The statements of `sql/<concern>.sql` by name; read on first use, since importing must not read files.

    Those in which a word begins with a dollar sign want the name of the dialect (`connection.dialect.name`).
    """
    if dialect is not None:
        return {name: in_dialect(body, dialect) for name, body in statements(concern).items()}
    blocks = _NAME.split((_FOLDER / f"{concern}.sql").read_text(encoding="utf-8"))[1:]
    return {name: body.strip() for name, body in zip(blocks[::2], blocks[1::2], strict=True)}


def cut(script: str) -> list[str]:
    """The statements of a script in which each ends with a semicolon at the end of a line."""
    bare = _COMMENT.sub("", script)
    return [statement.strip() for statement in re.split(r";\s*$", bare, flags=re.MULTILINE) if statement.strip()]
