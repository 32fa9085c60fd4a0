"""serve: a port that cannot be listened on is one line that names the variable, before gunicorn starts."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from app.cli import main


@pytest.fixture(autouse=True)
def _no_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.execve", lambda *_arguments: pytest.fail("gunicorn was started"))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["serve"]) == 1
    return capsys.readouterr().err


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("API_PORT", str(port))
        assert refused(capsys).startswith(f"error: API_PORT: port {port} is taken: stop what listens there")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "API_PORT: this user may not listen on port 80"), (errno.EADDRNOTAVAIL, "HOST: cannot listen on")],
)
def test_the_variable_at_fault_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, words: str
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("API_PORT", "80")
    monkeypatch.setattr("app.cli.serve.socket.socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    assert words in refused(capsys)
