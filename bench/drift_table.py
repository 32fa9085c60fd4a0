"""Measure false drift alarms on references and traffic as users have them, one row of a table at a time.

    python bench/drift_table.py [--seed 1] [--only PART …] [--replications N] [--from N] [--log FILE]

A row is the share of runs of 10,000 unchanged requests (of the demo: 5,000) in which a version raises any alarm, with
the upper end of its exact 95 % interval (Clopper & Pearson). Every run has a seed of its own, so that `--from` goes on
where an earlier call ended; `--log` gets a line of JSON every 50 runs. Rows marked * have 2,000 runs, others 400.

Everything is the monitor's own code, called as its projection calls it, with the same results as in a service: state
does not depend on how the log is cut, and here a run is one call. Two things are done in another place: `publish` fits
its clones in a process of its own, and here they are fitted in this one; and models answer as scikit-learn, not as
ONNX. The demo's versions are those of `bakeoff train` with its default seed.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.drift.callers import callers_of_rows
from app.drift.reference import DriftReference, ReferenceAnswers, build_reference
from app.drift.watch import DriftState, start, update, update_labels, update_outputs
from app.inference.sklearn_runtime import SklearnRuntime
from app.simulation import rows as recorded
from app.simulation.new_cases import new_cases
from app.training import cross_fit
from app.training.checks import CheckOptions, check
from app.training.dataset import load
from app.training.fit import fit, prepare
from app.training.task import Truth
from app.training.variants import read_catalogue
from bench.drift import AWKWARD, REQUESTS, upper_limit
from bench.drift_traffic import CROWD, CROWD_AT, CROWDS, LOADERS, Awkward, Levels, Population

DEMO_REQUESTS = 5000
STARRED, OTHERS = 2000, 400
# Between two runs' seeds, so that runs of neighbouring seeds share none.
_SEEDS = 1_000_003
# That of `bakeoff train`.
_TRAIN_SEED = 42
Run = Callable[[int], bool]
ESTIMATORS = {
    "forest": lambda seed: RandomForestClassifier(30, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(n_estimators=30, random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
}


def levels(count: int, reference_rows: int, columns: int = 1) -> Run:
    """Unchanged categorical columns with a long tail."""
    return lambda seed: _inputs_alarm(Levels(count, reference_rows, seed, columns))


def numeric(name: str) -> Run:
    """The populations of `bench/drift.py`."""
    return lambda seed: _inputs_alarm(Awkward(seed) if name == AWKWARD else Population(name, seed))


def _inputs_alarm(population: Population | Awkward | Levels) -> bool:
    _, reference = population.reference()
    return update(reference, start(reference), population.draw(REQUESTS)).alarms > 0


def crowd(kind: str, caller: str) -> Run:
    """100 of the rows from one request or one user, after 1,000 of others; iris, wine and breast cancer in turn."""
    users, begins = np.zeros(REQUESTS, dtype=np.int64), np.ones(REQUESTS, dtype=bool)
    part = slice(CROWD_AT, CROWD_AT + CROWD)
    if caller == "user":
        users[part] = 1
    else:
        begins[CROWD_AT + 1 : CROWD_AT + CROWD] = False

    def run(seed: int) -> bool:
        population = Population(list(LOADERS)[seed % len(LOADERS)], seed)
        _, reference = population.reference()
        live = population.draw(REQUESTS)
        live[part] = CROWDS[kind](population, live[part])
        return update(reference, start(reference), live, callers=callers_of_rows(users, begins)).alarms > 0

    return run


def training_rows(name: str, kind: str, reference_is: str) -> Run:
    """A model with its own training rows as reference, labels of all answers, declared exogenous."""

    def run(seed: int) -> bool:
        population = Population(name, seed)
        rows, class_ids = population.labelled(population.reference_rows)
        estimator = ESTIMATORS[kind](seed).fit(rows, class_ids)
        answers = ReferenceAnswers("none", missing="it is not known what the rows are")
        if reference_is == "training":
            answers = _cross_fitted(cross_fit.Task(estimator, population.contract, rows, class_ids, class_ids, seed))
        reference = build_reference(population.contract, rows, seed=seed, answers=answers)
        live, live_ids = population.labelled(REQUESTS)
        outputs = SklearnRuntime("v1", estimator, population.contract).predict(live)
        return _answers_after(reference, update(reference, start(reference), live), outputs, live_ids).alarms > 0

    return run


def _cross_fitted(task: cross_fit.Task) -> ReferenceAnswers:
    """The answers of the clones of `publish --reference-is training`, fitted in this process."""
    assert task.class_ids is not None
    parts = [(held, cross_fit.fold_answers(task, fitted, held)) for fitted, held in cross_fit.folds(task)]
    truth = Truth("classification", task.labels, task.contract.classes, task.class_ids)
    return cross_fit.joined(np.arange(len(task.rows)), parts).as_reference(truth)


def _answers_after(reference: DriftReference, state: DriftState, outputs: Outputs, truth: np.ndarray) -> DriftState:
    assert outputs.class_ids is not None
    return update_labels(reference, update_outputs(reference, state, outputs), outputs.class_ids != truth)


def demo(name: str) -> Run:
    """The demo's two versions of a built-in set and what `bakeoff simulate` sends: new cases with their labels."""

    def run(seed: int) -> bool:
        contract, versions = _demo_versions(name)
        cases = new_cases(recorded.built_in(contract, name), name)
        live, labels = cases.take(0, DEMO_REQUESTS, np.random.default_rng(seed))
        truth = np.array([contract.classes.index(str(label)) for label in labels])
        # The versions' inputs share their reference, and so their evidence.
        inputs = update(versions[0][1], start(versions[0][1]), live).inputs.alarms
        return inputs > 0 or any(
            _answers_after(reference, start(reference), runtime.predict(live), truth).alarms > 0
            for runtime, reference in versions
        )

    return run


