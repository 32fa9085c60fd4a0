"""Reported exposures, rows without features and answers, in the log, the archive, an export, and after an erasure."""

import io
import json
import random

import pyarrow.parquet as pq
import pytest

from app.domain.erasure import Wanted
from app.domain.log_event import Cursor
from app.domain.log_page import in_blocks
from app.services.archive.manifest import MANIFEST, read_manifest
from app.services.export.follow import Follower
from app.services.export.rows import Position
from app.services.queries.history import History
from app.services.recording.log_rows import reported_rows
from app.store.archive.erasing import ErasableArchive
from app.store.archive.places import place_of
from app.store.history import OwnKeys, PredictionHistory
from app.store.log_rows import LogRows
from tests.builders import models_of
from tests.unit.services.recording.recorders import reported
from tests.unit.store.archive.conftest import CONTRACTS, projections
from tests.unit.store.stored_rows import as_stored, log_of

REQUESTS = ("request-1", "0" * 32, "12345678-1234-1234-1234-123456789abc")


@pytest.fixture
def mixed(small_log):
    """Exposures among predictions, with rewards, of which some came before their rows."""
    small_log.begin("rewards", metric="reward")
    rng = random.Random(1)
    for number in range(120):
        user = rng.randint(1, 40)
        if rng.random() < 0.3:
            row = small_log.served({"v1": 0, "v2": 1}, user=user)
        else:
            row = small_log.exposed(rng.choice(["v1", "v2"]), user, rng.random() < 0.8, request_id=REQUESTS[number % 3])
        late = rng.random() < 0.2
        if not late:
            small_log.log(row)
        small_log.give(row, rng.random(), "reward")
        if late:
            small_log.log(row)
    return small_log


def test_rows_are_packed_and_come_back_as_they_were_logged(small_log):
    rows = [small_log.exposed("v1", user, request_id=request) for user in (1, 2) for request in REQUESTS]
    small_log.log(*rows)
    assert log_of(small_log.database) == [as_stored(row, seq) for seq, row in enumerate(rows, 1)]
    parts, alone = in_blocks(small_log.events.page(Cursor(), 100).predictions)
    assert (sum(len(part.at) for part in parts), alone) == (len(rows), [])


def test_what_the_recorder_makes_is_a_row_of_the_log(small_log):
    [row] = reported_rows([reported("v2")])
    assert (row.features, row.answers, row.assignment, row.chosen) == ("[]", "{}", "exposure", "v2")


def test_all_events_are_the_same_from_the_archive(mixed):
    before = mixed.all_events()
    mixed.archive()
    assert mixed.all_events() == mixed.all_events(limit=7) == before


def test_a_rebuild_from_the_archive_gives_the_same_digits(mixed):
    mixed.archive()
    mixed.log(mixed.exposed("v1", 90))
    mixed.process(*projections())
    assert set(mixed.rebuild(*projections()).states_equal.values()) == {True}


def test_a_report_is_that_of_a_replay(mixed):
    first = mixed.report()
    mixed.forget()
    again = mixed.report()
    assert again.variants == first.variants
    assert again.comparisons == first.comparisons
    assert sum(each.exposures for each in first.variants) > 50


def test_a_file_of_the_archive_has_the_exposure_and_nothing_unmatched(mixed, tmp_path):
    mixed.archive()
    [file] = [
        each
        for each in read_manifest(place_of(str(tmp_path / "archive")).read(MANIFEST), "").files
        if "predictions" in each.name
    ]
    table = pq.read_table(tmp_path / "archive" / file.name, partitioning=None)
    rows = [row for row in table.to_pylist() if row["assignment"] == "exposure"]
    assert len(rows) > 50
    assert {(row["feature.a"], row["answer.v1"], row["status.v1"], row["unmatched"]) for row in rows} == {(None,) * 4}


def test_an_export_as_a_stream_has_it_too(small_log):
    small_log.log(small_log.exposed("v2", 7), small_log.served({"v1": 0, "v2": 1}))
    out = io.BytesIO()
    Follower(LogRows(small_log.database), CONTRACTS, {}, out, Position(), as_csv=False).step()
    exposure, prediction = map(json.loads, out.getvalue().splitlines())
    assert (exposure["version"], exposure["assignment"], exposure["user"]) == ("v2", "exposure", f"{7:012x}")
    assert exposure.get("unmatched") is None
    assert (exposure.get("feature.a"), prediction["feature.a"]) == (None, 1.0)


def test_the_history_shows_an_exposure_without_a_prediction(small_log):
    row = small_log.exposed("v2", 7)
    small_log.log(row)
    small_log.give(row, 0.5, "reward")
    history = History(
        PredictionHistory(small_log.database), OwnKeys(small_log.database, small_log.clock), lambda: models_of()
    )
    [entry] = history.page().predictions
    assert (entry.model_version, entry.assignment, entry.reward, entry.features) == ("v2", "exposure", 0.5, {})
    assert not entry.prediction
    assert not entry.answers


def test_an_erasure_takes_the_exposures_of_a_user_out_of_the_archive(mixed, tmp_path):
    person = mixed.exposed("v1", 77)
    mixed.log(person)
    mixed.log(mixed.served({"v1": 0, "v2": 1}))
    mixed.archive()
    place = place_of(str(tmp_path / "archive"))
    archive = ErasableArchive(place, read_manifest(place.read(MANIFEST), place.text), tmp_path)
    found = archive.found(Wanted(frozenset({77})))
    archive.rewrite(Wanted(frozenset({77})), found, "2026-08-01T00:00:00Z")
    archive.delete_replaced(found)
    [file] = [each for each in read_manifest(place.read(MANIFEST), "").files if "predictions" in each.name]
    table = pq.read_table(tmp_path / "archive" / file.name, partitioning=None)
    assert person.prediction_id not in table.column("prediction_id").to_pylist()
    assert "exposure" in table.column("assignment").to_pylist()
