"""`bakeoff train`: train versions from a data set and publish those that pass the quality gate."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.access import registry_of
from app.cli.comparing import comparison_data, comparison_lines, counted_steps
from app.cli.decide import user_name
from app.cli.export import contracts_of, log_of, moment_of
from app.cli.missing import add_missing
from app.cli.outlook import outlook
from app.cli.published import TO_SERVE, Measured, as_data, as_text, steps
from app.domain.columns import union_of
from app.errors import AlreadyPublished, InvalidRequest
from app.settings import Settings
from app.tables.counts import counted
from app.tables.model_columns import source_of
from app.training.variants import read_catalogue, variants_named

if TYPE_CHECKING:
    from app.inference.registry import ModelRegistry
    from app.training.dataset import Dataset
    from app.training.session import Progress, SessionResult, TrainingRequest
    from app.training.several import VariantComparison

DEFAULT_TOP = 2  # champion and challenger
# What is reported as begun for each variant: the folds, the fit on all rows, and the conversion.
STEPS_EACH = 7
_TO_LET_IN = "It waits as a candidate. To let it in: `bakeoff retire --undo {}`, then `POST /models/reload`."
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
    add(
        "--min-accuracy",
        type=_share,
        metavar="SHARE",
        help="classification: publish only with at least this accuracy on the hold-out (default 0.90)",
    )
    add(
        "--min-r2",
        type=_number,
        metavar="R2",
        help="regression: publish only with at least this R² on the hold-out (default: none)",
    )
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
    add("--seed", type=_seed, default=42, metavar="N", help="the seed of the split and of the model (default 42)")
    add("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Train and publish. Raises `DataRefused`, `GateFailed`, `RegistryConflict`, `InvalidRequest`, `SettingError`."""
    settings = Settings.from_environ()
    if args.top is not None and args.variants is None:
        raise InvalidRequest("--top says how many of several variants to publish: add --variants", field="top")
    if not args.from_log and args.since is not None:
        raise InvalidRequest("--since needs --from-log", field="since")
    if args.from_log and args.target is not None:
        raise InvalidRequest("--from-log has the champion's target: leave --target out", field="target")
    if args.from_log and args.missing is not None:
        raise InvalidRequest("the log has no texts that mean a missing value: leave --missing out", field="missing")
    try:
        if args.variants is None:
            with steps() as step:
                step("loading libraries")
                trained, measured = _trained(args, settings, step)
            compared = None
        else:
            compared, measured = _compared(args, settings)
            trained = compared.session
    except AlreadyPublished as known:
        print(json.dumps({"versions": [], "unchanged": known.version}) if args.json else f"Unchanged: {known.message}.")
        return 0
    next_step = _TO_LET_IN.format(trained.names[0]) if args.candidate else TO_SERVE
    if args.json:
        more = {"next": next_step} if compared is None else {"comparison": comparison_data(compared), "next": next_step}
        print(json.dumps(as_data(trained, measured, settings) | more, indent=2, ensure_ascii=False))
    else:
        if compared is not None:
            print("\n".join([*comparison_lines(compared), ""]))
        print(as_text(trained, measured, settings))
        print(f"\nPublished {' and '.join(trained.names)} in {settings.model_dir}. {next_step}")
    return 0


def _trained(args: argparse.Namespace, settings: Settings, step: Progress) -> tuple[SessionResult, Measured]:
    # Deferred: these load scikit-learn, which takes seconds; `--help` needs nothing of it.
    from app.training.session import train

    with registry_of(settings) as registry:
        trained = train(_request(args, settings), registry, read_catalogue(), step)
        return trained, _measured(registry, trained.names, step)


def _compared(args: argparse.Namespace, settings: Settings) -> tuple[VariantComparison, Measured]:
    catalogue = read_catalogue()
    names = variants_named(args.variants, catalogue)
    default = 1 if args.candidate else min(DEFAULT_TOP, len(names))
    top = default if args.top is None else args.top
    with counted_steps(len(names) * STEPS_EACH + top) as step:
        step("loading libraries")
        from app.training.several import train_several

        with registry_of(settings) as registry:
            compared = train_several(_request(args, settings), names, top, registry, catalogue, step)
            return compared, _measured(registry, compared.session.names, step)


def _measured(registry: ModelRegistry, names: Sequence[str], step: Progress) -> Measured:
    from app.inference.latency import timed_versions

    timed = timed_versions(registry, names, step)
    return Measured(timed, {name: outlook(registry, name) for name in names})


def _request(args: argparse.Namespace, settings: Settings) -> TrainingRequest:
    from app.training.checks import CheckOptions
    from app.training.session import Gate, TrainingRequest

    return TrainingRequest(
        dataset="log" if args.from_log else args.dataset or "iris",
        rows=_labelled_rows(settings, args.since) if args.from_log else None,
        target=args.target,
        missing=args.missing,
        version=args.version,
        variant=args.variant,
        seed=args.seed,
        candidate_by=user_name() if args.candidate else None,
        options=CheckOptions(drop=tuple(args.drop), keep=tuple(args.keep), task=args.task),
        gate=Gate(min_accuracy=args.min_accuracy, min_r2=args.min_r2),
    )


def _labelled_rows(settings: Settings, since_us: int | None) -> Dataset:
    """The labelled rows of the log, served from `since_us` on (µs since 1970), with the columns of the champion."""
    from app.inference.loader import CHAMPION
    from app.services.export.rows import RowForm, Selection
    from app.services.export.whole import find, write
    from app.training.dataset import from_export

    contracts, _ = contracts_of(settings)
    with registry_of(settings) as registry:
        champion = registry.aliases().get(CHAMPION, "")
    if champion not in contracts:
        raise InvalidRequest(
            "the registry has no champion that can be read, and the rows would have its columns: train one first"
        )
    contract = contracts[champion]
    with log_of(settings) as log, tempfile.NamedTemporaryFile(prefix="bakeoff-log-", suffix=".parquet") as file:
        found = find(log, Selection(since_us=since_us), contracts)
        write(log, found, "parquet", file, lambda _done, _of: None)
        file.flush()
        places = found.schema.columns.places(RowForm(champion, None)) or ()
        names = [found.schema.columns.columns[place].name for place in places]
        columns = {name: source_of(feature) for name, feature in zip(names, contract.features, strict=True)}
        versions = [*union_of(champion, contracts).contracts]
        data, logged = from_export(Path(file.name), columns, contract.target, contract.classes, versions)
    served = f"{counted(logged, 'prediction')} by versions that can be compared with {champion}"
    print(f"training on {counted(data.rows, 'labelled row')}, of {served}", file=sys.stderr)
    return data


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
