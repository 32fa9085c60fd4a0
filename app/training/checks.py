"""The data checks before training: they correct what can be corrected, and refuse everything else in one error.

One error for all columns, so that a file is mended once and not column by column. Checks of single columns are in
`column_checks.py`; here are those that compare columns or rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from app.domain.contract import Task
from app.errors import DataRefused
from app.tables.counts import counted
from app.tables.meaning import category_of, is_ambiguous
from app.training import column_checks
from app.training.columns import Column
from app.training.dataset import Dataset
from app.training.findings import DataReport, Finding, refuse_if_any
from app.training.task import Truth, rare_classes, task_of, truth_of

# With a larger share of duplicates, equal rows are a property of the data and not an accident of recording.
ORDINARY_SHARE = 0.2
# A fifth of fewer rows would be a hold-out of a single row.
LEAST_ROWS = 10
_UNUSABLE: tuple[Callable[[Column], Finding | None], ...] = (
    column_checks.constant,
    column_checks.row_number,
    column_checks.mixed,
    column_checks.text,
    column_checks.identifier,
)
# Checks that --keep may overrule: guesses about the meaning of a column. The others find values no model can use.
_GUESSES = (column_checks.row_number, column_checks.identifier)


def first_copies(dataset: Dataset) -> np.ndarray:
    """For each row the position of the first row that equals it, target included; shape (rows,)."""
    columns = [*dataset.columns, dataset.target]
    # NaN differs from itself; infinity cannot be confused with a value, because infinities are missing by now.
    filled = [np.where(column.missing, np.inf, column.values).tolist() for column in columns]
    first: dict[tuple[object, ...], int] = {}
    return np.array([first.setdefault(row, position) for position, row in enumerate(zip(*filled, strict=True))])


def duplicates(first: np.ndarray) -> Finding | None:
    """The finding about rows that equal an earlier one; `first` as `first_copies` gives it. All rows are kept.

    If they are few, they were probably recorded twice: copies then stay on one side of the split, because a copy in
    the hold-out of a row that was trained on would flatter the model. If they are many, equal rows are ordinary.
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
    """Whether at most a fifth of the rows are copies: few enough to be accidents of recording."""
    return len(first) - len(np.unique(first)) <= ORDINARY_SHARE * len(first)


def leak(column: Column, target: Column, task: Task) -> Finding | None:
    """A finding if the feature is a copy of the target: the same values, or for classes the same under other names."""
    if task == "regression":
        copied = column.kind == "numeric" and np.array_equal(column.values, target.values)
    else:
        copied = one_to_one(column, target)
    if not copied:
        return None
    message = f"column {column.name!r} is a copy of the target {target.name!r}"
    outcome = f"leave it out with --drop {column.name!r}, or train on it with --keep {column.name!r}"
    return Finding("target leaks", "refused", message, outcome, column.name)


def one_to_one(column: Column, other: Column) -> bool:
    """Whether each value of one column occurs with one value of the other only, and vice versa."""
    if column.kind == "numeric" and bool(column.missing.any()):
        return False  # the gap is filled with a number that the target does not have
    # Among texts a gap is a category: a mark that is set or not may well be the target.
    gaps = column.missing.tolist()
    own = [None if gap else value for value, gap in zip(column.values.tolist(), gaps, strict=True)]
    pairs = set(zip(own, other.values.tolist(), strict=True))
    return len(pairs) == len(set(own)) == len(other.distinct)


class CheckOptions(msgspec.Struct, frozen=True):
    """The user's choices: columns to leave out, columns to keep in spite of a check, the task (None: by the target)."""

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    task: Task | None = None


class CheckedData(msgspec.Struct, frozen=True):
    """Data that can be trained on.

    `first`, shape (rows,), gives the position of the first copy of each row, or its own where copies may be split.
    """

    dataset: Dataset
    truth: Truth
    first: np.ndarray
    report: DataReport


def check(dataset: Dataset, options: CheckOptions) -> CheckedData:
    """The corrected data set with a report of the findings. Raises `DataRefused` that lists all that was refused."""
    dataset, findings = labelled(_without(dataset, options))
    findings += _present(column_checks.spaces(dataset.target))
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
    # After the columns are chosen: a class is rare by its different rows, and rows differ by the columns that are left.
    findings += _present(rare_classes(truth, first))
    refuse_if_any(findings)
    report = DataReport(rows=dataset.rows, columns=len(columns), findings=tuple(findings))
    return CheckedData(dataset=dataset, truth=truth, first=first, report=report)


