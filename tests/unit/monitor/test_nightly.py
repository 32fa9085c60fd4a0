"""What the monitor runs every night."""

import json
import sys

import pytest

from app.monitor.nightly import Nightly, is_due
from tests.waiting import eventually

HOUR_US = 3_600 * 1_000_000
MIDNIGHT_US = 20_000 * 24 * HOUR_US


@pytest.mark.parametrize(
    ("now_h", "done_h", "tried_h", "due"),
    [
        (3, -2, -20, True),
        (1, -2, -20, False),  # the night begins at 02:00
        (23, 3, 3, False),
        (27, 3, 3, True),
        (3, -30, 2.5, False),  # the last try is half an hour ago
        (1, -100, -20, True),
    ],
)
def test_it_is_due_once_a_night(now_h, done_h, tried_h, due):
    times = (round(MIDNIGHT_US + hours * HOUR_US) for hours in (now_h, done_h, tried_h))
    assert is_due(*times) is due


def tick(tmp_path, script, caplog):
    Nightly((sys.executable, "-c", script), lambda: 0, lambda: MIDNIGHT_US).tick()
    return [(record.message, record.event_fields) for record in caplog.records]


def test_what_it_prints_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    script = f"print({json.dumps(json.dumps({'files': 2}))})"
    assert tick(tmp_path, script, caplog) == [("archived", {"files": 2})]


def test_a_failure_is_logged_with_its_last_line(tmp_path, caplog):
    script = "import sys; sys.exit('one\\nerror: no such bucket')"
    assert tick(tmp_path, script, caplog) == [("archive_failed", {"reason": "error: no such bucket"})]


def test_a_command_that_runs_is_told_to_end(tmp_path):
    begun = tmp_path / "begun"
    script = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    nightly = Nightly((sys.executable, "-c", script), lambda: 0, lambda: MIDNIGHT_US)
    nightly.start()
    eventually(begun.exists)
    nightly.stop()
    assert not nightly._thread.is_alive()
