"""Latencies are compared by a clock that the runtimes themselves advance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from app.inference.latency import SingleRowLatency, beside_champion, compared, p95_us, timed_versions
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests import builders
from tests.unit.inference.published import KEY, draft, numeric_contract

IRIS, SPECIES = load_iris(return_X_y=True)
ROWS = np.arange(6.0).reshape(3, 2)


class Clock:
    """Seconds, which only runtimes advance."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Takes:
    """A runtime whose calls take these times, in seconds, over and over; remembers the rows it was asked."""

    def __init__(self, clock: Clock, *seconds: float) -> None:
        self._clock, self._seconds, self.asked = clock, seconds, []

    def predict(self, rows: np.ndarray) -> None:
        self._clock.now_s += self._seconds[len(self.asked) % len(self._seconds)]
        self.asked.append(rows.tolist())


class Fails:
    def predict(self, rows: np.ndarray) -> None:
        raise ValueError("no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_row_is_asked_alone_and_in_turn(clock):
    runtime = Takes(clock, 0.001)
    assert p95_us(runtime, ROWS, clock) == pytest.approx(1000)
    assert runtime.asked[:4] == [[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]], [[0.0, 1.0]]]
    assert len(runtime.asked) == 300


def test_one_slow_answer_in_ten_is_seen_and_one_in_a_hundred_is_not(clock):
    assert p95_us(Takes(clock, *[0.001] * 9, 0.02), ROWS, clock) == pytest.approx(20_000)
    assert p95_us(Takes(clock, *[0.001] * 99, 0.02), ROWS, clock) == pytest.approx(1000)


@pytest.mark.parametrize(("seconds", "calls"), [(0.1, 21), (1.0, 5), (60.0, 5)])
def test_a_slow_version_is_asked_less_often(clock, seconds, calls):
    runtime = Takes(clock, seconds)
    p95_us(runtime, ROWS, clock)
    assert len(runtime.asked) == pytest.approx(calls, abs=1)


def test_two_versions_answer_the_same_rows(clock):
    slow, quick = Takes(clock, 0.016), Takes(clock, 0.00005)
    versions = builders.loaded_version("v2", slow), builders.loaded_version("v1", quick)
    found = compared(*versions, ROWS, ROWS, clock)
    assert (found.champion, found.p95_us, found.champion_p95_us) == ("v1", pytest.approx(16_000), pytest.approx(50))
    assert slow.asked[:3] == quick.asked[:3]


def test_versions_of_other_columns_answer_rows_of_their_own(clock):
    wide, narrow = Takes(clock, 0.002), Takes(clock, 0.001)
    versions = builders.loaded_version("v2", wide), builders.loaded_version("v1", narrow)
    found = compared(*versions, ROWS, ROWS[:, :1], clock)
    assert (found.p95_us, found.champion_p95_us) == (pytest.approx(2000), pytest.approx(1000))
    assert narrow.asked[:3] == [[[0.0]], [[2.0]], [[4.0]]]


def test_a_champion_that_fails_is_no_comparison(clock):
    versions = builders.loaded_version("v2", Takes(clock, 0.5)), builders.loaded_version("v1", Fails())
    assert compared(*versions, ROWS, ROWS, clock) == SingleRowLatency(500_000.0)


def test_a_version_that_fails_has_no_latency(clock):
    assert compared(builders.loaded_version("v2", Fails()), None, ROWS, ROWS, clock) is None


@pytest.fixture
def registry(tmp_path):
    """v1 and v2 answer the same rows, v3 rows of two features."""
    registry = ModelRegistry(tmp_path, KEY)
    for name, rows in {"v1": IRIS, "v2": IRIS, "v3": IRIS[:, :2]}.items():
        model = LogisticRegression(max_iter=1000).fit(rows, SPECIES)
        publish(registry, model, draft(rows, numeric_contract(rows, 3), name), random=10)
    return registry


@pytest.mark.parametrize(("version", "champion"), [("v1", None), ("v2", "v1"), ("v3", "v1")])
def test_the_champion_is_the_alias_if_it_is_another_version(registry, version, champion):
    registry.point("champion", "v1")
    assert beside_champion(registry, version).champion == champion


def test_without_a_champion_or_with_a_refused_one_there_is_only_the_own_latency(registry):
    assert beside_champion(registry, "v2").champion is None
    registry.point("champion", "v1")
    (registry.root / "v1" / "manifest.sig").write_bytes(b"forged")
    assert beside_champion(registry, "v2").champion is None


def test_a_version_that_cannot_be_loaded_is_left_out(registry):
    (registry.root / "v2" / "manifest.sig").write_bytes(b"forged")
    steps = []
    assert list(timed_versions(registry, ("v1", "v2"), steps.append)) == ["v1"]
    assert steps == ["timing single rows of v1", "timing single rows of v2"]
