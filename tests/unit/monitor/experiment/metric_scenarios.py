"""Real traffic under each metric: equal versions, whose users come again, or whose wrong answers are labelled first.

As in `scenarios`, each function is one simulated experiment. Three of ten cases are positive; a version finds .7 of
them and is right on .9 of the others. Numbers have normal errors, and probabilities say how sure an answer is.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from app.domain.experiment import CaseFacts
from tests.unit.monitor.experiment.memory_log import MemoryLog
from tests.unit.monitor.experiment.scenarios import BALANCED, DISTINCT, SHADOW, STEPS, has_winner, is_promoted

TERMS = {
    "classes": ("no", "yes"),
    "class_shares": (0.7, 0.3),
    "positive_class": "yes",
    "cost_matrix": {"yes": {"no": 10.0}, "no": {"yes": 1.0}},
    "error_range": (0.0, 9.0),
}
METRICS = ("balanced_accuracy", "recall", "cost", "squared_error", "brier", "log_loss")
_LATE = 300


def _answers(metric, chance, cases):
    """Label and both answers of so many cases: (cases,), (cases, 2) of numbers, classes or logged answers."""
    if metric == "squared_error":
        return np.zeros(cases), chance.normal(size=(cases, 2))
    labels = (chance.random(cases) < 0.3).astype(int)
    right = chance.random((cases, 2)) < np.where(labels == 1, 0.7, 0.9)[:, None]
    return labels, np.where(right, labels[:, None], 1 - labels[:, None])


def _logged(metric, answer, sure):
    if metric == "squared_error":
        return float(answer)
    if metric in ("brier", "log_loss"):
        return {"c": int(answer), "p": [float(sure if place == answer else 1 - sure) for place in (0, 1)]}
    return int(answer)


def _run(metric, chance, n, happened, *, users=None, rows=None, weights=BALANCED, late=False):
    """Whether it happened after any step. Requests of one user, or of one case, get one pair of answers."""
    log, waiting = MemoryLog(weights, cases=DISTINCT if rows is not None else CaseFacts(), metric=metric, **TERMS), {}
    of = np.arange(n) if rows is None else rows
    of = of if users is None else users
    labels, answers = _answers(metric, chance, int(of.max()) + 1)
    surest = chance.uniform(0.5, 1.0, (len(labels), 2))
    served = chance.choice(2, n, p=[*weights.values()])
    for place in range(n):
        case = of[place]
        pair = [_logged(metric, answers[case][each], surest[case][each]) for each in (0, 1)]
        row = log.serve(
            {"v1": pair[0], "v2": pair[1]},
            ("v1", "v2")[served[place]],
            user=0 if users is None else int(case) + 1,
            features=None if rows is None else f"[{case}]",
        )
        wrong = abs(float(answers[case][served[place]]) - float(labels[case])) > 0.5
        if late and not wrong:
            waiting.setdefault(place + _LATE, []).append((row, case))
        else:
            log.label(row, labels[case].item())
        for kept, of_it in waiting.pop(place, ()):
            log.label(kept, labels[of_it].item())
        if place % -(-n // STEPS) == 0 and happened(log):
            return True
    return happened(log)


def users(metric, chance, n):
    """Users × 20, each of whose requests gets the same two answers."""
    return _run(metric, chance, n, has_winner, users=chance.permutation(np.repeat(np.arange(n // 20), 20)))


def repeated(metric, chance, n):
    """A fifth of the rows is sent six times."""
    cases = np.repeat(np.arange(n), np.where(chance.random(n) < 0.2, 6, 1))[:n]
    return _run(metric, chance, n, has_winner, rows=cases)


def wrong_first(metric, chance, n):
    """In shadow, the label of a wrong answer comes at once, that of a right one 300 requests later."""
    return _run(metric, chance, n, is_promoted, weights=SHADOW, late=True)


SCENARIOS = {
    f"{name}_{metric}": partial(scenario, metric)
    for name, scenario in (("users", users), ("repeated", repeated), ("wrong_first", wrong_first))
    for metric in METRICS
}
