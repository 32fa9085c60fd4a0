"""gunicorn's configuration for the api, in containers and without: `bakeoff serve` uses this file.

The app is built once in the master (`preload_app`), so that workers share its memory and a wrong setting stops the
start. Nothing that must not cross a fork (threads, connections, mapped files) exists before `post_worker_init`.
"""

import logging
import os

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from app.bootstrap.host import Host
from app.errors import SettingError
from app.observe.logs import logging_config
from app.settings import Settings, address_of
from app.web.server.accepting import ConnectionShares
from app.web.server.worker import LoopWorker


class EventLogger(Logger):
    """gunicorn's log without access lines: metrics count requests, and a log line can cost more than a prediction."""

    def access(self, *_request):
        """Log nothing."""


_settings = Settings.from_environ()
_host = Host(_settings)
# One slot for each worker, and spare slots for the replacements of workers that died.
_shares = ConnectionShares(4 * _settings.workers)

bind = [address_of(*each) for each in ((_settings.host, _settings.api_port), _settings.admin_bind) if each]
workers = _settings.workers
worker_class = "app.web.server.worker.LoopWorker" if _settings.server == "loop" else "gthread"
threads = _settings.threads
preload_app = True
keepalive = 75  # seconds; longer than the idle timeout of common proxies, so that the proxy closes first
graceful_timeout = 30
timeout = 60
control_socket_disable = True
logger_class = EventLogger
logconfig_dict = logging_config(_settings)
proc_name = "bakeoff-api"


def on_starting(_server):
    """Prepare the host after the app was built and before the first worker starts."""
    try:
        _host.prepare()
    except SettingError as error:
        raise SystemExit(f"error: {error.message}") from None


def post_worker_init(worker):
    """In the new worker: start everything that must not cross a fork."""
    if not isinstance(worker, LoopWorker):
        worker.wsgi.start(draining=lambda: _draining(worker))
        return
    worker.drain_while_exists(_settings.drain_file)
    started = worker.wsgi.start(draining=lambda: worker.draining, waiting=worker.waiting)
    worker.answer_with(started.front, _settings.max_body_bytes)
    worker.share_connections(_shares)


def _draining(worker):
    """Whether gunicorn's own worker, which knows no drain file, accepts no more requests."""
    return not worker.alive or (_settings.drain_file is not None and _settings.drain_file.exists())


def worker_exit(_server, worker):
    """In the worker, after its last response: write the queued records, then exit without running destructors.

    ONNX Runtime starts a thread in the master when it is imported. A forked worker does not have that thread, and the
    library's destructors abort the process when they wait for it, or hang.
    """
    if worker.booted:
        worker.wsgi.stop()
    logging.shutdown()
    # The other status tells the master that a new worker would fail to boot too.
    os._exit(0 if worker.booted else Arbiter.WORKER_BOOT_ERROR)


def child_exit(_server, worker):
    """In the master, after a worker died: keep the counts of its metrics."""
    _host.retire(worker.pid)
