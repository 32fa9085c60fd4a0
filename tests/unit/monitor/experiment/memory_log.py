"""An experiment without a store: events go straight into the projection, and what the monitor would do is asked for.

Each batch of events is one step of the monitor, with its report and the automatic decision that it calls for.
"""

from __future__ import annotations

import functools
import itertools
import json

import msgspec
import numpy as np

from app.domain.experiment import CaseFacts, Configuration, ExperimentTerms
from app.domain.log_event import (
    FeedbackReceived,
    OutcomeJoined,
    OutcomeRow,
    PredictionLogged,
    PredictionRow,
    TimePassed,
)
from app.domain.monitor_state import ExperimentSummary
from app.domain.prediction import REPORTED
from app.domain.prediction_id import Signer
from app.domain.report import ExperimentReport
from app.monitor.control.automatic import called_for
from app.monitor.experiment.projection import ExperimentProjection, load_state
from app.monitor.experiment.report import report_of
from app.monitor.experiment.state import plan_of
from app.monitor.projection import DerivedReads
from app.stats.strongest import decided

VERSIONS = tuple(f"v{number}" for number in range(1, 10))
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
NAME = "experiment/one"
_BY_CHANCE = ("weighted", "sticky", "bandit", REPORTED)


class MemoryStates:
    """What the projection has written, and its cursor's body; every fact as the store would give it back."""

    def __init__(self, configurations):
        self.states, self.users, self.units, self.windows, self.points = {}, {}, {}, {}, []
        self._reads = DerivedReads(
            states=lambda names: {name: self.states[name] for name in names if name in self.states},
            users=lambda _experiment, hashes: {each: self.users[each] for each in hashes if each in self.users},
            units=lambda _experiment, units: {each: self.units[each] for each in units if each in self.units},
            windows=self._windows,
            configurations=lambda epochs: {epoch: configurations[epoch] for epoch in epochs},
            first_configuration=lambda _experiment: configurations[1],
            layouts=lambda _ids: {},
        )

    def apply(self, events):
        """One step of the monitor."""
        changes = ExperimentProjection().apply(events, self._reads)
        self.states["experiment"] = changes.cursor_body
        self.states |= {f"experiment/{name}": body for name, body in changes.states.items()}
        self.points += changes.points
        self.users |= {user.user_hash: user for user in changes.users.get("one", ())}
        self.units |= {fact.unit: fact for fact in changes.units.get("one", ())}
        self.windows |= {window.seq: window for window in changes.windows.get("one", ())}
        for seq in changes.closed.get("one", ()):
            self.windows.pop(seq, None)  # one that opened in the same batch was never written

    def all(self):
        """Everything that must not depend on the batches."""
        return self.states, self.users, self.units, self.windows, self.points

    def _windows(self, _experiment, seqs, closing_before_us):
        named = {seq: self.windows[seq] for seq in seqs if seq in self.windows}
        return named | {seq: each for seq, each in self.windows.items() if each.closes_at_us < closing_before_us}


