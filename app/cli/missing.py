"""The option `--missing`: the texts of a file that mean a missing value."""

from __future__ import annotations

import argparse

from app.domain.manifest import Source


def add_missing(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option; `default` says what holds without it."""
    parser.add_argument(
        "--missing",
        type=_texts,
        metavar="TEXT[,TEXT]",
        help="cells with one of these texts mean a missing value in every column; an empty cell always does, and so do "
        f"NA, N/A, NaN, None, null and ? among numbers. '' is none (default: {default})",
    )


def missing_of(args: argparse.Namespace, source: Source) -> tuple[str, ...]:
    """The texts that mean a missing value: those of the option, else those that a version was trained with."""
    given: tuple[str, ...] | None = args.missing
    return (source.missing or ()) if given is None else given


def _texts(option: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in option.split(",") if text.strip())