@functools.cache
def _demo_versions(name: str) -> tuple[FeatureContract, list[tuple[SklearnRuntime, DriftReference]]]:
    catalogue = read_catalogue()
    prepared = prepare(check(load(name, None), CheckOptions()), _TRAIN_SEED)
    versions = []
    for number, variant in enumerate(catalogue.first_two, start=1):
        fitted = fit(variant, catalogue.variant(variant), prepared, _TRAIN_SEED)
        answers = ReferenceAnswers("holdout", fitted.holdout_outputs, fitted.errors)
        rows = prepared.rows[prepared.split.training]
        reference = build_reference(prepared.contract, rows, seed=_TRAIN_SEED, answers=answers)
        versions.append((SklearnRuntime(f"v{number}", fitted.estimator, prepared.contract), reference))
    return prepared.contract, versions


PARTS: dict[str, dict[str, tuple[Run, int]]] = {
    "levels": {
        "50 levels, 500 rows": (levels(50, 500), OTHERS),
        "200 levels, 500 rows *": (levels(200, 500), STARRED),
        "1,000 levels, 500 rows": (levels(1000, 500), OTHERS),
        "ten columns of 20 levels, 60 rows *": (levels(20, 60, 10), STARRED),
    },
    "numeric": {f"{name} *": (numeric(name), STARRED) for name in (*LOADERS, AWKWARD)},
    "crowds": {
        "one request of 100 sorted rows": (crowd("sorted", "request"), OTHERS),
        "one user's 100 nearly equal rows": (crowd("nearly equal", "user"), OTHERS),
        "one user's 100 correlated rows": (crowd("correlated", "user"), OTHERS),
    },
    "models": {
        # Without answers of the model, its kind makes no difference.
        "any model, unknown": (training_rows("iris", "tree", "unknown"), OTHERS),
        **{f"{kind}, training": (training_rows("iris", kind, "training"), OTHERS) for kind in ESTIMATORS},
    },
    "demo": {f"demo: {name}": (demo(name), OTHERS) for name in recorded.BUILT_IN},
}


def measured(run: Run, seed: int, runs: range) -> Iterator[tuple[int, int]]:
    """The alarms among the runs so far and the number of runs, after each 50 runs and after the last."""
    alarms = 0
    for done, number in enumerate(runs, start=1):
        alarms += run(seed * _SEEDS + number)
        if done % 50 == 0 or done == len(runs):
            yield alarms, done


def main() -> int:
    """Measure the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--row", help="only rows whose name contains this text")
    parser.add_argument("--replications", type=int, help="for all rows; default: 2,000 where marked *, else 400")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first run")
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    print("| unchanged traffic: any alarm | alarms | runs | share | upper 95 % limit | s a run |")
    print("|---|---|---|---|---|---|", flush=True)
    for part in args.only:
        for name, (run, usual) in PARTS[part].items():
            if args.row and args.row not in name:
                continue
            begun = time.process_time()
            for alarms, runs in measured(run, args.seed, range(args.first, args.replications or usual)):
                if args.log:
                    line = {"row": name, "first": args.first, "alarms": alarms, "runs": runs}
                    with args.log.open("a") as log:
                        log.write(json.dumps(line) + "\n")
            cost = (time.process_time() - begun) / runs
            limit = upper_limit(alarms, runs)
            print(f"| {name} | {alarms} | {runs} | {alarms / runs:.4f} | {limit:.4f} | {cost:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