class MemoryLog:
    """One experiment, of accuracy unless terms say otherwise; v1 is the baseline.

    The log's time advances by `tick_s` with each event. `entries` are the events of each row of the log, in order:
    what a batch may not separate.
    """

    def __init__(self, weights, policy="weighted", cases=CaseFacts(), min_duration_s=0.0, tick_s=1.0, **terms):  # noqa: B008
        self.configurations, self.summaries = {}, ExperimentSummary("one", 1, START_US, None, None)
        self.entries, self.now_us, self.promoted, self._processed = [], START_US, None, 0
        self._terms = ExperimentTerms(**({"metric": "accuracy", "baseline": "v1", "unit": "auto"} | terms))
        self._policy, self._cases, self._min_duration_s = policy, cases, min_duration_s
        self._tick_us, self._signer = round(tick_s * SECOND_US), Signer(b"k" * 32, b"test")
        self._predictions = self._outcomes = self._heartbeats = 0
        self._logged, self._early, self._answered = {}, {}, 0
        self.derived = MemoryStates(self.configurations)
        self.split(weights)

    @property
    def states(self):
        """The stored states by name, as JSON."""
        return self.derived.states

    def split(self, weights):
        """Another config revision."""
        epoch = len(self.configurations) + 1
        self.configurations[epoch] = Configuration(
            epoch=epoch,
            experiment_id="one",
            weights=weights,
            policy=self._policy,
            terms=self._terms,
            ordinals={name: place for place, name in enumerate(VERSIONS, 1)},
            created_at_us=self.now_us,
            min_duration_s=self._min_duration_s,
            cases=self._cases,
        )
        self.last = self.configurations[epoch]

    def at(self, seconds):
        """Set the clock, in seconds from the start."""
        self.now_us = START_US + round(seconds * SECOND_US)

    def serve(self, answers, version, **facts):
        """A request that every version in `answers` (classes by version) answered; `version`'s answer was served."""
        return self.log(self.answer(answers, version, **facts))

    def answer(
        self,
        answers,
        version,
        user=0,
        key=None,
        features=None,
        failed=(),
        chosen=None,
        latency_us=100,
        assignment=None,
        propensity=None,
        synthetic=False,
        lacking=(),
    ):
        """An answer that is not in the log yet. `failed` are versions that were asked and gave no answer.

        `lacking` are versions that could take no part: without `propensity`, the others' weights are normalised.
        Without `features` it is about a row of its own.
        """
        self._answered += 1
        self.now_us += self._tick_us
        chosen = chosen or version
        weights = {name: weight for name, weight in self.last.weights.items() if name not in lacking}
        assignment = assignment or ("fallback" if chosen != version else self._policy)
        prediction_id = self._signer.sign_all(
            served_at_us=self.now_us,
            version_ordinal=VERSIONS.index(version) + 1,
            epoch=self.last.epoch,
            counts=assignment != "forced" and not synthetic,
            randomised=assignment in _BY_CHANCE and not synthetic,
            user_hash=user,
            answers=np.array([_number(answers[version])]),
            sticky=assignment == "sticky",
            synthetic=synthetic,
        )[0]
        return PredictionRow(
            seq=0,
            prediction_id=prediction_id,
            served_at_us=self.now_us,
            epoch=self.last.epoch,
            version=version,
            chosen=chosen,
            assignment=assignment,
            propensity=weights[chosen] / sum(weights.values()) if propensity is None else propensity,
            counts=assignment != "forced" and not synthetic,
            synthetic=synthetic,
            user_hash=user,
            features=features if isinstance(features, str) else json.dumps(features or [self._answered]),
            answers=_answers_text(answers),
            latency_us=latency_us,
            own_key=key,
            failed=_list_text(tuple(failed)),
            lacking=_list_text(tuple(lacking)),
        )

    def expose(self, version, user, *, counts=True, synthetic=False):
        """A caller reports that the user met the version; `counts`: the version was the user's own."""
        self.now_us += self._tick_us
        counts = counts and not synthetic
        prediction_id = self._signer.sign_all(
            served_at_us=self.now_us,
            version_ordinal=VERSIONS.index(version) + 1,
            epoch=self.last.epoch,
            counts=counts,
            randomised=counts,
            user_hash=user,
            answers=np.zeros(1),
            sticky=True,
            synthetic=synthetic,
            reported=True,
        )[0]
        row = PredictionRow(
            seq=0,
            prediction_id=prediction_id,
            served_at_us=self.now_us,
            epoch=self.last.epoch,
            version=version,
            chosen=version,
            assignment=REPORTED,
            propensity=self.last.weights[version] if counts else None,
            counts=counts,
            synthetic=synthetic,
            user_hash=user,
            features="[]",
            answers="{}",
            latency_us=0,
        )
        return self.log(row)

    def log(self, row):
        """Write an answer's row, which joins the outcomes that came before it."""
        self._predictions += 1
        row = msgspec.structs.replace(row, seq=self._predictions)
        self._logged[row.prediction_id] = row
        early = self._early.pop(row.prediction_id, ())
        self.entries.append([PredictionLogged(row), *(OutcomeJoined(outcome, row) for outcome in early)])
        return row

    def label(self, row, value=0):
        """The true class, or number, of a request arrives."""
        self._feedback(row, "actual", value)

    def reward(self, row, value):
        """The reward of the served answer arrives."""
        self._feedback(row, "reward", value)

    def _feedback(self, row, kind, value):
        self.now_us += self._tick_us
        self._outcomes += 1
        outcome = OutcomeRow(
            seq=self._outcomes,
            prediction_id=row.prediction_id,
            kind=kind,
            outcome=str(value),
            received_at_us=self.now_us,
            version_ordinal=VERSIONS.index(row.version) + 1,
            epoch=row.epoch,
            counts=row.counts,
            randomised=row.counts and row.assignment in _BY_CHANCE,
            answer=_served_number(row.answers, row.version),
            user_hash=row.user_hash,
            predictions_seen=self._predictions,
        )
        known = self._logged.get(row.prediction_id)
        if known is None:
            self._early.setdefault(row.prediction_id, []).append(outcome)
        self.entries.append([FeedbackReceived(outcome), *([OutcomeJoined(outcome, known)] if known else [])])

    def heartbeat(self):
        """The monitor writes that time has passed."""
        self._heartbeats += 1
        self.entries.append([TimePassed(self._heartbeats, self.now_us, self._predictions, self._outcomes)])

    def process(self):
        """Project what has come since the last call."""
        if self._processed < len(self.entries):
            self.derived.apply([event for entry in self.entries[self._processed :] for event in entry])
            self._processed = len(self.entries)

    def replayed(self, cuts):
        """The derived state of the same log in other batches: entries up to each of `cuts`, and the rest."""
        derived = MemoryStates(self.configurations)
        edges = [0, *sorted(cuts), len(self.entries)]
        for start, end in itertools.pairwise(edges):
            if start < end:
                derived.apply([event for entry in self.entries[start:end] for event in entry])
        return derived

    def state(self):
        """The experiment's state so far."""
        self.process()
        return load_state(plan_of(self.configurations[1]), self.states.get(NAME))

    def report(self) -> ExperimentReport:
        """The report of what has come so far."""
        return report_of(self.state(), plan_of(self.configurations[1]), self.summaries, self.last, self.now_us)

    def winner(self):
        """The first challenger with a verdict of better or worse, which is for good; None where there is none."""
        alpha = self._terms.alpha
        return next((name for name, pair in self.state().pairs.items() if decided(pair.adjusted, alpha)), None)

    def look(self):
        """What the monitor does at every step: a report, and a promotion where it calls for one (the first stays)."""
        call = called_for(self.report(), "promote", self.last.weights)
        self.promoted = self.promoted or (call.version if call else None)
        return self.promoted

    def crossed(self):
        """The versions that a guardrail would take out."""
        return {rail.version for rail in self.report().guardrails if rail.ok is False}


def _number(answer):
    return float(answer if not isinstance(answer, dict) else answer.get("c", answer.get("v")))


def _answers_text(answers):
    if any(isinstance(answer, dict) for answer in answers.values()):
        return json.dumps({name: _as_logged(answer) for name, answer in answers.items()})
    return _repeated_text(tuple(answers.items()), tuple(map(type, answers.values())))


# Answers repeat, and a bench writes millions of rows: each text is made once. The types are a part of the key, because
# the class 2 and the number 2.0 are equal and logged differently.
@functools.lru_cache(4096)
def _repeated_text(answers, _types):
    return json.dumps({name: _as_logged(answer) for name, answer in answers})


def _as_logged(answer):
    return {"c": answer} if isinstance(answer, int) else {"v": answer} if isinstance(answer, float) else answer


@functools.lru_cache(4096)
def _served_number(answers, version):
    return _number(json.loads(answers).get(version, 0))


@functools.cache
def _list_text(names):
    return json.dumps(names) if names else None
