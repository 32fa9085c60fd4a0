"""One demo on a DATA_DIR, free ports by their holders' names, and a private token."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from app.cli.demo_host import admin_token, is_free, local_url, make_folder, only_demo, require_free_port
from app.errors import SettingError
from app.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, api_port=5801)


def test_a_second_demo_on_the_same_folder_is_shown_the_first(settings: Settings) -> None:
    with only_demo(settings) as first, only_demo(settings) as second:
        assert first is None
        assert second == (str(os.getpid()), "5801")


def test_a_file_that_a_killed_demo_left_is_no_lock(settings: Settings) -> None:
    (settings.data_dir / "demo.pid").write_text("1 5000\n")
    with only_demo(settings) as running:
        assert running is None
    assert not (settings.data_dir / "demo.pid").exists()


def test_the_token_is_made_once_and_is_private(settings: Settings) -> None:
    token, source = admin_token(settings)
    assert admin_token(settings) == (token, source)
    assert len(token) >= 32
    assert stat.S_IMODE((settings.data_dir / "admin.token").stat().st_mode) == 0o600


def test_a_token_of_the_environment_is_left_alone(tmp_path: Path) -> None:
    assert admin_token(Settings(data_dir=tmp_path, admin_token="own"))[0] == "own"
    assert not (tmp_path / "admin.token").exists()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:5801"),
        ("0.0.0.0", "http://127.0.0.1:5801"),
        ("::", "http://127.0.0.1:5801"),
        ("::1", "http://[::1]:5801"),
        ("bakeoff.example", "http://bakeoff.example:5801"),
    ],
)
def test_the_api_is_reached_from_this_host(host: str, url: str) -> None:
    assert local_url(Settings(host=host, api_port=5801)) == url


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"port {port} is taken by"):
            require_free_port(Settings(api_port=port))
    assert is_free("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="HOST"):
        is_free("192.0.2.1", 5801)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="--logs"):
        make_folder(tmp_path / "file" / "logs", "--logs")
