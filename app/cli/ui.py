"""`bakeoff ui`: the dashboard in the foreground, by Streamlit."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from app.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No arguments: everything is a setting."""


def run(_args: argparse.Namespace) -> int:
    """Become Streamlit on HOST and UI_PORT; returns only by an error. Raises `SettingError`."""
    settings = Settings.from_environ()
    environment = {**os.environ, "API_URL": settings.api_url}
    # The dashboard asks for it in the page; it must not be able to hand out what it was never meant to have.
    environment.pop("ADMIN_TOKEN", None)
    os.chdir(_ROOT)  # Streamlit reads .streamlit/config.toml where it is started, and finds `app` there
    os.execve(sys.executable, command(settings), environment)  # noqa: S606 - no shell; our own interpreter


def command(settings: Settings) -> list[str]:
    """The command line; settings other than address and port are in .streamlit/config.toml."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(_ROOT / "app" / "ui" / "main.py")),
        f"--server.address={settings.host}",
        f"--server.port={settings.ui_port}",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    ]
