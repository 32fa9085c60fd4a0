"""Find rows that repeat an earlier one.

Find features that give the target away.

All data checks on a data set that is to be trained on: mend what can be mended, refuse the rest in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from app.domain.contract import Task
from app.errors import DataRefused
from app.training import column_checks
from app.training.columns import Column
from app.training.dataset import Dataset
from app.training.findings import DataReport, Finding, counted, refuse_if_any
from app.training.task import Truth, rare_classes, task_of, truth_of

ORDINARY_SHARE = 0.2


def first_copies(dataset: Dataset) -> np.ndarray:
    """For each row the position of the first row that equals it, target included; shape (rows,)."""
    columns = [*dataset.columns, dataset.target]
    filled = [np.where(column.missing, np.inf, column.values).tolist() for column in columns]
    first: dict[tuple[object, ...], int] = {}
    return np.array([first.setdefault(row, position) for position, row in enumerate(zip(*filled, strict=True))])


def duplicates(first: np.ndarray) -> Finding | None:
    """What becomes of rows that repeat an earlier one: all are kept, for how often a row occurs is information.

    Where they are few they are likely recorded twice, and a copy in the hold-out of a row that was trained on would
    flatter the model: then copies stay on one side of the split. Where they are many, equal rows are ordinary.
    """
    count = len(first) - len(np.unique(first))
    if not count:
        return None
    how = (
        "copies stay on the same side of the split"
        if few_duplicates(first)
        else "equal rows are ordinary in these data"
    )
    return Finding("duplicates", "kept", f"{counted(count)} the same as an earlier one", f"kept, {how}")


def few_duplicates(first: np.ndarray) -> bool:
    """Whether the copies are few enough to be accidents."""
    return len(first) - len(np.unique(first)) <= ORDINARY_SHARE * len(first)


def leak(column: Column, target: Column, task: Task) -> Finding | None:
    """A feature that is the target again: the same values, or for classes the same under other names."""
    if task == "regression":
        copied = column.kind == "numeric" and np.array_equal(column.values, target.values)
    else:
        copied = one_to_one(column, target)
    if not copied:
        return None
    message = f"column {column.name!r} is a copy of the target {target.name!r}"
    outcome = f"leave it out with --drop {column.name!r}, or insist with --keep {column.name!r}"
    return Finding("target leaks", "refused", message, outcome, column.name)


def one_to_one(column: Column, other: Column) -> bool:
    """Whether each value of one column goes with one value of the other, and the other way round."""
    if bool(column.missing.any()):
        return False
    pairs = set(zip(column.values.tolist(), other.values.tolist(), strict=True))
    return len(pairs) == len(column.distinct) == len(other.distinct)


LEAST_ROWS = 10
_FIT_TO_USE: tuple[Callable[[Column], Finding | None], ...] = (
    column_checks.constant,
    column_checks.row_number,
    column_checks.mixed,
    column_checks.text,
    column_checks.identifier,
)
# What --keep may overrule: what is a guess about the meaning of a column, not about what can be computed.
_GUESSES = (column_checks.row_number, column_checks.identifier)


class CheckOptions(msgspec.Struct, frozen=True):
    """What the user says about the data: columns to leave out, columns to keep in spite of a check, the task."""

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    task: Task | None = None


class CheckedData(msgspec.Struct, frozen=True):
    """Data fit to train on. `first` gives the first copy of each row, or the row itself where copies may part."""

    dataset: Dataset
    truth: Truth
    first: np.ndarray
    report: DataReport


def check(dataset: Dataset, options: CheckOptions) -> CheckedData:
    """The data set, mended, with a report of what was found. Raises `DataRefused` with everything that stands."""
    dataset, findings = labelled(_without(dataset, options))
    task = options.task or task_of(dataset.target)
    truth = truth_of(dataset.target, task, dataset.classes)
    columns = []
    for column in dataset.columns:
        found = list(_of_column(column, dataset.target, task, column.name in options.keep))
        findings += found
        if not any(finding.action in ("dropped", "refused") for finding in found):
            columns.append(column.without_infinities())
    refuse_if_any(findings)
    if not columns:
        raise DataRefused("no feature is left: " + "; ".join(finding.sentence for finding in findings))
    dataset = msgspec.structs.replace(dataset, columns=tuple(columns))
    first = first_copies(dataset)
    findings += _present(duplicates(first))
    first = first if few_duplicates(first) else np.arange(dataset.rows)
    findings += _present(rare_classes(truth, first))
    refuse_if_any(findings)
    report = DataReport(rows=dataset.rows, columns=len(columns), findings=tuple(findings))
    return CheckedData(dataset=dataset, truth=truth, first=first, report=report)


def _of_column(column: Column, target: Column, task: Task, insisted: bool) -> Iterable[Finding]:
    """What is wrong with one column; nothing more once it is dropped or refused."""
    infinite = column_checks.infinities(column)
    yield from _present(infinite)
    column = column.without_infinities()
    for checked in _FIT_TO_USE:
        found = None if insisted and checked in _GUESSES else checked(column)
        if found:
            yield found
            return
    found = None if insisted else leak(column, target, task)
    yield from _present(found or column_checks.missing_values(column))


def _without(dataset: Dataset, options: CheckOptions) -> Dataset:
    """The data set without the columns that the user leaves out."""
    names = {column.name for column in dataset.columns}
    for name in (*options.drop, *options.keep):
        if name not in names:
            raise DataRefused(f"there is no feature column {name!r}; there are: {', '.join(sorted(names))}", field=name)
    kept = tuple(column for column in dataset.columns if column.name not in options.drop)
    if not kept:
        raise DataRefused("--drop leaves no feature")
    return msgspec.structs.replace(dataset, columns=kept)


def labelled(dataset: Dataset, least: int = LEAST_ROWS) -> tuple[Dataset, list[Finding]]:
    """The rows that have a target. Raises `DataRefused` where there are fewer than `least`."""
    target = dataset.target.without_infinities()
    lacking = target.missing
    count = int(lacking.sum())
    left = len(lacking) - count
    if left < least:
        raise DataRefused(f"rows with a value of the target {target.name!r}: {left}, and at least {least} are needed")
    dataset = msgspec.structs.replace(dataset, target=target)
    if not count:
        return dataset, []
    message = f"the target {target.name!r} lacks {count} of {len(lacking)} values"
    found = Finding("missing values", "dropped", message, "those rows are dropped", target.name)
    return dataset.take(np.flatnonzero(~lacking)), [found]


def _present(found: Finding | None) -> list[Finding]:
    return [found] if found else []
