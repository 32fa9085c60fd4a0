import numpy as np
import pytest

from app.domain.prediction_id import Signer
from app.errors import Contradiction, InvalidRequest, NotReady, StoreUnavailable, UnknownPrediction
from app.services.recording.feedback import Feedback, Receipt
from tests import builders

SIGNER = Signer(b"k" * 32, b"proc")
FACTS = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 0}
FIRST, SECOND = (SIGNER.sign_all(**FACTS, answers=np.array([1]))[0] for _ in range(2))


class Outcomes:
    """The log of outcomes; `told` are submissions of one prediction each, by value."""

    def __init__(self):
        self.told, self.commits = {}, 0

    def commit(self, submissions, *, archive):
        self.commits += 1
        return [self._one(outcomes) for outcomes in submissions]

    def _one(self, outcomes):
        new = {(each.prediction_id, each.kind): each.value for each in outcomes}
        if any(self.told.get(key, value) != value for key, value in new.items()):
            return Contradiction("it is recorded as something else", field="actual")
        fresh = new.keys() - self.told.keys()
        self.told |= new
        return Receipt(len(fresh), len(outcomes) - len(fresh))


@pytest.fixture
def keys():
    return builders.OwnKeys(**{"order-1": FIRST, "order-2": SECOND})


@pytest.fixture
def waits():
    return []


@pytest.fixture
def log():
    return Outcomes()


@pytest.fixture
def feedback(keys, log, waits):
    def settle(timeout_s):
        waits.append(timeout_s)
        return True

    return Feedback(builders.live_models(builders.models_of(v1=None)), SIGNER, log, keys, settle)


def test_a_key_stands_for_its_prediction_and_the_receipt_says_which(feedback, log):
    assert feedback.accept([{"id": "order-1", "actual": "yes"}]) == Receipt(1, 0, prediction_id=FIRST)
    assert log.told == {(FIRST, "actual"): 1}


def test_in_a_list_keys_and_ids_may_be_mixed(feedback, log):
    items = [{"id": "order-2", "actual": "yes"}, {"prediction_id": FIRST, "reward": 0.5}]
    assert feedback.accept(items) == Receipt(1 + 1, 0, prediction_ids=(SECOND, FIRST))
    assert log.told == {(SECOND, "actual"): 1, (FIRST, "reward"): 0.5}


def test_feedback_before_the_row_is_in_the_log_waits_for_it(keys, log):
    del keys.known["order-1"]

    def settle(timeout_s):
        assert timeout_s == 1.0
        keys.known["order-1"] = FIRST
        return True

    feedback = Feedback(builders.live_models(builders.models_of(v1=None)), SIGNER, log, keys, settle)
    assert feedback.accept([{"id": "order-1", "actual": "no"}]).prediction_id == FIRST


def test_a_list_waits_once_for_all_its_keys(feedback, keys, waits):
    items = [{"id": f"order-{number}", "actual": "no"} for number in (1, 2, 3, 4)]
    with pytest.raises(UnknownPrediction, match="item 2: no prediction of the last 90 days has the id 'order-3'"):
        feedback.accept(items)
    assert (waits, keys.asked) == ([1.0], [{"order-1", "order-2", "order-3", "order-4"}])


@pytest.mark.parametrize("way", [Feedback.accept, Feedback.accept_each])
def test_while_the_log_is_behind_an_unknown_key_is_to_be_sent_again(keys, log, way):
    feedback = Feedback(builders.live_models(builders.models_of(v1=None)), SIGNER, log, keys, lambda _s: False)
    assert way(feedback, [{"id": "order-1", "actual": "no"}]).accepted == 1
    with pytest.raises(StoreUnavailable, match="'order-9' may be on its way"):
        way(feedback, [{"id": "order-2", "actual": "no"}, {"id": "order-9", "actual": "no"}])
    assert log.told == {(FIRST, "actual"): 0}


def test_prediction_ids_wait_for_nothing(feedback, keys, waits):
    feedback.accept([{"prediction_id": SECOND, "actual": "no"}])
    assert (waits, keys.asked) == ([], [])


MIXED = [
    {"id": "order-1", "actual": "yes"},
    {"id": "order-1", "actual": "yes"},
    {"id": "order-1", "actual": "no"},
    {"id": "order-9", "actual": "no"},
    {"prediction_id": "forged", "actual": "no"},
    {"id": "order-2", "actual": "perhaps"},
    {"id": "order-2"},
    {"prediction_id": FIRST, "actual": "yes", "reward": 0.5},
]


def test_each_item_has_a_status_of_its_own(feedback, log):
    receipt = feedback.accept_each(MIXED)
    statuses = ["accepted", "duplicate", "contradicts", "unknown", "unknown", "invalid", "invalid", "accepted"]
    assert [item.status for item in receipt.items] == statuses
    assert (receipt.accepted, receipt.duplicates) == (2, 2)
    assert (receipt.unknown, receipt.contradicts, receipt.invalid) == (2, 1, 2)
    assert [item.field for item in receipt.items[2:7]] == ["actual", "id", "prediction_id", "actual", "actual"]
    assert (log.told, log.commits) == ({(FIRST, "actual"): 1, (FIRST, "reward"): 0.5}, 1)


def test_a_list_that_is_sent_again_is_all_known(feedback):
    items = [{"id": "order-1", "actual": "yes"}, {"id": "order-2", "actual": "no"}]
    assert feedback.accept_each(items).accepted == 2
    again = feedback.accept_each(items)
    assert (again.accepted, again.duplicates, [item.status for item in again.items]) == (0, 2, ["duplicate"] * 2)


def test_of_a_list_with_a_wrong_item_nothing_is_accepted_otherwise(feedback, log):
    with pytest.raises(UnknownPrediction, match="item 3"):
        feedback.accept([MIXED[0], MIXED[1], MIXED[1], MIXED[3]])
    assert log.told == {}


def test_a_list_without_any_usable_item_writes_nothing(feedback, log):
    assert feedback.accept_each([MIXED[3], None]).items[1].status == "invalid"
    assert log.commits == 0


@pytest.mark.parametrize(("cell", "value"), [("yes", 1), (" yes ", 1), ("1", 1), ("0.0", 0)])
def test_a_cell_of_a_file_names_a_class_as_json_would(feedback, log, cell, value):
    feedback.accept([{"id": "order-1", "actual": cell}], from_file=True)
    assert log.told == {(FIRST, "actual"): value}


@pytest.mark.parametrize("cell", ["", "1_0", "inf", "nan", "high", "9" * 500])
def test_a_cell_that_is_no_number_is_no_reward(feedback, cell):
    with pytest.raises(InvalidRequest) as refusal:
        feedback.accept([{"id": "order-1", "reward": cell}], from_file=True)
    assert refusal.value.field == "reward"


def test_while_nothing_is_loaded_a_list_is_not_ready_rather_than_invalid(keys, log):
    feedback = Feedback(builders.live_models(builders.models_of()), SIGNER, log, keys, float)
    for accept in (feedback.accept, feedback.accept_each):
        with pytest.raises(NotReady):
            accept([{"id": "order-1", "actual": 1}, {"id": "order-2", "actual": 1}])


def test_a_store_that_is_down_fails_the_whole_call(feedback, log):
    def down(_submissions, *, archive):
        raise StoreUnavailable("full")

    log.commit = down
    with pytest.raises(StoreUnavailable):
        feedback.accept_each(MIXED)
