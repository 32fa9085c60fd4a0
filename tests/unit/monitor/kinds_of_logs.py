"""Logs of many kinds, each from a fixed seed, for tests that the projections come to one state however they read."""

import json
import random

import msgspec
import numpy as np
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.domain.outcome import Outcome
from app.domain.prediction import Outputs
from app.drift.reference import ReferenceAnswers, build_reference
from app.store.outcomes import FeedbackLog
from tests.unit.monitor.broken_down import FEATURES, WIND, WINDY, reference_rows
from tests.unit.monitor.small_log import ORDINALS
from tests.unit.monitor.watched_log import Fixed, WatchedLog, known

CLASSES = ("a", "b", "c")
NUMBERS = tuple(Feature(name=name) for name in ("length", "width", "mass"))
TERMS = {"classes": CLASSES, "class_shares": (0.5, 0.3, 0.2), "unit": "auto"}
TWO, THREE = {"v1": 0.5, "v2": 0.5}, {"v1": 0.5, "v2": 0.3, "v3": 0.2}


# What an archive must know of the versions, whose rows it writes by column.
CONTRACTS = dict.fromkeys(ORDINALS, FeatureContract("classification", "y", NUMBERS, CLASSES))


def compact(value):
    """JSON as the recorder writes it: only that is packed."""
    return msgspec.json.encode(value).decode()


def numeric_references(outputs=None, task="classification"):
    """Those of three versions of three numbers."""
    chance = np.random.default_rng(5)
    contract = FeatureContract(task, "y", NUMBERS, CLASSES if task == "classification" else ())
    classes = Outputs(class_ids=chance.integers(3, size=60), probabilities=chance.dirichlet([1, 1, 1], 60))
    answers = ReferenceAnswers("holdout", outputs or classes, 12 if task == "classification" else None)
    found = build_reference(contract, chance.normal(size=(150, 3)).round(2), seed=3, answers=answers)
    return Fixed(*(known(name, found) for name in ORDINALS), contracts=dict.fromkeys(ORDINALS, NUMBERS))


def mixed_references():
    """Those of v1, of a number, a category, a flag and a text, and of v2, which reads the wind beside."""
    rows = reference_rows()
    own = build_reference(FeatureContract("classification", "y", FEATURES, CLASSES), rows, seed=1)
    winds = np.column_stack([rows, np.linspace(0, 10, len(rows))])
    windy = build_reference(FeatureContract("classification", "y", (*FEATURES, WIND), CLASSES), winds, seed=1)
    return Fixed(known("v1", own), known("v2", windy), contracts={"v1": FEATURES, "v2": (*FEATURES, WIND)})


