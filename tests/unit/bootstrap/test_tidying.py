from app.bootstrap.worker import Tidying, give_back_freed


def turns_until_tidied(changes, turns=12):
    tidied, now = [], 0
    tidying = Tidying(lambda: tidied.append(now), turns=3)
    for now in range(turns):
        if now in changes:
            tidying.soon()
        tidying.tick()
    return tidied


def test_nothing_is_tidied_where_nothing_was_let_go():
    assert turns_until_tidied(()) == []


def test_it_is_tidied_once_some_turns_later():
    assert turns_until_tidied({1}) == [3]


def test_another_change_meanwhile_begins_the_wait_anew():
    assert turns_until_tidied({1, 2, 7}) == [4, 9]


def test_the_systems_own_way_can_be_asked_at_any_time():
    give_back_freed()
    give_back_freed()
