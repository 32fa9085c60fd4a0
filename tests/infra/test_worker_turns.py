"""What workers do in turn, or once for all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.turns import in_turn, made_once
from tests.waiting import consistently

WORKER = SimpleNamespace(workerinput={})


def test_no_two_are_in_a_turn_at_once(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with in_turn(tmp_path / "lock"):
            inside.append(number)

    with ThreadPoolExecutor(8) as pool:
        with in_turn(tmp_path / "lock"):
            others = [pool.submit(work, number) for number in range(8)]
            consistently(lambda: inside == [], for_s=0.2)
        for other in others:
            other.result(10)
    assert sorted(inside) == list(range(8))


def test_workers_share_what_the_first_has_made(tmp_path: Path) -> None:
    made = []
    bases = [tmp_path / "gw0", tmp_path / "gw1"]
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda base: made_once(WORKER, base, "trained", made.append), bases))
    assert folders == [tmp_path / "trained"] * 2
    assert made == [tmp_path / "trained"]


def test_what_failed_half_way_is_made_anew(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        made_once(WORKER, tmp_path / "gw0", "trained", fail)
    folder = made_once(WORKER, tmp_path / "gw1", "trained", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_without_workers_it_lies_in_the_sessions_own_folder(tmp_path: Path) -> None:
    assert made_once(SimpleNamespace(), tmp_path, "trained", lambda folder: None) == tmp_path / "trained"
