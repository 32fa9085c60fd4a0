"""Answers to the rows that a model was fitted on, by clones that were not: five stratified folds, bounded in time.

A model knows its own training rows: a forest is surer of them, a tree errs on none. Clones fitted on the other folds
answer each row as the model would answer a new one, but for having seen a fifth fewer rows.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from multiprocessing.connection import Connection
from pickle import PicklingError  # nosec B403 - an error alone
from typing import Any

import msgspec
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.drift.output_keys import common_digits
from app.drift.reference import ReferenceAnswers
from app.inference.fitted_inputs import inputs_of
from app.inference.sklearn_runtime import SklearnRuntime
from app.services.boundaries import attempt
from app.training.evaluation import errors_in
from app.training.task import Truth

FOLDS = 5
MOST_ROWS = 20_000
MOST_SECONDS = 60.0
_MOST_SECONDS_TO_START = 120.0
_READY = "ready"


class CrossFitted(msgspec.Struct, frozen=True):
    """The clones' answers to the rows at `positions`; of each answer the class and its probability, or the value.

    `clones`, shape (n,), is the number of the clone that gave it.
    """

    positions: np.ndarray
    outputs: Outputs
    clones: np.ndarray

    def as_reference(self, truth: Truth) -> ReferenceAnswers:
        """What live answers are compared with; `truth` is that of all rows."""
        return ReferenceAnswers(
            "cross_fitted",
            self.outputs,
            errors_in(self.outputs, truth.take(self.positions)),
            digits=common_digits(self.outputs, self.clones),
        )


class Task(msgspec.Struct, frozen=True):
    """The estimator to clone and the rows, shape (n, features), with `labels` as it was fitted on, and class ids."""

    estimator: Any
    contract: FeatureContract
    rows: np.ndarray
    labels: np.ndarray
    class_ids: np.ndarray | None
    seed: int


def cross_fit(
    estimator: Any,
    labels: np.ndarray,
    contract: FeatureContract,
    rows: np.ndarray,
    truth: Truth,
    seed: int,
    most_seconds: float = MOST_SECONDS,
) -> CrossFitted | str:
    """The clones' answers to `rows`, shape (n, features), or the reason why there are none.

    `labels`, shape (n,), are the targets as the estimator was fitted on them. Of more than 20,000 rows a sample is
    used. After `most_seconds` the folds that are finished count.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS])
    ids = None if truth.class_ids is None else truth.class_ids[chosen]
    if len(chosen) < 2 * FOLDS:
        return f"{len(chosen)} rows are too few to fit clones on parts of them"
    task = Task(estimator, contract, rows[chosen], labels[chosen], ids, seed)
    answers, reason = _in_process(task, most_seconds)
    if not answers:
        return reason or f"no clone of the model could be fitted within {most_seconds:g} seconds"
    return joined(chosen, answers)


def _in_process(task: Task, most_seconds: float) -> tuple[list[tuple[np.ndarray, Outputs]], str | None]:
    # A process, because a fit in compiled code can be ended in no other way.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, task), daemon=True)
    answers: list[tuple[np.ndarray, Outputs]] = []
    try:
        process.start()
        sender.close()
        # Its libraries take long to load on a busy machine, and are no part of the fit.
        if not receiver.poll(_MOST_SECONDS_TO_START) or receiver.recv() != _READY:
            return answers, "the process that fits clones of the model did not start"
        deadline = time.monotonic() + most_seconds
        while len(answers) < FOLDS and receiver.poll(max(0.0, deadline - time.monotonic())):
            message = receiver.recv()
            if isinstance(message, str):
                return answers, message
            answers.append(message)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, PicklingError) as error:  # it died, or no pickle
        return answers, f"clones of the model could not be fitted: {type(error).__name__}: {error}"
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
    return answers, None


def _answer(sender: Connection, task: Task) -> None:
    """Send the positions and answers of each fold, or the reason for having none."""
    warnings.simplefilter("ignore")
    sender.send(_READY)
    for fitted, held in folds(task):
        outputs = attempt(fold_answers, task, fitted, held)
        if isinstance(outputs, Exception):
            first_line = str(outputs).partition("\n")[0]
            sender.send(f"clones of the model could not be fitted: {type(outputs).__name__}: {first_line}")
            return
        sender.send((held, outputs))


def folds(task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    """The positions of the rows that each clone is fitted on, and of those that it answers."""
    if task.class_ids is None:
        return list(KFold(FOLDS, shuffle=True, random_state=task.seed).split(task.rows))
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=task.seed).split(task.rows, task.class_ids))


def fold_answers(task: Task, fitted: np.ndarray, held: np.ndarray) -> Outputs:
    """The answers to the rows at `held` of a clone fitted on those at `fitted`."""
    copy = clone(task.estimator)
    copy.fit(inputs_of(task.estimator, task.contract)(task.rows[fitted]), task.labels[fitted])
    if task.class_ids is None:
        return SklearnRuntime("clone", copy, task.contract).predict(task.rows[held])
    # A rare class may be missing from a fold: the clone numbers only the classes that it saw.
    present = np.unique(task.class_ids[fitted])
    names = tuple(task.contract.classes[number] for number in present.tolist())
    outputs = SklearnRuntime("clone", copy, msgspec.structs.replace(task.contract, classes=names)).predict(
        task.rows[held]
    )
    assert outputs.class_ids is not None
    top = None if outputs.probabilities is None else outputs.probabilities.max(axis=1, keepdims=True)
    return Outputs(class_ids=present[outputs.class_ids], probabilities=top)


def joined(chosen: np.ndarray, parts: list[tuple[np.ndarray, Outputs]]) -> CrossFitted:
    """The answers of all folds, one after another; each has those to the rows at some places of `chosen`."""

    def column(name: str) -> Any:
        values = [getattr(outputs, name) for _, outputs in parts]
        return None if values[0] is None else np.concatenate(values)

    return CrossFitted(
        chosen[np.concatenate([held for held, _ in parts])],
        Outputs(class_ids=column("class_ids"), probabilities=column("probabilities"), values=column("values")),
        np.repeat(np.arange(len(parts)), [len(held) for held, _ in parts]),
    )
