"""An experiment in memory on rows with a number, a category, a boolean, a text and a column of one version alone."""

import itertools
import json

import msgspec
import numpy as np

from app.domain.breakdown import BreakdownState
from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.contract import Feature, FeatureContract
from app.domain.log_event import PredictionLogged
from app.drift.reference import build_reference
from app.monitor.breakdown import NAME, BreakdownProjection
from app.monitor.projection import DerivedReads
from app.services.breakdown.report import Pair, breakdown_of
from tests.unit.monitor.experiment.memory_log import MemoryLog
from tests.unit.monitor.watched_log import Fixed, known

CLASSES = ("a", "b", "c")
FEATURES = (
    Feature(name="x", source_name="x (cm)", nullable=True),
    Feature(name="colour", kind="categorical", categories=("red", "green", "blue"), open_categories=True),
    Feature(name="member", boolean=True),
    Feature(name="comment", kind="categorical", open_categories=True),
)
WIND = Feature(name="wind")
WINDY = LoggedLayout(7, tuple(LoggedColumn(each.name, each.source_name) for each in (*FEATURES, WIND)))
TERMS = {"classes": CLASSES, "class_shares": (0.5, 0.3, 0.2)}


def reference_rows(n=200):
    """Rows of the reference; x is spread evenly over 0 to 1."""
    rows = np.empty((n, 4), dtype=object)
    for place in range(n):
        rows[place] = [place / n, ("red", "red", "green", "blue")[place % 4], float(place % 2), f"text {place}"]
    return rows


def references(features=FEATURES, rows=None):
    """Those of v1, and of v2, which reads the wind beside."""
    rows = reference_rows() if rows is None else rows
    own = build_reference(FeatureContract("classification", "y", features, CLASSES), rows, seed=1)
    winds = np.column_stack([rows, np.linspace(0, 10, len(rows))])
    windy = build_reference(FeatureContract("classification", "y", (*features, WIND), CLASSES), winds, seed=1)
    contracts = {"v1": features, "v2": (*features, WIND)}
    return Fixed(known("v1", own), known("v2", windy), contracts=contracts)


class BrokenDown:
    """The projection over a `MemoryLog`."""

    def __init__(self, weights=None, found=None, **terms):
        self.log = MemoryLog(weights or {"v1": 0.5, "v2": 0.5}, **(TERMS | terms))
        self.projection = BreakdownProjection(found or references())
        self.states = {}
        configurations = self.log.configurations
        self._reads = DerivedReads(
            states=lambda names: {name: self.states[name] for name in names if name in self.states},
            users=None,
            units=None,
            windows=None,
            configurations=lambda epochs: {epoch: configurations[epoch] for epoch in epochs},
            first_configuration=lambda _experiment: configurations[1],
            layouts=lambda ids: {each: WINDY for each in ids if each == WINDY.id},
        )

    def process(self, cuts=()):
        """Project the log in these batches; returns the state as it is stored."""
        self.states = {}
        edges = [0, *sorted(cuts), len(self.log.entries)]
        for start, end in itertools.pairwise(edges):
            events = [event for entry in self.log.entries[start:end] for event in entry]
            for name, body in self.projection.apply(events, self._reads).states.items():
                self.states[f"{NAME}/{name}"] = body
        return self.states[f"{NAME}/one"]

    def state(self):
        return msgspec.json.decode(self.process(), type=BreakdownState)

    def breakdown(self, by="class", challenger="v2"):
        pair = Pair("one", self.log.last.terms, "v1", challenger)
        return breakdown_of(pair, self.state(), by, "")

    def rows(self, by):
        """The rows by level."""
        return {row.level: row for row in self.breakdown(by).rows}

    def random_traffic(self, n, seed=0, answer=lambda chance: int(chance.integers(3)), labelled=0.8):
        """n requests to both versions; returns (features, answers by version, label or None) of each."""
        chance = np.random.default_rng(seed)
        met = []
        for _ in range(n):
            wind = chance.random() < 0.5
            features = [
                None if chance.random() < 0.1 else float(chance.random() * 1.2 - 0.1),
                str(chance.choice(["red", "green", "blue", "pink"])),
                bool(chance.integers(2)) if chance.random() < 0.5 else float(chance.integers(2)),
                "anything",
                *([float(chance.random() * 12)] if wind else []),
            ]
            answers = {name: answer(chance) for name in ("v1", "v2")[: 1 + wind]}
            failed = ("v2",) if wind and chance.random() < 0.1 else ()
            if failed:
                del answers["v2"]
            row = self.log.answer(
                answers,
                "v1",
                features=json.dumps(features),
                failed=failed,
                lacking=() if wind else ("v2",),
                propensity=0.5,
                assignment="forced" if chance.random() < 0.1 else None,
            )
            row = self.log.log(msgspec.structs.replace(row, layout=WINDY.id if wind else None))
            label = int(chance.integers(3)) if chance.random() < labelled else None
            if label is not None:
                self.log.label(row, label)
            if row.counts:
                met.append((features, answers, failed, label))
        return met

    def requests(self):
        """The rows that count."""
        events = (event for entry in self.log.entries for event in entry)
        return [event.row for event in events if isinstance(event, PredictionLogged) and event.row.counts]