class KindOfLog(WatchedLog):
    """A log with traffic of one kind. `given` has the rows with outcomes."""

    references = None
    contracts = None

    def write(self, seed, n, row, *, kind="actual", value=None, late=0.2, labelled=0.7, beats=False):
        """n requests of `row(rng)`, some with their outcome before they are logged and some long after."""
        rng, waiting, unlabelled = random.Random(seed), [], []
        self.given = []
        value = value or (lambda rng, _row: rng.randrange(3))
        for _ in range(n):
            served = row(rng)
            if rng.random() < labelled * late:
                self._give(served, value(rng, served), kind)
                waiting.append(served)
            else:
                self.log(served)
                unlabelled += [served] if rng.random() < labelled else []
            if len(waiting) > 3:
                self.log(*waiting)
                waiting.clear()
            if unlabelled and rng.random() < 0.5:
                late_one = unlabelled.pop(rng.randrange(len(unlabelled)))
                self._give(late_one, value(rng, late_one), kind)
            if beats and rng.random() < 0.1:
                self.pass_time(rng.random() * 40)
        self.log(*waiting)

    def _give(self, row, value, kind):
        self.give(row, value, kind)
        self.given.append((row, value, kind))

    def correct(self, seed, n):
        """Other values for some of the outcomes."""
        rng = random.Random(seed)
        for row, value, kind in rng.sample(self.given, n):
            fact = self.signer.verify(row.prediction_id)
            other = Outcome(
                row.prediction_id, kind, (value + 1) % 3 if kind == "actual" else value / 2, fact, corrected_by="ann"
            )
            FeedbackLog(self.database, self.clock).commit([[other]])

    def numbers(self, versions=("v1", "v2"), users=0, keys=0, fails=0.0, probabilities=True, **options):
        """A function that makes rows of three numbers with answers of classes."""

        def row(rng):
            answers = {name: self.answer(rng, probabilities) for name in versions}
            version = chosen = rng.choice(versions)
            named = {}
            if rng.random() < fails:
                gone = rng.choice(versions)
                del answers[gone]
                named["failed"] = compact([gone])
                version = next(name for name in versions if name != gone) if version == gone else version
            if users and rng.random() < 0.6:
                named["user"] = rng.randint(1, users)
            if keys and rng.random() < 0.5:
                named["own_key"] = f"order-{rng.randint(1, keys)}"
            cells = [round(rng.gauss(0, 1), 2) for _ in range(3)]
            return self.row(rng, answers, version, cells, chosen=chosen, **named, **options)

        return row

    @staticmethod
    def answer(rng, probabilities):
        shares = np.random.default_rng(rng.randrange(2**32)).dirichlet([1, 1, 1]).astype(np.float32)
        own = {"c": int(shares.argmax())}
        return own | {"p": shares.tolist()} if probabilities else own

    def row(self, rng, answers, version, cells, **options):
        """A row as the recorder makes it."""
        options = {"latency_us": rng.randint(50, 3000), "propensity": 0.5, **options}
        if options.get("chosen", version) != version:
            options |= {"assignment": "fallback"}
        served = self.served(answers, version, features=compact(cells), **options)
        return replace(
            served, answers=compact(answers), request_id=f"{served.served_at_us - 9:014x}{rng.getrandbits(72):018x}"
        )


def units(log):
    """Users and cases that come again, with versions that fail."""
    log.begin("one", weights=TWO, **TERMS)
    log.write(1, 80, log.numbers(users=9, keys=9, fails=0.1))
    log.correct(2, 6)


def many(log):
    """Enough rows for several pages, with few users."""
    log.begin("one", weights=TWO, equivalence_margin=0.2, **TERMS)
    log.write(11, 500, log.numbers(users=400, keys=300, fails=0.02))


def nobody(log):
    """Requests of nobody, and no units."""
    log.begin("one", weights=TWO, equivalence_margin=0.1)
    log.write(3, 90, log.numbers(probabilities=False))


def plain(log):
    """Enough requests of nobody that what is slow is known, and every count exists; users and keys in between."""
    log.begin("one", weights=TWO, equivalence_margin=0.2, guardrail_slow="1.2x", **TERMS)
    log.write(21, 280, log.numbers(), beats=True)
    log.write(22, 60, log.numbers(users=20, keys=20, fails=0.02))
    log.correct(23, 9)
    log.begin("one", weights={"v1": 0.4, "v2": 0.6}, guardrail_slow="1.2x", **TERMS)
    log.write(24, 60, log.numbers(propensity=None))


def three(log):
    """Three versions, one of them in shadow, sticky users, split changed under way."""
    log.begin("one", weights=THREE, **TERMS)
    log.write(4, 40, log.numbers(tuple(THREE), users=12, assignment="sticky", fails=0.05))
    log.begin("one", weights={"v1": 0.7, "v2": 0.3, "v3": 0.0}, **TERMS)
    log.write(5, 40, log.numbers(tuple(THREE), users=12))


def experiments(log):
    """Two experiments, the outcomes of the first in the second, forced, synthetic and orphaned requests."""
    log.begin("one", weights=TWO, **TERMS)
    log.write(6, 40, log.numbers(users=5))
    rows = log.given
    log.begin("two", weights=TWO, **{**TERMS, "metric": "brier"})
    log.write(7, 15, log.numbers(users=5, assignment="forced"))
    log.write(8, 20, log.numbers(users=5, synthetic=True))
    log.write(9, 10, log.numbers(epoch=0))
    log.write(9, 30, log.numbers(users=5, keys=3))
    log.given = rows
    log.correct(3, 5)


