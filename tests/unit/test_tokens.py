"""Tokens: their scopes, their files, and what is wrong with them."""

import pytest

from app.errors import SettingError
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
        (Tokens(api="short", read=LONG), ["API_TOKEN: shorter than 16"]),
        (Tokens(read=LONG), ["shortened prediction ids"]),
        (Tokens(read="short", feedback=LONG), ["READ_TOKEN: shorter"]),
    ],
)
def test_what_an_administrator_should_know(tokens, said):
    found = [complaint.detail for complaint in tokens.complaints()]
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_tokens_do_not_show():
    assert repr(Tokens(api=LONG, read="x")) == "Tokens(API_TOKEN, READ_TOKEN)"
