"""An experiment without a store: events go straight into the projection, and what the monitor would do is asked for.

Each batch of events is one step of the monitor, with its report and the automatic decision that it calls for.
"""

from __future__ import annotations

import itertools
import json

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.log_event import FeedbackReceived, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import ExperimentReport
from app.monitor.control.automatic import called_for
from app.monitor.experiment.projection import ExperimentProjection, load_state
from app.monitor.experiment.report import report_of
from app.monitor.experiment.state import plan_of
from app.monitor.projection import DerivedReads

VERSIONS = ("v1", "v2", "v3")
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000


class MemoryLog:
    """One experiment of accuracy; v1 is the baseline. The log's time advances by a second with each event."""

    def __init__(self, weights, min_duration_s=0.0, **terms):
        self.configurations, self.states, self.summaries = {}, {}, ExperimentSummary("one", 1, START_US, None, None)
        self._events, self._seqs, self.now_us, self.promoted = [], itertools.count(1), START_US, None
        self._terms = ExperimentTerms(**({"metric": "accuracy", "baseline": "v1"} | terms))
        self._min_duration_s = min_duration_s
        self.split(weights)

    def split(self, weights):
        """Another config revision."""
        epoch = len(self.configurations) + 1
        self.configurations[epoch] = Configuration(
            epoch=epoch,
            experiment_id="one",
            weights=weights,
            terms=self._terms,
            ordinals={name: place for place, name in enumerate(VERSIONS, 1)},
            created_at_us=self.now_us,
            min_duration_s=self._min_duration_s,
        )
        self.last = self.configurations[epoch]

    def serve(self, answers, version):
        """A request that every version in `answers` (classes by version) answered; `version`'s answer was served."""
        self.now_us += SECOND_US
        seq = next(self._seqs)
        row = PredictionRow(
            seq=seq,
            prediction_id=f"r{seq}",
            served_at_us=self.now_us,
            epoch=self.last.epoch,
            version=version,
            chosen=version,
            assignment="weighted",
            propensity=self.last.weights[version],
            counts=True,
            synthetic=False,
            user_hash=0,
            features="[]",
            answers=json.dumps({name: {"c": answer} for name, answer in answers.items()}),
            latency_us=100,
        )
        self._events.append(PredictionLogged(row))
        return row

    def label(self, row, value=0):
        """The true class of a request arrives."""
        self.now_us += SECOND_US
        outcome = OutcomeRow(
            seq=next(self._seqs),
            prediction_id=row.prediction_id,
            kind="actual",
            outcome=str(value),
            received_at_us=self.now_us,
            version_ordinal=VERSIONS.index(row.version) + 1,
            epoch=row.epoch,
            counts=True,
            randomised=True,
            answer=float(json.loads(row.answers)[row.version]["c"]),
            user_hash=0,
            predictions_seen=row.seq,
        )
        self._events += [FeedbackReceived(outcome), OutcomeJoined(outcome, row)]

    def process(self):
        """Project what has come since the last call."""
        if not self._events:
            return
        first = self.configurations[1]
        reads = DerivedReads(
            lambda names: {name: self.states[name] for name in names if name in self.states},
            lambda _experiment, _hashes: {},
            lambda epochs: {epoch: self.configurations[epoch] for epoch in epochs},
            lambda _experiment: first,
        )
        changes = ExperimentProjection().apply(self._events, reads)
        self.states["experiment"] = changes.cursor_body
        self.states |= {f"experiment/{name}": body for name, body in changes.states.items()}
        self._events = []

    def report(self) -> ExperimentReport:
        """The report of what has come so far."""
        self.process()
        plan = plan_of(self.configurations[1])
        state = load_state(plan, self.states.get("experiment/one"))
        return report_of(state, plan, self.summaries, self.last, self.now_us)

    def look(self):
        """What the monitor does at every step: a report, and a promotion where it calls for one (the first stays)."""
        call = called_for(self.report(), "promote", self.last.weights)
        self.promoted = self.promoted or (call.version if call else None)
        return self.promoted
