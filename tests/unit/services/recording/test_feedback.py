import threading
import time

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.experiment import ExperimentTerms
from app.domain.prediction_id import Signer
from app.errors import Contradiction, InvalidRequest, StoreUnavailable, UnknownPrediction
from app.services.ports import RetiredVersion
from app.services.recording.feedback import Feedback, MayBeArchived, Receipt
from app.services.recording.group_commit import GroupCommit
from tests import builders
from tests.waiting import eventually

SIGNER = Signer(b"k" * 32, b"proc")


class ListLog:
    def __init__(self):
        self.submissions, self.answer = [], None

    def commit(self, submissions, *, archive):
        self.submissions += submissions
        return [self.answer or Receipt(len(outcomes), 0) for outcomes in submissions]


@pytest.fixture
def log():
    return ListLog()


@pytest.fixture
def feedback(log):
    return Feedback(
        builders.live_models(builders.models_of(v1=None)), SIGNER, log, builders.OwnKeys(), float, wait_s=0.1
    )


def issued(ordinal=1, **marks):
    return SIGNER.sign_all(
        served_at_us=1,
        version_ordinal=ordinal,
        epoch=1,
        counts=True,
        randomised=True,
        user_hash=0,
        answers=np.array([1]),
        **marks,
    )[0]


def test_a_label_is_taken_by_its_signed_id_alone(feedback, log):
    assert feedback.accept([{"prediction_id": issued(), "actual": "yes"}]) == Receipt(1, 0)
    [[outcome]] = log.submissions
    assert (outcome.kind, outcome.value, outcome.fact.version_ordinal) == ("actual", 1, 1)


def test_an_exposure_takes_a_reward_and_no_label(feedback, log):
    exposure = issued(reported=True)
    assert feedback.accept([{"prediction_id": exposure, "reward": 1.0}]) == Receipt(1, 0)
    with pytest.raises(InvalidRequest, match="has no answer that a label could score: give its outcome as reward"):
        feedback.accept([{"prediction_id": exposure, "actual": "yes"}])
    assert len(log.submissions) == 1


def test_one_item_may_bring_a_label_and_a_reward(feedback, log):
    feedback.accept([{"prediction_id": issued(), "actual": 0, "reward": 0.25}])
    assert [(outcome.kind, outcome.value) for outcome in log.submissions[0]] == [("actual", 0), ("reward", 0.25)]


@pytest.mark.parametrize("reward", [-3.5, 1.5, 1e9])
def test_a_reward_outside_its_declared_range_is_stored_as_given_alone_and_in_a_list(log, reward):
    terms = ExperimentTerms(metric="reward", reward_range=(0.0, 1.0))
    live = builders.live_models(builders.models_of(v1=None), builders.configuration(terms=terms))
    feedback = Feedback(live, SIGNER, log, builders.OwnKeys(), float)
    alone, first, second = ({"prediction_id": issued(), "reward": given} for given in (reward, 0.5, reward))
    assert feedback.accept([alone]) == Receipt(1, 0)
    assert feedback.accept([first, second]) == Receipt(2, 0)
    assert [[outcome.value for outcome in sent] for sent in log.submissions] == [[reward], [0.5, reward]]


def test_a_label_of_a_version_that_is_gone_is_read_by_the_reference(feedback, log):
    feedback.accept([{"prediction_id": issued(ordinal=7), "actual": "no"}])
    assert log.submissions[0][0].value == 0


def test_a_label_of_a_retired_version_is_read_by_its_own_classes(log):
    retired = {"v7": RetiredVersion(7, replace(builders.CONTRACT, classes=("cat", "dog")))}
    live = builders.live_models(replace(builders.models_of(v1=None), retired=retired))
    feedback = Feedback(live, SIGNER, log, builders.OwnKeys(), float)
    feedback.accept([{"prediction_id": issued(ordinal=7), "actual": "dog"}])
    assert log.submissions[0][0].value == 1


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "give prediction_id"),
        ({"prediction_id": 5, "actual": 0}, "prediction_id must be a string: give prediction_id"),
        ({"id": 5, "actual": 0}, "id must be a string: give prediction_id"),
        ({"id": "", "actual": 0}, "id must be a string of 1 to 128 printable"),
        ({"id": "a\0", "actual": 0}, "id must be a string of 1 to 128 printable"),
        ({"id": "a", "prediction_id": "x", "actual": 0}, "not both"),
        ({"prediction_id": "x"}, "give actual .* or reward"),
        ({"prediction_id": "x", "actual": 0, "colour": 1}, "unknown key 'colour'"),
        ({"key": "order-1", "actual": 0}, "unknown key 'key'; known keys: actual, correct, id, prediction_id, reward"),
        ([], "an outcome is an object"),
        (None, "an outcome is an object"),
    ],
)
def test_a_malformed_item_is_refused_alone_and_by_index(feedback, log, item, words):
    with pytest.raises(InvalidRequest, match=words):
        feedback.accept([item])
    with pytest.raises(InvalidRequest, match=f"item 1: .*{words}") as rejected:
        feedback.accept([{"prediction_id": issued(), "actual": 0}, item])
    assert rejected.value.index == 1
    assert log.submissions == []


