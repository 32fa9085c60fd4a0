"""Which token opens what: the scopes of the API, the tokens that are set, and what is wrong with them.

Imports nothing of the settings, which read tokens with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec

from app.errors import SettingError

Scope = Literal["predict", "read", "feedback"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
VARIABLES = ("ADMIN_TOKEN", "API_TOKEN", "PREDICT_TOKEN", "READ_TOKEN", "FEEDBACK_TOKEN")
SHORTEST = 16


class TokenComplaint(msgspec.Struct, frozen=True):
    """Something to know about the tokens, and what to do."""

    detail: str
    advice: str


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that are set. `api` opens the three scopes, `predict`, `read` and `feedback` each only its own."""

    admin: str | None = None
    api: str | None = None
    predict: str | None = None
    read: str | None = None
    feedback: str | None = None

    def __repr__(self) -> str:
        """Without the tokens: this may end up in a log."""
        return f"Tokens({', '.join(self.given())})"

    def is_open(self, scope: Scope) -> bool:
        """Whether everyone may: neither the scope's own token nor API_TOKEN is set."""
        return self.api is None and getattr(self, scope) is None

    def accepted(self, scope: Scope) -> tuple[str, ...]:
        """The tokens that open a scope, ADMIN_TOKEN among them, since a call carries one; none where it is open."""
        if self.is_open(scope):
            return ()
        return tuple(token for token in (getattr(self, scope), self.api, self.admin) if token is not None)

    def to_send(self, scope: Scope, *, admin: bool = False) -> str | None:
        """What a client with these settings sends for a scope: its own token, else API_TOKEN, else (`admin`) that."""
        own: str | None = getattr(self, scope)
        return own or self.api or (self.admin if admin else None)

    def header(self, scope: Scope) -> dict[str, str]:
        """The header with what is to be sent for a scope; none without a token."""
        token = self.to_send(scope)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def needed(self, scope: Scope) -> str:
        """The names of the tokens that open a scope, for messages."""
        names = (f"{scope.upper()}_TOKEN", getattr(self, scope)), ("API_TOKEN", self.api)
        return " or ".join(name for name, token in names if token is not None)

    @property
    def ids_are_secret(self) -> bool:
        """Whether readers must not see whole prediction ids: reading needs a token, and an id is enough for feedback.

        Feedback is open then, so that only the secrecy of ids keeps a reader from inventing outcomes.
        """
        return not self.is_open("read") and self.is_open("feedback")

    def short(self) -> tuple[str, ...]:
        """The names of the tokens that are short enough to be guessed."""
        return tuple(name for name, token in self.given().items() if len(token) < SHORTEST)

    def complaints(self) -> tuple[TokenComplaint, ...]:
        """What an administrator should know of these tokens; the doctor and the start of the API say it."""
        short, found = self.short(), []
        if short:
            found.append(
                TokenComplaint(
                    f"{', '.join(short)}: shorter than {SHORTEST} characters, which can be guessed",
                    "set a random one, such as: openssl rand -hex 24",
                )
            )
        if self.ids_are_secret:
            found.append(
                TokenComplaint(
                    "reading needs a token and feedback does not: readers get shortened prediction ids and no own keys",
                    "set FEEDBACK_TOKEN, and they are shown whole",
                )
            )
        return tuple(found)

    def given(self) -> dict[str, str]:
        """The tokens that are set, by the name of their variable."""
        tokens = (self.admin, self.api, self.predict, self.read, self.feedback)
        return {name: token for name, token in zip(VARIABLES, tokens, strict=True) if token is not None}


def scope_of(path: str) -> Scope:
    """The scope of a call that is no administrative one, by its path."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts in (["predict"], ["predict", "batch"]):
        return "predict"
    return "feedback" if parts == ["feedback"] else "read"


def with_files(env: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with each token that a file holds (`<variable>_FILE`), which Docker's secrets are.

    Raises `SettingError` where the file cannot be read or is empty, or the token is given twice.
    """
    read = {}
    for variable in VARIABLES:
        name = f"{variable}_FILE"
        path = env.get(name, "").strip()
        if not path:
            continue
        if env.get(variable, "").strip():
            raise SettingError(name, f"{variable} is set, too: set one of the two")
        try:
            read[variable] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingError(name, f"{path} cannot be read: {reason}") from error
        if not read[variable] or len(read[variable].split()) > 1:
            raise SettingError(name, f"{path} must hold the token, on one line")
    return {**env, **read} if read else env
