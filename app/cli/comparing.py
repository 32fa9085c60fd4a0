"""Output of `train --variants`: the progress bar, and the table of the variants that were compared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.table import table_lines, terminal_width

if TYPE_CHECKING:  # for annotations only: these modules load scikit-learn
    from app.training.several import ComparedVariant, VariantComparison

_CLASSES = {"accuracy": "ACCURACY", "precision": "PRECISION", "recall": "RECALL", "f1": "F1", "log_loss": "LOG LOSS"}
_VALUES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²"}
_ABSENT = "–"


@contextmanager
def counted_steps(total: int) -> Iterator[Callable[[str], None]]:
    """A function to call with the description of each step as it begins; `total` is about how many there are.

    On a terminal, standard error shows a bar. Elsewhere nothing is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _step: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        began = False

        def step(description: str) -> None:
            nonlocal began
            progress.update(task, description=description, advance=int(began))
            began = True

        yield step


def comparison_data(compared: VariantComparison) -> dict[str, Any]:
    """The variants from the best on as plain data, for `--json`."""
    return {
        "variants": [msgspec.to_builtins(variant) for variant in compared.variants],
        "failed": dict(compared.failed),
    }


def comparison_lines(compared: VariantComparison) -> Iterator[str]:
    """A table of the variants from the best on, and why those that were published come first."""
    figures = _CLASSES if hasattr(compared.variants[0].cross_validated, "accuracy") else _VALUES
    headings = ("", "VARIANT", *figures.values(), "FIT", "SIZE", "LATENCY", "VERSION")
    rows = [_row(place, variant, figures) for place, variant in enumerate(compared.variants, 1)]
    count = compared.variants[0].cross_validated.rows
    yield f"Variants, cross-validated on the {count} training rows (5 folds; the hold-out has no part in it)"
    yield from table_lines(
        rows, headings, numeric=(0, *range(2, len(headings) - 1)), width=terminal_width(), required=2 + len(figures)
    )
    for variant in compared.variants:
        if variant.version is not None:
            yield f"{variant.version} is {variant.variant}: {variant.why}"
    for name, reason in compared.failed.items():
        yield f"{name} was left out: {reason}"


def _row(place: int, variant: ComparedVariant, figures: dict[str, str]) -> tuple[str, ...]:
    return (
        str(place),
        variant.variant,
        *(_number(getattr(variant.cross_validated, name)) for name in figures),
        f"{variant.fit_s:.2g} s",
        f"{variant.size_bytes / 1000:,.0f} kB",
        _ABSENT if variant.p95_us is None else f"{variant.p95_us / 1000:.2g} ms",
        variant.version or _ABSENT,
    )


def _number(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.4g}"
