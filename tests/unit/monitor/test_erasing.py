"""States without what identifies a person: drift's callers, and the rows that voted."""

import msgspec
import numpy as np
import pytest

from app.domain.erasure import Traces
from app.drift.callers import Acquaintance
from app.drift.crowds import CrowdState
from app.drift.detector_state import DetectorState
from app.drift.waiting import WaitingRow
from app.drift.watch import DriftState
from app.monitor.drift.projection import WatchedVersion
from app.monitor.erasing import StateCleaner

ADA, BOB = 7001, 7002
ARRAYS = ("counts", "faded", "wealth", "modes", "calm", "onset", "pending", "recent")
CASES = np.array([11, 12, 13], "<u4").tobytes()


@pytest.fixture
def watched():
    crowd = CrowdState(
        known=Acquaintance(requests=9, users=((ADA, 3), (BOB, 1)), often=((0, ((ADA, 9),)),), keys=CASES),
        gathered=WaitingRow(9, 5, (0, ADA), b"\1"),
        waiting=(WaitingRow(7, 1, (0, ADA), b"\1"), WaitingRow(8, 1, (1, ADA), b"\2")),
        admitted=(((0, ADA), (1, 2)), ((0, BOB), (3,))),
    )
    inputs = DetectorState(requests=9, window=0, crowd=crowd, **dict.fromkeys(ARRAYS, b""))
    return WatchedVersion(reference_sha256="0", state=DriftState(inputs=inputs))


def cleaned(watched, **traces):
    body = StateCleaner().cleaned("drift/v1", msgspec.json.encode(watched).decode(), Traces(**traces))
    return None if body is None else msgspec.json.decode(body, type=WatchedVersion).state.inputs.crowd


def test_a_user_becomes_one_that_nobody_knows_with_the_same_rows(watched):
    crowd = cleaned(watched, users=frozenset({ADA}))
    [new] = {user for user, _ in crowd.known.users} - {BOB}
    assert new != ADA
    assert crowd.known.often == ((0, ((new, 9),)),)
    assert crowd.gathered.caller == (0, new)
    assert [row.caller for row in crowd.waiting] == [(0, new), (1, ADA)]
    assert dict(crowd.admitted) == {(0, new): (1, 2), (0, BOB): (3,)}


def test_a_case_is_forgotten(watched):
    assert cleaned(watched, cases=frozenset({12})).known.keys == np.array([11, 13], "<u4").tobytes()


def test_a_state_without_traces_stays_as_it_is(watched):
    assert cleaned(watched, users=frozenset({1}), cases=frozenset({2})) is None


def test_the_votes_of_a_row_stay_under_another_number():
    state = {"pairs": {"v2": {"rows": {"votes": {"5": [1, 0], "6": [0, 1]}, "wins": 1, "losses": 1}}}}
    body = StateCleaner().cleaned(
        "experiment/one", msgspec.json.encode(state).decode(), Traces(features=frozenset({5}))
    )
    votes = msgspec.json.decode(body)["pairs"]["v2"]["rows"]["votes"]
    assert "5" not in votes
    assert sorted(votes.values()) == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("name", "concerned"),
    [
        ("drift/v1", True),
        ("drift/v1/report", False),
        ("drift/v1/course", False),
        ("drift", False),
        ("experiment/one", True),
        ("experiment", False),
        ("breakdown/one", False),
        ("report/one", False),
    ],
)
def test_states_that_name_persons_are_told_apart(name, concerned):
    assert StateCleaner().concerns(name) == concerned
