"""How gunicorn runs the api, in containers and without: `python -m app serve` uses this file.

The app is built once in the master (`preload_app`), so that workers share its memory and a broken setting stops the
start. Nothing that may not cross a fork (threads, connections) exists before `post_worker_init`.
"""

from app.bootstrap import prepare_host, retire_worker
from app.observe.logs import logging_config
from app.settings import Settings

_settings = Settings.from_environ()

bind = f"{_settings.host}:{_settings.api_port}"
workers = _settings.workers
worker_class = "gthread"
threads = _settings.threads
worker_connections = 2000
preload_app = True
keepalive = 75  # seconds; longer than the idle time-out of the usual proxies, so that they close first
graceful_timeout = 30
timeout = 60
limit_request_line = 8190
control_socket_disable = True
logconfig_dict = logging_config(_settings)
proc_name = "bakeoff-api"


def on_starting(_server):
    """Before the app is built: an empty folder for the metrics, an up-to-date store."""
    prepare_host(_settings)


def post_worker_init(worker):
    """In the new worker: start what may not cross a fork."""
    worker.wsgi.start()


def worker_exit(_server, worker):
    """In the worker, after its last answer: drain what has not been written yet."""
    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        wsgi.stop()


def child_exit(_server, worker):
    """In the master: keep what a dead worker had counted."""
    retire_worker(_settings, worker.pid)
