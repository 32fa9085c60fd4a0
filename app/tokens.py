"""Which token opens what: the scopes of the API, the tokens that are set, and what is wrong with them.

Imports nothing of the settings, which read tokens with it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import msgspec

from app.domain.decision import MONITOR
from app.errors import SettingError

Scope = Literal["predict", "read", "feedback"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
VARIABLES = ("ADMIN_TOKEN", "API_TOKEN", "PREDICT_TOKEN", "READ_TOKEN", "FEEDBACK_TOKEN")
SHORTEST = 16
ADMINS_FILE = "ADMIN_TOKENS_FILE"
# Who holds ADMIN_TOKEN. Neither this nor the name of automatic decisions may be another administrator's.
ADMIN = "admin"
LONGEST_NAME = 64
_DIGEST = re.compile("[0-9a-f]{64}")


class TokenComplaint(msgspec.Struct, frozen=True):
    """Something to know about the tokens, and what to do."""

    detail: str
    advice: str


class Administrator(msgspec.Struct, frozen=True):
    """One of several administrators: the name for the audit log, and the SHA-256 of the token in hexadecimal."""

    name: str
    digest: str


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that are set. `api` opens the three scopes, `predict`, `read` and `feedback` each only its own."""

    admin: str | None = None
    administrators: tuple[Administrator, ...] = ()
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

    def opens(self, scope: Scope, sent: bytes) -> bool:
        """Whether the token `sent` opens a scope. An administrator's opens all, since a call carries one token."""
        own = tuple(token for token in (getattr(self, scope), self.api) if token is not None)
        return self.is_open(scope) or _is_one_of(sent, own) or self.administrator(sent) is not None

    def known(self, sent: bytes) -> bool:
        """Whether the token `sent` opens anything."""
        return _is_one_of(sent, tuple(self.given().values())) or self.administrator(sent) is not None

    @property
    def can_administer(self) -> bool:
        """Whether anybody can be an administrator."""
        return self.admin is not None or bool(self.administrators)

    def administrator(self, sent: bytes) -> str | None:
        """The name of the administrator whose token was `sent`: `admin` for ADMIN_TOKEN. None for anybody else's."""
        digest = sha256(sent).hexdigest()
        # All are compared, in constant time: how long it takes must not tell whose token a guess is near to.
        names = [each.name for each in self.administrators if hmac.compare_digest(each.digest, digest)]
        if self.admin is not None and _is_one_of(sent, (self.admin,)):
            names.append(ADMIN)
        return names[0] if names else None

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
                    # Not with a colon: what follows `TOKEN:` is redacted in a log.
                    f"tokens shorter than {SHORTEST} characters, which can be guessed: {', '.join(short)}",
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


def administrators(path: str) -> tuple[Administrator, ...]:
    """The administrators in a file of lines `name sha256-of-token`; empty lines and those that begin with # are passed.

    Raises `SettingError`, with the number of the line, where the file cannot be read or a line is wrong.
    """
    found: dict[str, Administrator] = {}
    for number, line in enumerate(_text(ADMINS_FILE, path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *names, digest = line.rsplit(maxsplit=1)
        name, digest = "".join(names).strip(), digest.lower()
        problem = _problem_of(name, digest, found)
        if problem is not None:
            raise SettingError(ADMINS_FILE, f"{path}, line {number}: {problem}")
        found[name] = Administrator(name, digest)
    if not found:
        raise SettingError(ADMINS_FILE, f"{path} names nobody: write a line `name sha256-of-token` for each")
    return tuple(found.values())


def _problem_of(name: str, digest: str, others: Mapping[str, Administrator]) -> str | None:
    if not _DIGEST.fullmatch(digest):
        return "it must be a name and the SHA-256 of a token in hexadecimal, 64 characters; not the token itself"
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        return f"the name must be 1 to {LONGEST_NAME} printable characters"
    if name in (ADMIN, MONITOR):
        return f"{name!r} is taken: {'ADMIN_TOKEN acts' if name == ADMIN else 'automatic decisions are made'} under it"
    if name in others:
        return f"{name!r} has a line already"
    if any(other.digest == digest for other in others.values()):
        return f"the token of {name!r} is another administrator's"
    return None


def _is_one_of(sent: bytes, tokens: tuple[str, ...]) -> bool:
    # In constant time: how long the comparison takes must not tell how much of a guess is right.
    return any(hmac.compare_digest(sent, token.encode()) for token in tokens)


def _text(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingError(name, f"{path} cannot be read: {reason}") from error


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
        read[variable] = _text(name, path).strip()
        if not read[variable] or len(read[variable].split()) > 1:
            raise SettingError(name, f"{path} must hold the token, on one line")
    return {**env, **read} if read else env
