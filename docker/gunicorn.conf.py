"""How gunicorn runs the api, in containers and without: `python -m app serve` uses this file.

The app is built once in the master (`preload_app`), so that workers share its memory and a wrong setting stops the
start. Nothing that may not cross a fork (threads, connections, mapped files) exists before `post_worker_init`.
"""

import logging
import os

from gunicorn.glogging import Logger

from app.bootstrap.host import Host
from app.errors import SettingError
from app.observe.logs import logging_config
from app.settings import Settings
from app.web.connection_shares import ConnectionShares


class EventLogger(Logger):
    """gunicorn's log without a line a request: metrics count those, and it costs more than some answers."""

    def access(self, *_request):
        """Nothing."""


_settings = Settings.from_environ()
_host = Host(_settings)
# A place for each worker, and some for those that follow one that died.
_shares = ConnectionShares(4 * _settings.workers)

bind = f"{_settings.host}:{_settings.api_port}"
workers = _settings.workers
worker_class = "app.web.gunicorn_worker.PatientWorker"
threads = _settings.threads
worker_connections = 2000
preload_app = True
keepalive = 75  # seconds; longer than the idle time-out of the usual proxies, so that they close first
graceful_timeout = 30
timeout = 60
control_socket_disable = True
logger_class = EventLogger
logconfig_dict = logging_config(_settings)
proc_name = "bakeoff-api"


def on_starting(_server):
    """After the app was built and before the first worker."""
    try:
        _host.prepare()
    except SettingError as error:
        raise SystemExit(f"error: {error.message}") from None


def post_worker_init(worker):
    """In the new worker: start what may not cross a fork."""
    worker.drain_while_there_is(_settings.drain_file)
    started = worker.wsgi.start(draining=lambda: worker.draining, waiting=worker.waiting)
    worker.turn_away_by(started.front)
    worker.share_connections(_shares)


def pre_request(worker, request):
    """Before each request."""
    worker.let_go(request)


def worker_exit(_server, worker):
    """In the worker, after its last answer: write what waits, and end here.

    ONNX Runtime starts a thread in the master when it is imported. A forked worker does not have it, and the
    library's destructors abort the process when they wait for it: so they are not run.
    """
    if not worker.booted:
        return  # its exit status tells the master that another try would fail too
    worker.wsgi.stop()
    logging.shutdown()
    os._exit(0)


def child_exit(_server, worker):
    """In the master: a worker is dead."""
    _host.retire(worker.pid)
