from types import SimpleNamespace

import pytest

from app.bootstrap.worker import MemoryRelease, give_back_freed, is_behind
from app.services.ports import RefusedVersion
from app.services.serving.live_models import LiveModels
from tests.builders import configuration, loaded_models, loaded_version


def ticks_of_release(changes, ticks=12):
    released, now = [], 0
    memory = MemoryRelease(lambda: released.append(now), ticks=3)
    for now in range(ticks):
        if now in changes:
            memory.soon()
        memory.tick()
    return released


def test_no_memory_is_released_where_nothing_was_replaced():
    assert ticks_of_release(()) == []


def test_memory_is_released_once_some_ticks_later():
    assert ticks_of_release({1}) == [3]


def test_another_change_meanwhile_restarts_the_wait():
    assert ticks_of_release({1, 2, 7}) == [4, 9]


def test_memory_can_be_given_back_at_any_time():
    give_back_freed()
    give_back_freed()


@pytest.mark.parametrize(
    ("refused", "weights", "published", "behind"),
    [
        ((), {"v1": 1.0}, ("v1",), False),
        (("s3://models",), {"v1": 1.0}, ("v1",), True),
        ((), {"v1": 0.5, "v2": 0.5}, ("v1", "v2"), True),
        ((), {"v1": 0.5, "v2": 0.5}, ("v1",), False),
        (("v2",), {"v1": 0.5, "v2": 0.5}, ("v1", "v2"), False),
        (("v2",), {"v1": 0.5, "v2": 0.25, "v3": 0.25}, ("v1", "v2", "v3"), True),
    ],
)
def test_a_process_is_behind_its_registry_if_that_was_away_or_has_what_is_lacking(refused, weights, published, behind):
    wrong = tuple(RefusedVersion(name, "why", registry=name == "s3://models") for name in refused)
    models = loaded_models(loaded_version("v1"), refused=wrong)
    live = LiveModels(models, configuration(weights=weights), lambda: None)
    registry = SimpleNamespace(names=lambda: published)
    assert is_behind(live, registry) is behind
