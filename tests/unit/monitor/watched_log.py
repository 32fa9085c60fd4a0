"""A log of rows of three features, versions with references, and the drift projection over them."""

import json
from functools import cache

import numpy as np
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.domain.log_event import Cursor
from app.domain.prediction import Outputs
from app.drift.reference import ReferenceAnswers, build_reference
from app.monitor.drift.projection import DriftProjection
from app.monitor.drift.references import KnownReference, _digest
from app.services.queries.drift_records import PendingAcknowledgement
from app.store.drift_reports import DriftTable
from tests.unit.monitor.small_log import ORDINALS, SmallLog

CONTRACT = FeatureContract(
    task="classification",
    target="y",
    features=tuple(Feature(name=name) for name in ("length", "width", "mass")),
    classes=("a", "b"),
)


@cache
def reference(seed=1, errors=6):
    chance = np.random.default_rng(seed)
    outputs = Outputs(class_ids=np.zeros(60, dtype=int), probabilities=chance.dirichlet([1, 1], 60))
    answers = ReferenceAnswers("holdout", outputs, errors)
    return build_reference(CONTRACT, chance.normal(size=(150, 3)), seed=seed, answers=answers)


def known(version, found=None, sha256="1", number=0, from_us=0):
    found = found or reference()
    return KnownReference(version, ORDINALS[version], sha256, found, _digest(found), number, from_us)


class Fixed:
    """References that are there, of a version in order of their numbers."""

    def __init__(self, *references, contracts=None):
        self.references = references
        self.contracts = contracts or {}

    def of(self, version):
        return [each for each in self.references if each.version == version]

    def features(self, version):
        return self.contracts.get(version)


class WatchedLog(SmallLog):
    """Requests whose features drift by a given shift."""

    def requests(self, n, shift=0.0, seed=0, wrong=None, version="v1", **changes):
        """n rows; `wrong`: the share of them that a label, reported at once, says was wrong."""
        chance = np.random.default_rng(seed)
        rows = chance.normal(size=(n, 3)) + np.array([shift, 0, 0])
        for row, top, error in zip(rows.tolist(), chance.uniform(0.5, 1, n), chance.uniform(size=n), strict=True):
            answer = {"c": 0, "p": [top, 1 - top]}
            logged = self.served({"v1": answer, "v2": answer}, version, **{"features": json.dumps(row), **changes})
            self.log(logged)
            if wrong is not None:
                self.give(logged, int(error < wrong))

    def batch(self, n, shift=0.0, seed=0, user=0):
        """One request with n rows."""
        rows = np.random.default_rng(seed).normal(size=(n, 3)) + np.array([shift, 0, 0])
        answer = {"c": 0, "p": [0.7, 0.3]}
        model = self.served({"v1": answer, "v2": answer}, user=user)
        ids = self.signer.sign_all(
            served_at_us=model.served_at_us,
            version_ordinal=ORDINALS["v1"],
            epoch=self.epoch,
            counts=True,
            randomised=True,
            user_hash=user,
            answers=np.zeros(n),
        )
        logged = zip(ids, rows.tolist(), strict=True)
        self.log(*(replace(model, prediction_id=name, features=json.dumps(row)) for name, row in logged))

    def projection(self, *versions):
        return DriftProjection(Fixed(*(versions or (known("v1"), known("v2")))), self.table)

    @property
    def table(self):
        return DriftTable(self.database)

    def watch(self, *versions, batch_rows=1000):
        return self.process(self.projection(*versions), batch_rows=batch_rows)

    def watch_until(self, predictions, outcomes):
        """Process the log up to there."""
        return self.process(self.projection(), until=Cursor(predictions, outcomes))

    def report(self, version="v1"):
        return self.table.standing(version)

    def acknowledge(self, version="v1"):
        def decide(_report):
            return PendingAcknowledgement(
                at_us=self.clock(), actor="ann", note=None, experiment_id="one", epoch=1, changes={}
            )

        return self.table.acknowledge(version, decide)

    def states(self):
        return self.stored_states.all_states("drift")
