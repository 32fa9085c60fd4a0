"""The projections come to the state that was recorded before they worked on columns, to the last digit.

    python -m tests.unit.monitor.test_same_state

records the states anew, where what is counted has changed on purpose.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from app.domain.monitor_state import PROJECTIONS
from app.monitor.breakdown import BreakdownProjection
from app.monitor.disagreements import DisagreementProjection
from app.monitor.drift.projection import DriftProjection
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import process_together
from app.store.archive.archiver import Archiver
from app.store.archive.log import ArchivableLog
from app.store.archive.places import place_of
from app.store.archive.writing import SpanWriter
from app.store.drift_reports import DriftTable
from app.store.engine import Database
from app.store.kinds import READING
from app.store.log_rows import LogRows
from tests.unit.monitor.kinds_of_logs import CONTRACTS, KINDS, KindOfLog, numeric_references
from tests.unit.monitor.small_log import ORDINALS, START_US

RECORDED = Path(__file__).with_name("same_state.json")
PAGES = (1, 7, 2000)
# Pages of so many rows end within each of the logs, and are few.
SEVERAL_PAGES = 50
LONG = ("many", "plain")
QUERIES = {
    **{
        name: f"SELECT name, body FROM monitor_state WHERE name = '{name}' OR name LIKE '{name}/%' ORDER BY name"
        for name in PROJECTIONS
    },
    "cursors": "SELECT name, cursor_predictions, cursor_feedback, cursor_heartbeats, cursor_corrections "
    "FROM monitor_state WHERE name NOT LIKE '%/%' AND name <> 'heartbeat' ORDER BY name",
    "timeline": "SELECT experiment_id, challenger, n, at_us, body FROM timeline ORDER BY 1, 2, 3",
    "users": "SELECT * FROM monitor_users ORDER BY 1, 2",
    "units": "SELECT abs(experiment), unit, body FROM monitor_units ORDER BY 1, 2",
    "windows": "SELECT abs(experiment), seq, closes_at_us, body FROM monitor_windows ORDER BY 1, 2",
    "rows": "SELECT * FROM disagreements ORDER BY 1, 2, 3",
}


def folded(log, page):
    """The hash of each kind of derived state, after pages of so many rows."""
    process_together(projections(log), log.events, log.stored_states, batch_rows=page)
    with log.database.begin(READING) as connection:
        found = {name: connection.execute(text(query)).all() for name, query in QUERIES.items()}
    return {name: digest_of(repr([tuple(map(plain, row)) for row in rows]).encode()) for name, rows in found.items()}


def projections(log):
    references = log.references or numeric_references()
    return (
        ExperimentProjection(),
        DriftProjection(references, DriftTable(log.database)),
        DisagreementProjection(),
        BreakdownProjection(references),
    )


def plain(value):
    """A value as SQLite has it: PostgreSQL knows truth values, and another type of bytes."""
    if isinstance(value, bool):
        return int(value)
    return bytes(value) if isinstance(value, memoryview) else value


def digest_of(data):
    """A number: a scan for secrets would take hexadecimal digits for one."""
    return int.from_bytes(hashlib.sha256(data).digest()[:12])


def written(kind, url):
    log = KindOfLog(Database(url))
    KINDS[kind](log)
    return log


def archive(log, folder):
    """Archive what was served in the first two thirds of the time of the log; how many files came of it."""
    process_together(projections(log), log.events, log.stored_states)
    archivable, contracts = ArchivableLog(log.database, log.clock, pause=lambda _s: None), log.contracts or CONTRACTS
    cursors = {each.name: log.stored_states.cursor(each.name) for each in projections(log)}
    archiver = Archiver(
        archivable,
        place_of(str(folder / "archive")),
        SpanWriter(archivable, contracts, {ordinal: name for name, ordinal in ORDINALS.items()}),
        lambda: cursors,
        lambda: LogRows(log.database).ends()[1],
        log.clock,
        folder,
    )
    return archiver.run(START_US + (log.now_us - START_US) * 2 // 3)


def arithmetic():
    """What this machine makes of logarithms and the like: another one may round the last digit differently."""
    grid = np.linspace(0.001, 40, 4001)
    found = b"".join(function(grid).tobytes() for function in (np.log, np.exp, np.log1p, np.sqrt))
    return digest_of(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_the_recorded_one_in_pages_of_any_size(kind, tmp_path):
    log, found = written(kind, f"sqlite:///{tmp_path}/log.sqlite"), {}
    for page in PAGES if kind not in LONG else PAGES[1:]:
        forget(log)
        found[page] = folded(log, page)
    log.database.close()
    assert [*found.values()] == [found[2000]] * len(found)
    assert found[2000] == recorded(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_the_recorded_one_with_the_old_part_of_the_log_archived(kind, tmp_path):
    log = written(kind, f"sqlite:///{tmp_path}/log.sqlite")
    assert archive(log, tmp_path)
    forget(log)
    assert folded(log, SEVERAL_PAGES) == recorded(kind)
    log.database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_the_recorded_one_on_postgresql(kind, postgres_url):
    log = written(kind, postgres_url)
    assert folded(log, SEVERAL_PAGES) == recorded(kind)
    log.database.close()


def recorded(kind):
    states = json.loads(RECORDED.read_text())
    if states["arithmetic"] != arithmetic():
        pytest.skip("this machine rounds otherwise than the one that recorded the states")
    return states[kind]


def forget(log):
    from app.store.kinds import MONITORING

    log.forget()
    with log.database.begin(MONITORING) as connection:
        connection.exec_driver_sql("DELETE FROM disagreements")


def main():
    states = {"arithmetic": arithmetic()}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            states[kind] = folded(written(kind, f"sqlite:///{folder}/log.sqlite"), 2000)
    RECORDED.write_text(json.dumps(states, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