def batches(log):
    """Requests with several rows, of users and of nobody."""
    log.begin("one", weights=TWO, **TERMS)
    rng = random.Random(4)
    for size in range(1, 12):
        log.batch(size, seed=size, user=rng.choice([0, 0, 1, 2]))
        log.write(size, 3, log.numbers(users=3))


def rewards(log, **terms):
    log.begin("one", weights=TWO, **{**TERMS, "metric": "reward", **terms})
    value = lambda rng, _row: rng.choice([0.0, round(rng.random(), 3)])  # noqa: E731
    log.write(12, 80, log.numbers(users=20, keys=5, fails=0.05), kind="reward", value=value, beats=True)
    log.correct(5, 5)


def windows(log):
    rewards(log, reward_window_s=20.0)


def triggered(log):
    rewards(log, reward_triggered=True)


def rows_are_units(log, metric="cost"):
    """Units are rows; a cost of each mistake."""
    matrix = {"a": {"b": 2.0}, "b": {"c": 0.3}}
    log.begin("one", weights=TWO, **{**TERMS, "metric": metric, "unit": "row", "cost_matrix": matrix})
    log.write(13, 60, log.numbers(users=4, keys=4, fails=0.05))


def balanced(log):
    rows_are_units(log, "balanced_accuracy")


def regression(log):
    """Numbers instead of classes, without a range."""
    values = Outputs(values=np.random.default_rng(9).normal(size=60))
    log.references = numeric_references(values, "regression")
    log.begin("one", weights=TWO, metric="absolute_error", unit="auto")

    def row(rng):
        answers = {name: {"v": float(np.float32(rng.gauss(0, 1)))} for name in TWO}
        return log.row(
            rng,
            answers,
            rng.choice(["v1", "v2"]),
            [round(rng.gauss(0, 1), 2) for _ in range(3)],
            user=rng.randint(0, 9),
        )

    log.write(14, 60, row, value=lambda rng, _row: round(rng.gauss(0, 1), 2))


def mixed(log):
    """Text, categories, flags and missing values, in two layouts; one version lacks a column now and then."""
    log.references = mixed_references()
    log.contracts = {
        "v1": FeatureContract("classification", "y", FEATURES, CLASSES),
        "v2": FeatureContract("classification", "y", (*FEATURES, WIND), CLASSES),
    }
    log.begin("one", weights=TWO, **TERMS)

    def row(rng):
        wind = rng.random() < 0.5
        cells = [None if rng.random() < 0.1 else round(rng.random(), 3), rng.choice(["red", "green", "pink", None])]
        cells += [rng.choice([0.0, 1.0, True, "yes"]), rng.choice(["ein Text", "été\u2028"])] + [
            round(rng.random() * 12, 1)
        ] * wind
        answers = {name: log.answer(rng, True) for name in ("v1", "v2")[: 1 + wind]}
        lacking = {} if wind else {"lacking": compact(["v2"]), "propensity": 1.0}
        return log.row(rng, answers, "v1", cells, layout=WINDY if wind else None, user=rng.randint(0, 5), **lacking)

    log.write(15, 70, row)


def old_form(log):
    """Ids and texts of other services: half of the rows cannot be packed."""
    log.begin("one", weights=TWO, **TERMS)
    packed = log.numbers(users=5, keys=6)

    def row(rng):
        served = packed(rng)
        if rng.random() < 0.5:
            return served
        return replace(
            served, features=json.dumps(json.loads(served.features)), answers=json.dumps(json.loads(served.answers))
        )

    log.write(16, 60, row)
    for number in range(20):
        log.log(
            replace(log.numbers()(random.Random(number)), prediction_id=f"ours-{number}", own_key=f"order-{number % 7}")
        )


KINDS = {
    each.__name__: each
    for each in (
        units, many, plain, nobody, three, experiments, batches, rewards, windows, triggered, rows_are_units, balanced,
        regression, mixed, old_form,
    )
}  # fmt: skip