def test_an_empty_list_is_refused(feedback):
    with pytest.raises(InvalidRequest, match="empty"):
        feedback.accept([])


def test_a_forged_id_is_unknown(feedback):
    with pytest.raises(UnknownPrediction):
        feedback.accept([{"prediction_id": issued()[:-1] + "!", "actual": 0}])


def test_what_the_log_contradicts_is_raised(feedback, log):
    log.answer = Contradiction("it is recorded as 1")
    with pytest.raises(Contradiction):
        feedback.accept([{"prediction_id": issued(), "actual": 0}])


SLOW_COMMIT_S = 0.05  # a disk that is slow enough for the others to come meanwhile


def test_callers_that_wait_are_committed_together():
    sizes = []

    def commit(works):
        time.sleep(SLOW_COMMIT_S)
        sizes.append(len(works))
        return [work * 10 for work in works]

    group, results = GroupCommit(commit, wait_s=5), {}
    callers = [threading.Thread(target=lambda n=n: results.update({n: group.submit(n)})) for n in range(12)]
    [caller.start() for caller in callers]
    [caller.join() for caller in callers]
    assert results == {n: n * 10 for n in range(12)}
    assert sum(sizes) == 12
    assert len(sizes) <= 4


def test_a_failed_commit_fails_every_caller_in_it_and_none_after():
    outcomes = iter([StoreUnavailable("full"), None])

    def commit(works):
        error = next(outcomes)
        if error:
            raise error
        return list(works)

    group = GroupCommit(commit, wait_s=5)
    with pytest.raises(StoreUnavailable, match="full"):
        group.submit(1)
    assert group.submit(2) == 2


def test_a_caller_that_waits_too_long_gets_an_error_and_is_withdrawn():
    entered, release = threading.Event(), threading.Event()
    committed = []

    def commit(works):
        entered.set()
        release.wait(5)
        committed.extend(works)
        return list(works)

    group = GroupCommit(commit, wait_s=0.05)
    holder = threading.Thread(target=lambda: group.submit("first"))
    holder.start()
    entered.wait(5)
    with pytest.raises(StoreUnavailable, match="nothing of this request"):
        group.submit("second")
    release.set()
    holder.join()
    assert committed == ["first"]


def test_who_comes_when_enough_others_wait_does_not_wait():
    entered, release, results = threading.Event(), threading.Event(), []

    def commit(works):
        entered.set()
        release.wait(5)
        return list(works)

    group = GroupCommit(commit, wait_s=5, most=2)
    callers = [threading.Thread(target=lambda n=n: results.append(group.submit(n))) for n in range(3)]
    callers[0].start()
    entered.wait(5)
    [caller.start() for caller in callers[1:]]
    eventually(lambda: group._callers == 3)
    with pytest.raises(StoreUnavailable, match="nothing of this request"):
        group.submit("more")
    release.set()
    [caller.join() for caller in callers]
    assert sorted(results) == [0, 1, 2]


class ArchivedOutcomes:
    """Outcomes of version 1 are fresh; those of version 2 may be archived, and the archive answers once `there` is."""

    def __init__(self):
        self.asked, self.there = threading.Event(), threading.Event()

    def commit(self, submissions, *, archive):
        old = [any(outcome.fact.version_ordinal == 2 for outcome in outcomes) for outcomes in submissions]
        if archive:
            self.asked.set()
            self.there.wait(5)
        return [MayBeArchived("old") if each and not archive else Receipt(1, 0) for each in old]


def test_a_fresh_label_does_not_wait_while_the_archive_is_read_for_an_old_one():
    log, receipts = ArchivedOutcomes(), []
    live = builders.live_models(builders.models_of(v1=None, v2=None))
    feedback = Feedback(live, SIGNER, log, builders.OwnKeys(), float, wait_s=0.1)
    old, fresh = [{"prediction_id": issued(2), "reward": 1}], [{"prediction_id": issued(), "reward": 1}]
    reader = threading.Thread(target=lambda: receipts.append(feedback.accept(old)))
    reader.start()
    log.asked.wait(5)
    assert feedback.accept(fresh) == Receipt(1, 0)
    both = feedback.accept_each([*old, *fresh])
    assert [item.status for item in both.items] == ["unavailable", "accepted"]
    log.there.set()
    reader.join()
    assert receipts == [Receipt(1, 0)]
