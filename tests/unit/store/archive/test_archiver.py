"""Archiving a small log: what is read afterwards, and what a run leaves when it is interrupted."""

import pytest

from tests.unit.store.archive.conftest import projections


def test_all_events_are_the_same_from_archive_and_log_together(small_log):
    small_log.random_traffic(300, late=0.3)
    middle_us = small_log.now_us
    small_log.random_traffic(100, seed=1)
    before = small_log.all_events()
    done = small_log.archive(middle_us)
    assert (done.predictions, done.limited_by) == (300, None)
    assert small_log.counted("predictions") == 100
    assert small_log.all_events() == small_log.all_events(limit=7) == before


def test_a_rebuild_gives_the_same_digits(small_log):
    small_log.random_traffic(200, kinds=("actual", "reward"), units=20)
    small_log.archive()
    small_log.random_traffic(50, seed=1)
    small_log.process(*projections())
    rebuilt = small_log.rebuild(*projections())
    assert rebuilt.rows > 250
    assert set(rebuilt.states_equal.values()) == {True}


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["write", "put", "compare", "manifest", "mark", "remove"])
def test_a_run_that_was_killed_anywhere_loses_and_doubles_nothing(small_log, at, monkeypatch):
    small_log.random_traffic(200, late=0.3)
    before = small_log.all_events()
    kill(monkeypatch, at)
    with pytest.raises(Killed):
        small_log.archive()
    monkeypatch.undo()
    assert small_log.all_events() == before
    small_log.archive()
    assert small_log.all_events() == before
    assert small_log.counted("predictions") == 1


def kill(monkeypatch, at):
    """Let the next run end at this step."""
    from app.store.archive import archiver, log, places, writing

    def die(*_args, **_options):
        raise Killed

    put = places.Place.put

    def put_all_but(part):
        return lambda self, name, source: die() if part in name else put(self, name, source)

    write = log.ArchivableLog._write
    writes = iter(range(9))
    steps = {
        "write": (writing.SpanWriter, "_outcomes", die),
        "put": (places.Place, "put", put_all_but("outcomes/")),
        "compare": (archiver.Archiver, "_compare", die),
        "manifest": (places.Place, "put", put_all_but("manifest")),
        "mark": (log.ArchivableLog, "put_mark", die),
        "remove": (
            log.ArchivableLog,
            "_write",
            lambda self, work: write(self, work) if next(writes) < 1 else die(),
        ),
    }
    monkeypatch.setattr(*steps[at])
