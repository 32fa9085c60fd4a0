"""Tokens: their scopes, their files, and what is wrong with them."""

from hashlib import sha256

import pytest

from app.errors import SettingError
from app.observe.logs import Redactor
from app.settings import Settings
from app.tokens import VARIABLES, Tokens, scope_of

LONG = "a-token-of-some-length"


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_token_can_be_in_a_file(tmp_path, variable):
    path = tmp_path / "token"
    path.write_text(f"{LONG}\n")
    settings = Settings.from_environ({f"{variable}_FILE": str(path)})
    assert settings.tokens.given() == {variable: LONG}


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("", "must hold"), ("a\nb", "must hold")])
def test_a_file_without_a_token_stops_the_start(tmp_path, content, said):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingError, match=said) as refused:
        Settings.from_environ({"READ_TOKEN_FILE": str(path)})
    assert refused.value.variable == "READ_TOKEN_FILE"


def test_a_token_is_not_given_twice(tmp_path):
    with pytest.raises(SettingError, match="set one of the two"):
        Settings.from_environ({"API_TOKEN": LONG, "API_TOKEN_FILE": str(tmp_path)})


def test_a_client_sends_the_token_of_the_scope_first():
    tokens = Tokens(api="all", read="reads", admin="root")
    assert [tokens.to_send(scope) for scope in ("read", "predict")] == ["reads", "all"]
    assert (Tokens(admin="root").to_send("read"), Tokens(admin="root").to_send("read", admin=True)) == (None, "root")


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/predict", "predict"),
        ("/predict/batch", "predict"),
        ("/predictions?id=1", "read"),
        ("/feedback?partial=true", "feedback"),
        ("/models", "read"),
    ],
)
def test_the_path_says_the_scope(path, scope):
    assert scope_of(path) == scope


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (Tokens(), []),
        (Tokens(api=LONG, admin=LONG), []),
        (Tokens(api="short", read=LONG), ["tokens shorter than 16 characters, which can be guessed: API_TOKEN"]),
        (Tokens(read=LONG), ["shortened prediction ids"]),
        (Tokens(read="short", feedback=LONG), ["guessed: READ_TOKEN"]),
    ],
)
def test_what_an_administrator_should_know(tokens, said):
    found = [complaint.detail for complaint in tokens.complaints()]
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))
    assert [Redactor(()).text(text) for text in found] == found  # a log must not hide what is said of a token


def test_tokens_do_not_show():
    assert repr(Tokens(api=LONG, read="x")) == "Tokens(API_TOKEN, READ_TOKEN)"


def digest(token):
    return sha256(token.encode()).hexdigest()


def test_administrators_are_read_from_their_file(tmp_path):
    path = tmp_path / "administrators"
    path.write_text(f"# who may\n\nann {digest('of ann')}\n  Bob Ø.\t{digest('of bob').upper()} \r\n")
    tokens = Settings.from_environ({"ADMIN_TOKENS_FILE": str(path), "ADMIN_TOKEN": LONG, "API_TOKEN": "all"}).tokens
    assert [tokens.administrator(sent) for sent in (b"of ann", b"of bob", LONG.encode())] == ["ann", "Bob Ø.", "admin"]
    assert [tokens.administrator(sent) for sent in (b"all", b"", digest("of ann").encode())] == [None] * 3
    assert [tokens.opens("read", sent) for sent in (b"of ann", b"all", b"other")] == [True, True, False]
    assert "of ann" not in repr(tokens)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "names nobody"),
        ("# only this\n", "names nobody"),
        ("ann the-token-itself", "line 1: it must be a name and the SHA-256"),
        (digest("a"), "line 1: the name must be"),
        (f"admin {digest('a')}", "line 1: 'admin' is taken: ADMIN_TOKEN acts"),
        (f"monitor {digest('a')}", "line 1: 'monitor' is taken: automatic decisions"),
        (f"ann {digest('a')}\nann {digest('b')}", "line 2: 'ann' has a line already"),
        (f"ann {digest('a')}\n\nbob {digest('a')}", "line 3: the token of 'bob' is another"),
        (f"{'n' * 65} {digest('a')}", "1 to 64"),
    ],
)
def test_a_wrong_line_of_administrators_stops_the_start(tmp_path, lines, said):
    path = tmp_path / "administrators"
    path.write_text(lines)
    with pytest.raises(SettingError, match=said) as refused:
        Settings.from_environ({"ADMIN_TOKENS_FILE": str(path)})
    assert refused.value.variable == "ADMIN_TOKENS_FILE"


def test_administrators_without_their_file_stop_the_start(tmp_path):
    with pytest.raises(SettingError, match="cannot be read: No such file"):
        Settings.from_environ({"ADMIN_TOKENS_FILE": str(tmp_path / "none")})
