"""The options of `bakeoff train`, and which of them go together."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from app.cli.export import moment_of
from app.cli.missing import add_missing
from app.errors import InvalidRequest

_LARGEST_SEED = 2**32 - 1  # NumPy and scikit-learn take no larger one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "With --candidate the version waits: it is not loaded, and the running experiment goes on. At most one waits: "
        "an older one is retired, and a model that the registry has already is not published again (exit status 0). To "
        "let it in: bakeoff retire --undo VERSION, and POST /models/reload. "
        "Without --version, an empty registry gets v1 and v2, two different models to compare (v1 uses the named "
        "variant); any other registry gets the next free number. The same data and seed give the same model: equal "
        "answers and equal accuracy figures. If the data are refused or a model fails the quality gate "
        "(--min-accuracy, --min-r2), nothing is published and the exit status is 1. With --variants, five folds of the "
        "training rows decide, by accuracy (of a regression: by mean squared error); the hold-out has no part in it. "
        "Variants within one standard error of the best are tied, and the smallest model of these comes first."
    )
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--dataset",
        metavar="NAME|FILE",
        help="iris (the default), wine, digits, breast_cancer, or a CSV or Parquet file",
    )
    data.add_argument(
        "--from-log",
        action="store_true",
        help="the labelled predictions of this installation's log, with the champion's columns and target",
    )
    add("--since", type=moment_of, metavar="TIME", help="with --from-log: served from this date or ISO time on (UTC)")
    add("--target", metavar="COLUMN", help="the column to predict (needed for a file)")
    add_missing(parser, "none; texts such as NA are values among texts, and among labels refused")
    add("--version", metavar="NAME", help="publish under this name (lower-case letters, digits and _)")
    variants = parser.add_mutually_exclusive_group()
    variants.add_argument("--variant", metavar="NAME", help="a variant of training.toml (default: deep_forest)")
    variants.add_argument(
        "--variants",
        metavar="all|NAME,NAME",
        help="fit several variants on the same split, compare them by cross-validation, and publish the best",
    )
    add("--top", type=_top, metavar="N", help="with --variants: how many of them to publish (default 2)")
    add("--task", choices=("classification", "regression"), help="default: decided from the target column")
    add_gate(parser)
    add("--drop", action="append", default=[], metavar="COLUMN", help="leave this column out (repeatable)")
    add(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="keep a column that looks like an identifier, a row number or a copy of the target (repeatable)",
    )
    add(
        "--candidate",
        action="store_true",
        help="publish the version to wait until it is let in; nothing loads it before",
    )
    add(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="train into this folder and publish nothing: bakeoff publish FOLDER does, and has the quality gate",
    )
    add("--check", action="store_true", help="only read and check the data: nothing is trained or published")
    add("--seed", type=_seed, default=42, metavar="N", help="the seed of the split and of the model (default 42)")
    add("--json", action="store_true", help="print the outcome as JSON")


def add_gate(parser: argparse.ArgumentParser) -> None:
    """The options of the quality gate."""
    parser.add_argument(
        "--min-accuracy",
        type=_share,
        metavar="SHARE",
        help="classification: publish only with at least this accuracy on the hold-out (default 0.90)",
    )
    parser.add_argument(
        "--min-r2",
        type=_number,
        metavar="R2",
        help="regression: publish only with at least this R² on the hold-out (default: none)",
    )


def require_fitting(args: argparse.Namespace) -> None:
    """Raise `InvalidRequest` for options that do not go together."""
    if args.top is not None and args.variants is None:
        raise InvalidRequest("--top says how many of several variants to publish: add --variants", field="top")
    if not args.from_log and args.since is not None:
        raise InvalidRequest("--since needs --from-log", field="since")
    if args.from_log and args.target is not None:
        raise InvalidRequest("--from-log has the champion's target: leave --target out", field="target")
    if args.from_log and args.missing is not None:
        raise InvalidRequest("the log has no texts that mean a missing value: leave --missing out", field="missing")
    if args.to is not None and (args.version or args.candidate or args.top not in (None, 1)):
        raise InvalidRequest(
            "--to trains one version, which gets its name when it is published: leave --version, --candidate and --top "
            "out",
            field="to",
        )


def _top(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    # float() reads "nan", which no R² reaches: the gate would refuse every model, after the training.
    if math.isnan(value):
        raise argparse.ArgumentTypeError("nan is not a number to compare with")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        # Or argparse would name this function to the user.
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not 0 <= value <= _LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_LARGEST_SEED}")
    return value
