import pytest

from app.services.serving.pace import QUICK_S, SLOW_S, Pace
from tests.builders import loaded_version


class Counting:
    """A runtime that counts its predictions, or cannot predict."""

    def __init__(self, fails=False):
        self.asked, self.fails = 0, fails

    def predict(self, _rows):
        self.asked += 1
        if self.fails:
            raise RuntimeError("broken")


def versions(**runtimes):
    return {name: loaded_version(name, runtime) for name, runtime in runtimes.items()}


@pytest.fixture
def known():
    return versions(v1=Counting(), v2=Counting())


@pytest.fixture
def pace(known):
    pace = Pace()
    pace.measure(known)
    return pace


def noted(pace, *seconds, version="v1"):
    for each in seconds:
        pace.note(version, each)
    return pace


def test_what_has_not_been_measured_is_slow(known):
    assert Pace().slow(known)


def test_versions_are_measured_when_they_are_loaded_and_again_only_if_they_are_new(pace, known):
    assert not pace.slow(known)
    both = known | versions(v3=Counting())
    assert pace.slow(both)
    pace.measure(both)
    assert not pace.slow(both)
    assert [version.runtime.asked for version in both.values()] == [2, 2, 2]


def test_one_slow_version_makes_all_of_them_slow(pace, known):
    noted(pace, *[10 * SLOW_S] * 30, version="v2")
    assert pace.slow(known)


def test_a_thread_that_had_to_wait_a_few_times_does_not_make_a_model_slow(pace, known):
    noted(pace, 1e-4, *[1.0] * 5, 1e-4, *[1.0] * 5)
    assert not pace.slow(known)


def test_between_slow_and_quick_a_version_stays_what_it_was(pace, known):
    between = (SLOW_S + QUICK_S) / 2
    assert not noted(pace, 1e-4, *[between] * 30).slow(known)
    assert noted(pace, *[2 * SLOW_S] * 30).slow(known)
    assert noted(pace, between).slow(known)
    assert not noted(pace, QUICK_S / 2).slow(known)


def test_a_version_that_is_gone_is_forgotten(pace, known):
    noted(pace, *[10 * SLOW_S] * 30, version="v2")
    left = {"v1": known["v1"]}
    pace.measure(left)
    assert not pace.slow(left)


def test_a_version_that_cannot_answer_is_no_reason_to_wait():
    broken = versions(v1=Counting(fails=True))
    pace = Pace()
    pace.measure(broken)
    assert not pace.slow(broken)
