"""`bakeoff serve`: the api in the foreground, by gunicorn; SIGTERM drains."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from app.errors import SettingError
from app.settings import Settings

_GUNICORN_CONF = Path(__file__).resolve().parents[2] / "docker" / "gunicorn.conf.py"


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No arguments: everything is a setting."""


def run(_args: argparse.Namespace) -> int:
    """Become gunicorn; returns only by an error. Raises `SettingError`, also for a port that is taken."""
    settings = Settings.from_environ()
    _check_port(settings)
    environment = {
        **os.environ,
        "WEB_CONCURRENCY": str(settings.workers),  # gunicorn reads it too, and an empty one stops it
        # prometheus_client looks at it once, when it is imported.
        "PROMETHEUS_MULTIPROC_DIR": str(settings.metrics_dir.absolute()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    command = [sys.executable, "-m", "gunicorn", "--config", str(_GUNICORN_CONF), "app.wsgi:create()"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell; our own interpreter


def _check_port(settings: Settings) -> None:
    """gunicorn would try a taken port five times, with a line each; one plain line is better."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.api_port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingError(
                    "API_PORT", f"port {settings.api_port} is taken: stop what listens there, or set another API_PORT"
                ) from None
            raise SettingError("HOST", f"cannot listen on {settings.host}:{settings.api_port}: {error}") from None
