"""Importing any module of the project only defines things: no file written, no socket, no thread, no process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.infra.repository import ROOT

BUILDS_ON_IMPORT = {"app.wsgi", "app.__main__"}  # the entry points: what they are for
PROBE = """
import importlib, json, os, pkgutil, sys, threading
import app
seen = []
acts = ("socket.bind", "socket.connect", "subprocess.Popen", "os.system", "os.fork", "sqlite3.connect")
acts += ("os.mkdir", "os.rename", "os.remove")
def of_a_package():
    # What a package does when it is imported (urllib3 looks for IPv6 by a bind) is not ours.
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(app.__path__[0]):
        if frame.f_code.co_name == "<module>" and "site-packages" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
def watch(event, arguments):
    if event in acts and of_a_package():
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([module, event, str(arguments[0])])
    elif event in acts:
        seen.append([module, event, repr(arguments)[:80]])
skipped = set(json.loads(sys.argv[1]))
names = [found.name for found in pkgutil.walk_packages(app.__path__, "app.") if found.name not in skipped]
sys.addaudithook(watch)
for module in names:
    importlib.import_module(module)
    extra = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if extra:
        seen.append([module, "threads", ", ".join(extra)])
print(json.dumps({"modules": len(names), "seen": seen}))
"""


def test_no_import_has_an_effect() -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "DATABASE_URL": "nonsense://", "API_PORT": "none"}
    result = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(sorted(BUILDS_ON_IMPORT))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["modules"] > 20
    assert report["seen"] == []
