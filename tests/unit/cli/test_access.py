"""What commands reach: each failure of a call to the API has a message that is true and says what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.cli import access
from app.cli.access import ApiRefused, ask, registry_of
from app.errors import InvalidRequest, SettingError, Unavailable
from app.settings import Settings
from tests.unit.cli.small_api import SmallApi, small_api


@pytest.fixture(scope="module")
def api() -> Iterator[SmallApi]:
    with small_api() as api:
        yield api


def refusal(api: SmallApi, status: int, body: object) -> str:
    api.answer("/x", body, status)
    with pytest.raises(ApiRefused) as refused:
        ask(api.url, "/x", "token")
    return refused.value.message


def test_a_slash_at_the_end_of_the_address_is_harmless(api: SmallApi) -> None:
    api.answer("/x", {"a": 1})
    assert ask(f"{api.url}/", "/x") == {"a": 1}


@pytest.mark.parametrize("url", ["localhost:5000", "127.0.0.1", "ftp://127.0.0.1/", "http://"])
def test_what_is_not_an_address_is_not_called_an_api_that_is_down(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an HTTP address"):
        ask(url, "/experiment")


def test_a_line_break_in_a_header_is_named() -> None:
    with pytest.raises(InvalidRequest, match="--actor"):
        ask("http://127.0.0.1:9", "/x", headers={"X-Actor": b"a\nb"})


def test_an_api_that_is_slow_is_not_called_one_that_is_down(api: SmallApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_ANSWER_S", 0.05)
    with small_api(delay_s=0.5) as slow:
        slow.answer("/x", {})
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
            ask(slow.url, "/x")


def test_a_missing_or_wrong_token_names_the_variables(api: SmallApi) -> None:
    wrong = {"error": {"code": "forbidden", "message": "the token is not the right one"}}
    assert "ADMIN_TOKEN, API_TOKEN" in refusal(api, 403, wrong)


def test_where_administration_is_off_no_token_is_asked_for(api: SmallApi) -> None:
    off = {"error": {"code": "admin_disabled", "message": "set ADMIN_TOKEN and restart the api"}}
    assert refusal(api, 403, off) == "set ADMIN_TOKEN and restart the api"


@pytest.mark.parametrize("body", [{"oops": 1}, [1], {"error": "text"}, {"error": {}}, None])
@pytest.mark.parametrize("status", [403, 500])
def test_an_error_without_a_reason_points_to_the_log(api: SmallApi, status: int, body: object) -> None:
    assert refusal(api, status, body) == f"{api.url}/x answered {status} without a reason: see the API's log"


def test_an_unusable_registry_is_a_setting_error(tmp_path) -> None:
    settings = Settings(model_dir=tmp_path / "models", data_dir=tmp_path / "data")

    def list_models() -> None:
        with registry_of(settings):
            raise PermissionError(13, "Permission denied", str(tmp_path))

    with pytest.raises(SettingError, match=f"MODEL_DIR: {tmp_path}: Permission denied"):
        list_models()