def _of_column(column: Column, target: Column, task: Task, is_kept: bool) -> Iterable[Finding]:
    """The findings about one column; after one that drops or refuses it the rest is not examined."""
    infinite = column_checks.infinities(column)
    yield from _present(infinite)
    column = column.without_infinities()
    for examine in _UNUSABLE:
        found = None if is_kept and examine in _GUESSES else examine(column)
        if found:
            yield found
            return
    found = None if is_kept else leak(column, target, task)
    yield from _present(found or column_checks.missing_values(column))
    if found is None:
        for note in (column_checks.ambiguous, column_checks.number_forms, column_checks.spaces):
            yield from _present(note(column))


def _without(dataset: Dataset, options: CheckOptions) -> Dataset:
    """The data set without the columns to drop. Raises `DataRefused` if a named column does not exist."""
    names = {column.name for column in dataset.columns}
    for name in (*options.drop, *options.keep):
        if name not in names:
            raise DataRefused(f"there is no feature column {name!r}; there are: {', '.join(sorted(names))}", field=name)
    kept = tuple(column for column in dataset.columns if column.name not in options.drop)
    if not kept:
        raise DataRefused("--drop leaves no feature: drop fewer columns")
    return msgspec.structs.replace(dataset, columns=kept)


def labelled(
    dataset: Dataset, least: int = LEAST_ROWS, classes: Sequence[str] | None = None
) -> tuple[Dataset, list[Finding]]:
    """The rows that have a target value, and the finding about the others, of which the cell is empty.

    `classes` are those of a fitted model (None: there is none yet): a label that is one of them is never missing.
    Raises `DataRefused` if a label that is written, such as `NA`, would be lost or cannot be read, and if fewer than
    `least` rows are left.
    """
    target = dataset.target.without_infinities()
    _require_readable(target)
    lacking = _unlabelled(target, classes)
    _require_none_lost(target, lacking, dataset.missing, classes)
    count = int(lacking.sum())
    left = len(lacking) - count
    if left < least:
        raise DataRefused(f"{counted(left)} with a value of the target {target.name!r}; at least {least} are needed")
    dataset = msgspec.structs.replace(dataset, target=target)
    if not count:
        return dataset, []
    message = f"the target {target.name!r} lacks {count} of {len(lacking)} values"
    found = Finding("missing values", "dropped", message, "those rows are dropped", target.name)
    return dataset.take(np.flatnonzero(~lacking)), [found]


def _require_readable(target: Column) -> None:
    if target.unclear is not None:
        raise DataRefused(
            f"the target {target.name!r} {target.unclear}: write all with a decimal point, and nothing else",
            field=target.name,
        )


def _unlabelled(target: Column, classes: Sequence[str] | None) -> np.ndarray:
    """True where the target has no value, shape (rows,)."""
    if not classes or target.cells is None:
        return target.missing
    known = frozenset(classes)
    flags = (category_of(cell, known) is None for cell in target.cells)
    return np.fromiter(flags, dtype=bool, count=len(target.cells))


def _require_none_lost(
    target: Column, lacking: np.ndarray, missing: Sequence[str] | None, classes: Sequence[str] | None
) -> None:
    """Raise `DataRefused` for cells of the target that have a text and may mean a missing label, unless that was said.

    A row without its label teaches nothing, and a class that is dropped unseen, such as `None`, is a wrong model.
    """
    # Among texts they are labels, once the user has said what is missing.
    texts = _maybe_labels(target, lacking, unsure=not classes and missing is None and not target.is_typed)
    if not texts:
        return
    listed = ", ".join(f"{text!r} in {counted(count)}" for text, count in texts.most_common(5))
    if classes:
        what, labels = "is no class of the model and may mean a missing label", ""
    elif target.kind == "numeric":
        what, labels = "is no number and may mean a missing label", ""
    else:
        what, labels = "may be a class or mean a missing label", "; --missing '' takes it for a class"
    option = ",".join(texts)
    raise DataRefused(
        f"the target {target.name!r} has {listed}, which {what}: --missing {option!r} drops those rows{labels}",
        field=target.name,
    )


def _maybe_labels(target: Column, lacking: np.ndarray, *, unsure: bool) -> Counter[str]:
    """The texts of rows that lack a label, how often each; if `unsure`, those of labels that may mean none, too."""
    pairs = () if target.cells is None else zip(target.cells, lacking.tolist(), strict=True)
    texts = Counter(cell.strip() for cell, is_lost in pairs if cell and (is_lost or (unsure and is_ambiguous(cell))))
    del texts[""]
    return texts


def _present(found: Finding | None) -> list[Finding]:
    return [found] if found else []
