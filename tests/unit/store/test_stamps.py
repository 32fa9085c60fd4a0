"""Stamps say when something last succeeded, and nothing where it never did."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.store.stamps import stamp, stamped_at_s


def test_what_never_happened_has_no_time(tmp_path: Path) -> None:
    assert stamped_at_s(tmp_path, "backup") is None
    assert stamped_at_s(tmp_path / "nowhere", "archive") is None


def test_a_stamp_has_the_time_of_the_last_success_and_each_its_own(tmp_path: Path) -> None:
    stamp(tmp_path, "backup")
    os.utime(tmp_path / "backup.stamp", (1_700_000_000, 1_700_000_000))
    assert stamped_at_s(tmp_path, "backup") == 1_700_000_000
    stamp(tmp_path, "backup")
    assert (stamped_at_s(tmp_path, "backup") or 0) > 1_700_000_000
    assert stamped_at_s(tmp_path, "archive") is None


def test_a_stamp_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        stamp(tmp_path / "nowhere", "archive")
