"""`bakeoff ui`: runs the dashboard in the foreground under Streamlit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from app.settings import Settings, url_of

_ROOT = Path(__file__).resolve().parents[2]


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """None: settings, from environment variables, configure the dashboard."""


def run(_args: argparse.Namespace) -> int:
    """Replace this process by Streamlit, on HOST and UI_PORT. Raises `SettingError`."""
    settings = Settings.from_environ()
    os.chdir(_ROOT)  # Streamlit reads .streamlit/config.toml where it is started, and finds `app` there
    environment = environment_of(settings, os.environ)
    os.execve(sys.executable, command(settings), environment)  # noqa: S606 - no shell; our own interpreter


def environment_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Streamlit's environment."""
    environment = {**environ, "API_URL": settings.api_url}
    if settings.admin_bind is not None and settings.public_api_url is None:
        # API_URL is the listener of administration; clients copy commands for the other one.
        environment["PUBLIC_API_URL"] = url_of(settings.host, settings.api_port)
    # Anyone who can open the page could use it: the dashboard asks each user for the token instead.
    environment.pop("ADMIN_TOKEN", None)
    return environment


def command(settings: Settings) -> list[str]:
    """Streamlit's command line. Options that do not depend on settings are in .streamlit/config.toml."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(_ROOT / "app" / "ui" / "main.py")),
        f"--server.address={settings.host}",
        f"--server.port={settings.ui_port}",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    ]
