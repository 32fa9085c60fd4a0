import os
import subprocess
import sys

import pytest

from app.store.generations import SharedGenerations


@pytest.fixture
def generations(tmp_path):
    return SharedGenerations(tmp_path / "reload")


def test_before_the_first_reload_there_is_no_generation(generations):
    assert generations.current() == ""


def test_each_reload_wants_another_generation_that_all_see(generations, tmp_path):
    first, second = generations.advance(), generations.advance()
    assert first != second
    assert SharedGenerations(tmp_path / "reload").current() == second


def test_a_live_process_with_another_generation_is_behind(generations, tmp_path):
    generations.confirm("old")
    (tmp_path / "reload" / str(os.getppid())).write_text("new")
    assert generations.behind("new") == 1
    generations.confirm("new")
    assert generations.behind("new") == 0


def test_nobody_waits_for_the_dead_and_their_file_is_removed(generations, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    generations.confirm("new")
    (tmp_path / "reload" / str(dead.pid)).write_text("old")
    assert generations.behind("new") == 0
    assert not (tmp_path / "reload" / str(dead.pid)).exists()
