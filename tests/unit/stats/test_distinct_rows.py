import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.stats.distinct_rows import DistinctRows

HASHES = st.integers(-(2**63), 2**64 - 1)


def _of(votes) -> DistinctRows:
    rows = DistinctRows()
    for row, gain in votes:
        rows = rows.add(row, gain)
    return rows


@given(st.lists(st.tuples(st.integers(-20, 20), st.sampled_from([-1, 0, 1])), max_size=200))
def test_up_to_256_rows_are_counted_exactly(votes):
    rows = _of(votes)
    assert (rows.count, rows.sampled) == (len({row for row, _ in votes}), False)
    assert (rows.wins, rows.losses) == (sum(g > 0 for _, g in votes), sum(g < 0 for _, g in votes))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(HASHES, st.sampled_from([-0.5, 0.0, 0.5])), min_size=300, max_size=600), st.randoms())
def test_the_order_of_the_votes_does_not_matter(votes, chance):
    mixed = list(votes)
    chance.shuffle(mixed)
    assert _of(votes) == _of(mixed)


@pytest.mark.parametrize("n", [257, 1000, 20_000])
@pytest.mark.parametrize("step", [1, 2**40])
def test_beyond_256_rows_their_number_is_estimated_in_constant_memory(n, step):
    rows = _of((row * step, 1) for row in range(n))
    assert rows.count == pytest.approx(n, rel=0.2)
    assert len(rows.votes) == 256
    assert len(msgspec.json.encode(rows)) < 10_000


def test_there_are_never_more_rows_than_wins_and_losses():
    counts = [_of((row, 1) for row in range(start, start + 300)).count for start in range(0, 60_000, 300)]
    assert max(counts) == 300
    assert min(counts) > 256


def test_votes_of_the_kept_rows_are_complete():
    chance = np.random.default_rng(1)
    votes = [
        (int(row), int(gain))
        for row, gain in zip(chance.integers(0, 900, 4000), chance.choice([-1, 1], 4000), strict=True)
    ]
    kept = _of(votes).votes
    every = {next(iter(_of([(row, 0)]).votes)): row for row in range(900)}
    for key, seen in kept.items():
        gains = [gain for row, gain in votes if row == every[key]]
        assert seen == (gains.count(1), gains.count(-1))


@pytest.mark.parametrize(
    ("votes", "side", "expected"),
    [
        ([(1, -1)] * 10 + [(2, -1)] * 3, -1, (13, 2)),
        ([(1, -1)] * 4, -1, None),
        ([(1, -1)] * 5, -1, (5, 1)),
        ([(1, -1)] * 6 + [(2, -1)], -1, None),
        ([(1, -1)] * 7 + [(2, -1)], -1, (8, 2)),
        ([(1, -1)] * 9, 1, None),
        ([(1, 1)] * 9 + [(row, -1) for row in range(9)], 1, (9, 1)),
        ([(1, 1)] * 9 + [(row, -1) for row in range(9)], -1, None),
        ([], 1, None),
    ],
)
def test_few_rows_behind_many_votes_are_named(votes, side, expected):
    assert _of(votes).few(side) == expected


def test_few_rows_are_found_among_more_than_are_kept():
    often = [(row, 1) for row in range(1000)] * 6 + [(row, -1) for row in range(5000, 9000)]
    votes, rows = _of(often).few(1)
    assert (votes, rows) == (6000, pytest.approx(1000, rel=0.3))
    assert _of(often).few(-1) is None


def test_it_survives_json():
    rows = _of((row, (-1) ** row) for row in range(700))
    assert msgspec.json.decode(msgspec.json.encode(rows), type=DistinctRows) == rows


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(HASHES, st.sampled_from([-0.5, 0.0, 0.5])), max_size=600))
def test_votes_count_the_same_together_and_one_by_one(votes):
    assert DistinctRows().add_all(votes) == _of(votes)
