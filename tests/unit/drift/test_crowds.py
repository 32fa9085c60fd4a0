"""Crowds of one: whose rows form a block, whose wait, and that one caller's rows prove nothing."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.drift.blocks import Blocks, walk_by_count
from app.drift.callers import Acquaintance, Callers, callers_of_rows, each_alone, heaviest_share
from app.drift.crowds import Begun, CrowdState
from app.drift.detector import advance
from app.drift.detector_state import DetectorState, Moments, new_state, stream_wealth, window_rows
from app.drift.evidence import alarm_wealth
from app.drift.family import Family
from app.drift.streams import numeric_stream
from app.drift.waiting import MOST_WAITING, Lots
from app.drift.walks import Walks


def family(rows=200, seed=1):
    chance = np.random.default_rng(seed)
    stream = numeric_stream("x", np.sort(chance.normal(size=rows)), chance)
    return Family(seed=seed, streams=(stream,), cells=())


def callers(users, sizes=None):
    """Rows of these users (0: nobody), a request each, or of requests of these sizes."""
    users = np.array(users, dtype=np.int64)
    begins = np.ones(len(users), dtype=bool)
    if sizes is not None:
        begins[:] = False
        begins[np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)] = True
    return callers_of_rows(users, begins)


def blocks_of(who, state=None):
    """Row numbers of the closed blocks, and the state after the rows."""
    state = state or CrowdState()
    walk, lots = walked(who, state)
    before = Begun.of(state).rows
    numbers = np.concatenate([np.full(before, -1), np.arange(len(who.users))])
    rows = numbers.view(np.uint8).reshape(-1, 8)
    return [numbers[block].tolist() for run in walk.closed for block in run.places], walk.state(rows, lots)


def walked(who, state, walks=None, seed=7):
    """The walk through rows from number 0 on, row by row, and their lots."""
    lots = Lots(seed, state.stored_lots, 0, len(who.users))
    times = np.arange(len(who.users))
    if walks is not None:
        return walks.through(state, times, who, lots), lots
    blocks = Blocks(Begun.of(state), lots)
    blocks.add(times, who)
    return blocks.walk(), lots


def test_the_rest_of_a_batch_whose_first_row_is_missing_is_no_part_of_the_request_before_it():
    nobody = np.zeros(3, np.int64)
    who = Callers(nobody, np.array([True, False, False]), np.array([True, False, False]), nobody)
    blocks, state = blocks_of(who)
    assert not blocks
    assert (state.open_rows, state.gathered is not None, state.skipped) == (1, True, 1)


def test_rows_of_nobody_form_blocks_in_order():
    blocks, state = blocks_of(each_alone(25))
    assert blocks == [list(range(10)), list(range(10, 20))]
    assert (state.open_rows, state.waiting, state.skipped) == (5, (), 0)


def test_a_block_takes_one_row_of_a_request_and_one_of_a_user():
    blocks, _ = blocks_of(callers([0] * 5 + [3, 3, 3] + [0] * 30, [5, 1, 1, 1] + [1] * 30))
    owner = {**dict.fromkeys(range(5), "batch"), **dict.fromkeys((5, 6, 7), "user")}
    for block in blocks:
        named = [owner[row] for row in block if row in owner]
        assert len(named) == len(set(named))


def test_waiting_rows_enter_in_the_order_of_the_log_and_none_is_lost():
    blocks, state = blocks_of(callers([7] * 6 + [0] * 294))
    rows = [row for block in blocks for row in block]
    assert [row for row in rows if row < 6] == list(range(6))
    assert len(rows) + state.open_rows + len(state.waiting) == 300


def test_of_a_request_one_row_counts_and_is_drawn():
    blocks, state = blocks_of(callers([0] * 20_000, [5] * 4000))
    rows = np.concatenate(blocks)
    assert (np.unique(rows // 5, return_counts=True)[1] == 1).all()
    assert np.bincount(rows % 5).min() > 700
    assert state.skipped == 16_000


def test_rows_wait_for_500_requests_at_most():
    blocks, state = blocks_of(callers([0] * 1000 + [7] * 100 + [0] * 2000))
    entered = [number for number, block in enumerate(blocks) for row in block if 1000 <= row < 1100]
    assert entered
    assert max(entered) <= (1100 + 500 + 100) / 10
    assert not state.waiting
    assert state.rows + state.open_rows + state.skipped + state.unlearnt == 3100


def test_a_case_that_is_sent_again_counts_once():
    keys = np.repeat(np.arange(1, 101), 3)
    who = callers_of_rows(np.zeros(300, dtype=np.int64), np.ones(300, dtype=bool), keys)
    blocks, state = blocks_of(who)
    assert [row for block in blocks for row in block] == list(range(0, 300, 3))
    assert state.repeated == 200


def test_a_user_who_sends_a_share_of_the_requests_all_the_time_is_a_service():
    chance = np.random.default_rng(5)
    users = np.where(chance.random(6000) < 0.4, 9, 0)
    blocks, state = blocks_of(callers(users))
    late = [row for block in blocks for row in block if row >= 1000]
    assert abs(np.mean(users[late] == 9) - 0.4) < 0.03
    assert len(late) > 4900
    assert abs(heaviest_share(state.known) - 0.4) < 0.05


def test_until_services_are_known_no_row_counts():
    users = np.where(np.arange(1000) % 2 == 0, 9, 0)
    blocks, _ = blocks_of(callers(users))
    counted = sorted(row for block in blocks for row in block)
    assert not [row for row in counted if 30 < row < 400]
    assert np.mean(users[[row for row in counted if row >= 400]] == 9) == pytest.approx(0.5, abs=0.01)


def test_a_user_who_was_busy_for_a_while_is_no_service():
    users = [0] * 2000 + [9, 0] * 300 + [0] * 400
    blocks, _ = blocks_of(callers(users))
    for block in blocks:
        assert sum(2000 <= row < 2600 and row % 2 == 0 for row in block) <= 1


def test_a_crowd_is_spaced():
    blocks, _ = blocks_of(callers([0] * 1000 + [7] * 9 + [0] * 1000))
    found = [number for number, block in enumerate(blocks) if any(1000 <= row < 1009 for row in block)]
    assert np.diff(found)[:5].min() >= 4
    assert np.diff(found)[0] == 8


def test_a_block_that_waits_through_500_requests_closes_with_what_it_has():
    state = CrowdState(known=Acquaintance(requests=2000), opened_after=2000)
    blocks, state = blocks_of(callers([4, 4, 4, 4, 5] + [4] * 700), state)
    assert [len(block) for block in blocks][:1] == [2]
    assert state.few_callers


def test_few_callers_is_over_with_the_first_full_block():
    state = CrowdState(known=Acquaintance(requests=2000), opened_after=2000)
    _, state = blocks_of(callers([4] * 700), state)
    assert state.few_callers
    _, after = blocks_of(callers(range(100, 700)), msgspec.structs.replace(state, open_rows=0))
    assert not after.few_callers


def test_the_queue_is_bounded_and_what_is_left_out_is_counted():
    # Each of 500 persons sends four rows in a row, eight times: less than a tenth of any stretch.
    users = np.tile(np.repeat(np.arange(1, 501), 8), 4)
    _, state = blocks_of(callers(users))
    assert 0 < len(state.waiting) <= MOST_WAITING
    assert state.rows + state.open_rows + len(state.waiting) + state.skipped == len(users)


def test_ordinary_rows_take_the_short_way_to_the_same_state():
    for first in (0, 3, 10, 19):
        state = blocks_of(each_alone(first))[1] if first else CrowdState()
        whole, short = walked(each_alone(27), state)[0], walk_by_count(state, np.arange(27))
        assert whole[1:] == short[1:]
        for one, other in zip(whole.closed, short.closed, strict=True):
            assert [each.tolist() for each in one] == [each.tolist() for each in other]


def test_rows_of_the_same_callers_are_walked_through_once_whatever_their_lots_are():
    who, walks = callers(np.tile([0, 0, 0, 5, 6, 7, 0, 8], 40)), Walks()
    first, _ = walked(who, CrowdState(), walks, seed=7)
    assert walked(who, CrowdState(), walks, seed=8)[0] is first
    assert walked(who, first.state(np.zeros((320, 1), np.uint8), Lots(7, [], 0, 320)), walks)[0] is not first
    assert walked(callers([0] * 320), CrowdState(), walks)[0] is not first


def test_where_lots_decide_each_part_walks_on_its_own():
    who, walks = callers([0] * 200, [5] * 40), Walks()
    blocks = [walked(who, CrowdState(), walks, seed=seed)[0].closed[0].places.tolist() for seed in (7, 8)]
    assert blocks == [walked(who, CrowdState(), seed=seed)[0].closed[0].places.tolist() for seed in (7, 8)]
    assert blocks[0] != blocks[1]


RUNS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 2, 3, 4]), st.integers(1, 40), st.integers(1, 8)), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(RUNS, st.lists(st.integers(1, 97), min_size=1, max_size=30), st.integers(0, 2**31))
def test_the_state_does_not_depend_on_how_the_log_is_cut(runs, cuts, seed):
    watched = family()
    sizes = [size for _, size, times in runs for _ in range(times)]
    users = [user for user, size, times in runs for _ in range(times * size)]
    who, keys = callers(users, sizes), np.random.default_rng(seed).normal(size=(len(users), 1))
    at_us = np.cumsum(who.begins).astype(np.int64)
    whole = advance(watched, new_state(watched), keys, level=alarm_wealth(1), at_us=at_us, callers=who)
    state, first = new_state(watched), 0
    for size in [*cuts, len(users)]:
        part = slice(first, first + size)
        piece = who.part(part)
        state = advance(watched, state, keys[part], level=alarm_wealth(1), at_us=at_us[part], callers=piece)
        state = msgspec.json.decode(msgspec.json.encode(state), type=DetectorState)
        first += size
    assert state == whole
    assert len(whole.crowd.waiting) <= MOST_WAITING


@settings(max_examples=60, deadline=None)
@given(RUNS, st.lists(st.integers(0, 97), min_size=1, max_size=30), st.integers(0, 2**31))
def test_a_moment_is_the_state_of_a_log_that_ends_there(runs, cuts, seed):
    watched = family()
    sizes = [size for _, size, times in runs for _ in range(times)]
    users = [user for user, size, times in runs for _ in range(times * size)]
    who, keys = callers(users, sizes), np.random.default_rng(seed).normal(size=(len(users), 1))
    keys[len(keys) // 3 :] += 4
    due = [end for end in np.cumsum(cuts).tolist() if end <= len(keys)]
    moments, state, first = Moments(due), new_state(watched, 50), 0
    whole = advance(watched, state, keys, level=alarm_wealth(1), callers=who, moments=moments)
    for end, moment in zip(due, moments.of(whole), strict=True):
        part = slice(first, end)
        state, first = advance(watched, state, keys[part], level=alarm_wealth(1), callers=who.part(part)), end
        assert moment.wealth.tobytes() == stream_wealth(state).tobytes()
        assert (moment.closed_requests, moment.alarm) == (state.closed_requests, state.alarm)
        window = moments.shown[max(0, moment.end - moments.window) : moment.end]
        assert sorted(window.tolist()) == sorted(window_rows(state).tolist())


def ever_alarms(users, sizes, keys, watched):
    who, state = callers(users, sizes), new_state(watched)
    for first in range(0, len(keys), 500):
        part = slice(first, first + 500)
        state = advance(watched, state, keys[part], level=alarm_wealth(1), callers=who.part(part))
        if state.alarm:
            return True
    return False


@pytest.mark.parametrize("rows", ["sorted", "nearly equal"])
@pytest.mark.parametrize("user", [0, 9])
def test_one_callers_hundred_rows_raise_no_alarm(rows, user):
    chance, watched = np.random.default_rng(3), family()
    keys = chance.normal(size=(5000, 1))
    crowd = np.sort(keys[1000:1100], axis=0) if rows == "sorted" else 2 + chance.normal(size=(100, 1)) * 1e-3
    keys[1000:1100] = crowd
    users = [0] * 1000 + [user] * 100 + [0] * 3900
    sizes = None if user else [1] * 1000 + [100] + [1] * 3900
    assert not ever_alarms(users, sizes, keys, watched)
    assert ever_alarms([0] * 5000, None, keys, watched)


def test_callers_who_differ_raise_no_alarm_and_a_change_of_one_of_them_is_found():
    chance = np.random.default_rng(11)
    of_the_service = chance.random(400) < 0.4
    stream = numeric_stream("x", np.sort(chance.normal(size=400) + of_the_service), chance)
    watched = Family(seed=3, streams=(stream,), cells=())
    users = np.where(chance.random(8000) < 0.4, 9, 0)
    keys = (chance.normal(size=8000) + (users == 9))[:, None]
    assert not ever_alarms(users, None, keys, watched)
    keys[4000:][users[4000:] == 9] += 2
    assert ever_alarms(users, None, keys, watched)


def test_batches_that_are_always_sorted_raise_no_alarm():
    keys = np.sort(np.random.default_rng(13).normal(size=(1600, 5)), axis=1).reshape(-1, 1)
    assert not ever_alarms([0] * 8000, [5] * 1600, keys, family())
    assert ever_alarms([0] * 1600, None, keys[::5], family())


def test_a_client_that_begins_to_name_itself_raises_no_alarm():
    chance = np.random.default_rng(17)
    of_the_client = chance.random(400) < 0.4
    stream = numeric_stream("x", np.sort(chance.normal(size=400) + of_the_client), chance)
    watched = Family(seed=3, streams=(stream,), cells=())
    is_client = chance.random(8000) < 0.4
    keys = (chance.normal(size=8000) + is_client)[:, None]
    named = np.where(is_client & (np.arange(8000) >= 3000), 9, 0)
    renamed = np.where(is_client, np.where(np.arange(8000) < 5000, 9, 10), 0)
    assert not ever_alarms(named, None, keys, watched)
    assert not ever_alarms(renamed, None, keys, watched)
