"""`bakeoff serve`: runs the API in the foreground under gunicorn. On SIGTERM it finishes open requests and stops."""

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
    """None: settings, from environment variables, configure the API."""


def run(_args: argparse.Namespace) -> int:
    """Replace this process by gunicorn. Raises `SettingError`, also if it could not listen on the port."""
    settings = Settings.from_environ()
    _check_port("API_PORT", settings.host, settings.api_port)
    if settings.admin_bind is not None:
        _check_port("ADMIN_BIND", *settings.admin_bind)
    environment = {
        **os.environ,
        "WEB_CONCURRENCY": str(settings.workers),  # gunicorn reads it, too, and an empty one stops it
        # prometheus_client reads this one once, when it is imported; later would be too late.
        "PROMETHEUS_MULTIPROC_DIR": str(settings.metrics_dir.absolute()),
        # Workers are the unit of parallelism; threads of numerical libraries in each would compete for the same cores.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    # Replaced, not started as a child: then signals to this process reach gunicorn itself.
    command = [sys.executable, "-m", "gunicorn", "--config", str(_GUNICORN_CONF), "app.wsgi:create()"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell; our own interpreter


def _check_port(variable: str, host: str, port: int) -> None:
    # gunicorn tries a taken port five times, with a line of log for each; this is one line, at once.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As gunicorn does, or connections of a server that has just stopped would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingError(
                    variable, f"port {port} is taken: stop what listens there, or set another {variable}"
                ) from None
            if error.errno == errno.EACCES:
                raise SettingError(variable, f"this user may not listen on port {port}") from None
            named = "HOST" if variable == "API_PORT" else variable
            raise SettingError(named, f"cannot listen on {host}:{port}: {error}") from None
