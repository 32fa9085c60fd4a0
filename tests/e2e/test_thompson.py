"""The policy `thompson` over real HTTP, with the monitor: a version that earns clearly less gets less and less."""

import random
import shutil
import sqlite3

import numpy as np
import pytest

from app.monitor.control.bandit import LEAST_SHARE
from app.stats import two_sample
from app.stats.two_sample import Outcomes
from tests.e2e.api_process import ROW, ApiProcess, MonitorProcess
from tests.unit.store.stored_rows import log_at
from tests.waiting import consistently, eventually

pytestmark = pytest.mark.e2e
ADMIN = {"Authorization": "Bearer secret"}
CHANCE = {"v1": 0.3, "v2": 0.8}
HALVES = {"v1": 0.5, "v2": 0.5}
FORCED = 25


class Service:
    """An api and a monitor, and its predictions and feedback so far."""

    def __init__(self, folder):
        self.folder = folder
        settings = {"ADMIN_TOKEN": "secret", "EXPERIMENT_METRIC": "reward", "WEB_CONCURRENCY": "1"}
        # All requests send one row, which would be one case.
        settings |= {"EXPERIMENT_UNIT": "request"}
        self.api = ApiProcess(folder, **settings).wait_until("/health/ready")
        self.monitor = MonitorProcess(folder, module="tests.e2e.quick_bandit")
        self.chance = random.Random(11)

    def patch(self, **settings):
        answer = self.api.session.patch(self.api.url + "/config", json=settings, headers=ADMIN, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, count=1, **headers):
        """The answers to `count` requests, each rewarded by what its version earns."""
        answers = []
        for _ in range(count):
            answers.append(self.api.post("/predict", ROW, headers=headers).json())
            earned = float(self.chance.random() < CHANCE[answers[-1]["model_version"]])
            feedback = {"prediction_id": answers[-1]["prediction_id"], "reward": earned}
            self.api.post("/feedback", feedback).raise_for_status()
        return answers

    def config(self):
        return self.api.get("/config").json()

    def moves(self):
        """The splits that the monitor set, by their epochs."""
        entries = self.api.get("/audit", headers=ADMIN, params={"limit": 100}).json()["entries"]
        by_monitor = [entry for entry in reversed(entries) if entry["actor"] == "monitor"]
        assert {entry["action"] for entry in by_monitor} <= {"weights"}
        return {entry["epoch"]: entry["changes"]["weights"]["after"] for entry in by_monitor}

    def logged(self, query):
        """Rows of the log."""
        with sqlite3.connect(self.folder / "data" / "bakeoff.sqlite") as connection:
            return connection.execute(query).fetchall()

    def predictions(self):
        """The log of predictions."""
        return log_at(f"sqlite:///{self.folder / 'data' / 'bakeoff.sqlite'}")

    def goes_on(self):
        """Some more traffic; where the worse version got hardly any of it, a person sets the split back to halves."""
        share = self.config()["weights"]["v1"]
        self.ask(12)
        if share < 0.05:
            self.patch(weights=HALVES)
        return True

    def excludes_zero(self):
        """Whether the interval of the difference does."""
        [found] = self.api.get("/experiment").json()["comparisons"]
        return found["interval"] is not None and found["interval"][0] > 0

    def experiment(self):
        """The experiment once the monitor has processed the whole log."""
        [(rewards,)] = self.logged("SELECT count(*) FROM feedback WHERE counts")
        requests = sum(row.counts for row in self.predictions())

        def complete():
            found = self.api.get("/experiment").json()
            sums = [sum(each[count] for each in found["variants"]) for count in ("requests", "rewards")]
            return found if [*sums, found["comparisons"][0]["n"]] == [requests, rewards, rewards] else None

        return eventually(complete)

    def stop(self):
        self.monitor.stop()
        self.api.stop()


@pytest.fixture(scope="module")
def played(trained, tmp_path_factory):
    """A service whose bandit has moved three times at least, to the end, though a person set it back to halves."""
    folder = tmp_path_factory.mktemp("bandit") / "installation"
    shutil.copytree(trained, folder)
    service = Service(folder)
    try:
        service.patch(policy="thompson")
        service.ask(FORCED, **{"X-Model-Version": "v1"})
        eventually(lambda: service.goes_on() and len(service.moves()) >= 3 and service.excludes_zero(), timeout_s=90)
        service.patch(weights=HALVES)
        eventually(lambda: service.config()["weights"]["v2"] > 0.9)
        service.ask(12)
        yield service
    finally:
        service.stop()


def test_the_shares_move_to_the_better_version_and_never_below_the_floor(played):
    splits = [*played.moves().values()]
    assert splits[-1]["v1"] == pytest.approx(LEAST_SHARE, abs=0.005)
    assert all(share >= LEAST_SHARE for split in splits for share in split.values())
    assert all(sum(split.values()) == pytest.approx(1) for split in splits)


def test_every_answer_is_logged_with_the_share_that_was_in_force(played):
    splits = played.moves()
    rows = [(row.epoch, row.version, row.propensity) for row in played.predictions() if row.assignment == "bandit"]
    moved = [(epoch, version, propensity) for epoch, version, propensity in rows if epoch in splits]
    assert len({epoch for epoch, *_ in moved}) >= 3
    assert all(propensity == pytest.approx(splits[epoch][version], abs=1e-12) for epoch, version, propensity in moved)
    assert {propensity for epoch, _, propensity in rows if epoch not in splits} == {0.5}  # as a person set it


def test_forced_requests_are_not_counted(played):
    variants = {each["version"]: each for each in played.experiment()["variants"]}
    for version in ("v1", "v2"):
        asked = sum(row.version == version and row.counts for row in played.predictions())
        assert (variants[version]["requests"], variants[version]["rewards"]) == (asked, asked)
    assert sum(row.assignment == "forced" and not row.counts for row in played.predictions()) == FORCED


def test_the_evidence_is_that_of_the_logged_propensities_and_excludes_no_difference(played):
    [found] = played.experiment()["comparisons"]
    shares = {
        row.prediction_id: (row.version == "v2", row.propensity if row.version == "v2" else 1 - row.propensity)
        for row in played.predictions()
        if row.propensity is not None
    }
    outcomes = played.logged("SELECT prediction_id, outcome FROM feedback WHERE counts ORDER BY seq")
    rows = [(shares[each][0], float(outcome), shares[each][1]) for each, outcome in outcomes]
    served, values, propensities = map(np.array, zip(*rows, strict=True))
    assert len(set(propensities.tolist())) >= 2
    state = two_sample.update(two_sample.initial(), Outcomes(served.astype(bool), values, propensities))
    assert (found["method"], found["n"]) == ("two_sample", len(rows))
    assert found["log_e"] == pytest.approx(two_sample.log_e(state), rel=1e-9)
    assert found["interval"][0] > 0
    assert found["verdict"] == "better"


@pytest.mark.parametrize("policy", ["sticky", "weighted"])
def test_another_policy_keeps_the_last_shares_and_ends_the_moves(played, policy):
    played.patch(policy="thompson")
    eventually(lambda: played.config()["weights"]["v2"] > 0.9)
    last = [*played.moves().values()][-1]
    assert played.patch(policy=policy)["weights"] == last
    played.patch(weights=HALVES)  # from which the bandit would move at once
    moves = len(played.moves())
    played.ask()
    consistently(lambda: (len(played.moves()), played.config()["weights"]) == (moves, HALVES), for_s=2.5)
