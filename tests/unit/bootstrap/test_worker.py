from app.bootstrap.worker import MemoryRelease, give_back_freed


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
