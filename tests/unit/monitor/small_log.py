"""A log written through the store's own tables, with signed ids, for the monitor to read."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

import msgspec
import numpy as np
from sqlalchemy import text

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.logged_rows import LoggedPrediction
from app.domain.outcome import Outcome
from app.domain.prediction import ReportedExposure
from app.domain.prediction_id import Signer
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import process_all, step
from app.monitor.publisher import Publisher, no_more_checks
from app.monitor.rebuild import Space, rebuild
from app.services.recording.log_rows import reported_rows
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.event_log import EventLog, HeartbeatLog
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from app.store.projections import ProjectionStore
from app.store.reports import MonitorReads, ReportTable

ORDINALS = {"v1": 1, "v2": 2, "v3": 3}
START_US = 1_700_000_000_000_000


@dataclass
class SmallLog:
    """Logs requests and labels; time advances by a millisecond at each call."""

    database: Database
    now_us: int = START_US
    epoch: int = 0
    signer: Signer = field(default_factory=lambda: Signer(b"k" * 32, b"test"))

    def clock(self) -> int:
        self.now_us += 1000
        return self.now_us

    def begin(self, experiment="one", weights=None, ordinals=ORDINALS, min_duration_s=0.0, **terms):
        weights = weights or {"v1": 0.5, "v2": 0.5}
        wanted = Configuration(
            epoch=0,
            experiment_id=experiment,
            weights=weights,
            terms=ExperimentTerms(**({"metric": "accuracy", "baseline": "v1"} | terms)),
            ordinals={name: ordinals[name] for name in weights if name in ordinals},
            created_at_us=self.clock(),
            min_duration_s=min_duration_s,
        )
        self.epoch = ConfigurationLog(self.database).settle(lambda _latest: wanted).epoch
        return self.epoch

    def served(self, answers, version="v1", chosen=None, assignment="weighted", epoch=None, user=0, **changes):
        """A row that is not in the log yet; `answers` by version: a class id, or a logged answer."""
        epoch = self.epoch if epoch is None else epoch
        counts = assignment != "forced" and epoch > 0
        logged = {name: answer if isinstance(answer, dict) else {"c": answer} for name, answer in answers.items()}
        own = logged.get(version, {"c": 0})
        at_us = self.clock()
        prediction_id = self.signer.sign_all(
            served_at_us=at_us,
            version_ordinal=ORDINALS[version],
            epoch=epoch,
            counts=counts,
            randomised=counts and assignment != "fallback",
            user_hash=user,
            answers=np.array([own.get("c", own.get("v", 0))], float),
            sticky=assignment == "sticky",
        )[0]
        values = {
            "prediction_id": prediction_id,
            "served_at_us": at_us,
            "request_id": "r",
            "epoch": epoch,
            "version": version,
            "chosen": chosen or version,
            "assignment": assignment,
            "propensity": None,
            "counts": counts,
            "synthetic": False,
            "user_hash": user,
            "features": "[1.0]",
            "answers": json.dumps(logged),
            "latency_us": 100,
        }
        return LoggedPrediction(**{**values, **changes})

    def exposed(self, version="v1", user=7, counts=True, **changes):
        """A reported exposure that is not in the log yet."""
        at_us = self.clock()
        [prediction_id] = self.signer.sign_all(
            served_at_us=at_us,
            version_ordinal=ORDINALS[version],
            epoch=self.epoch,
            counts=counts,
            randomised=counts,
            user_hash=user,
            answers=np.zeros(1),
            sticky=True,
            reported=True,
        )
        own = 0.5 if counts else None
        values = (prediction_id, at_us, changes.pop("request_id", "r"), version, own, self.epoch, counts, user, False)
        return msgspec.structs.replace(reported_rows([ReportedExposure(*values)])[0], **changes)

    def log(self, *rows):
        PredictionLog(self.database).append(rows)

    def give(self, row, value, kind="actual"):
        """The outcome of a row, as feedback."""
        self.give_all([(row, value, kind)])

    def give_all(self, given):
        outcomes = [
            Outcome(row.prediction_id, kind, value, self.signer.verify(row.prediction_id)) for row, value, kind in given
        ]
        FeedbackLog(self.database, self.clock).commit([[outcome] for outcome in outcomes])

    def pass_time(self, seconds):
        """A heartbeat after this time of rest."""
        self.now_us += round(seconds * 1e6)
        HeartbeatLog(self.database, self.clock).append()

    def random_traffic(
        self, n, seed=0, versions=("v1", "v2"), kinds=("actual",), late=0.2, epoch=None, share=0.5, units=0
    ):
        """n requests, some labelled before their row is written, some never; true labels are 0.

        With `units`, each is of one of so many users or own keys, or of nobody, and a version fails now and then.
        """
        rng = random.Random(seed)
        waiting = []
        for _ in range(n):
            answers = {name: int(rng.random() < 0.2 - 0.06 * place) for place, name in enumerate(versions)}
            version = versions[1] if rng.random() < share else versions[0]
            if len(versions) > 2:
                version = rng.choice(versions)
            named = self._named(rng, units, answers, version) if units else {}
            row = self.served(answers, version, epoch=epoch, latency_us=rng.randint(50, 500), **named)
            given = [(row, rng.random() if kind == "reward" else 0, kind) for kind in kinds if rng.random() < 0.9]
            if rng.random() < late:
                self.give_all(given)
                waiting.append(row)
            else:
                self.log(row)
                self.give_all(given)
            if len(waiting) > 3:
                self.log(*waiting)
                waiting.clear()
        self.log(*waiting)

    @staticmethod
    def _named(rng, units, answers, version):
        number = rng.randint(1, units)
        named = rng.choice([{"user": number}, {"own_key": f"order-{number}"}, {}])
        other = rng.choice([name for name in answers if name != version])
        if rng.random() < 0.1:
            del answers[other]
            named["failed"] = json.dumps([other])
        return named

    @property
    def events(self):
        return EventLog(self.database)

    def space(self, name=""):
        return Space(ProjectionStore(self.database, self.clock, name), ReportTable(self.database, self.clock, name))

    @property
    def stored_states(self):
        return self.space().states

    def publisher(self, more_checks=no_more_checks):
        space = self.space()
        return Publisher(self.events, space.states, space.reports, self.clock, more_checks)

    def step(self, projection, **options):
        return step(projection, self.events, self.stored_states, **options)

    def process(self, *projections, **options):
        projections = projections or (ExperimentProjection(),)
        return sum(process_all(each, self.events, self.stored_states, **options) for each in projections)

    def rebuild(self, *projections):
        projections = projections or (ExperimentProjection(),)
        return rebuild(projections, self.events, self.space(), self.space("rebuild/"), self.clock)

    def publish(self):
        self.process()
        return self.publisher().publish()

    def report(self, experiment_id=None):
        self.publish()
        return MonitorReads(self.database, self.clock).report(experiment_id).report

    def derived(self):
        """All derived state but reports and times."""
        from app.store.kinds import READING

        with self.database.begin(READING) as connection:
            queries = (
                "SELECT name, body FROM monitor_state WHERE name LIKE 'experiment%' ORDER BY name",
                "SELECT cursor_predictions, cursor_feedback, cursor_heartbeats FROM monitor_state "
                "WHERE name = 'experiment'",
                "SELECT experiment_id, challenger, n, at_us, body FROM timeline ORDER BY 1, 2, 3",
                "SELECT * FROM monitor_users ORDER BY 1, 2",
                "SELECT abs(experiment), unit, body FROM monitor_units ORDER BY 1, 2",
                "SELECT abs(experiment), seq, closes_at_us, body FROM monitor_windows ORDER BY 1, 2",
            )
            return tuple(connection.execute(text(query)).all() for query in queries)

    def forget(self):
        """Drop all derived state."""
        from app.store.kinds import MONITORING

        with self.database.begin(MONITORING) as connection:
            for table in ("monitor_state", "timeline", "monitor_users", "monitor_units", "monitor_windows"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
