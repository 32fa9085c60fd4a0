"""`bakeoff train`: train versions from a data set and publish those that pass the quality gate."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.cli.access import registry_of
from app.cli.comparing import comparison_data, comparison_lines, counted_steps
from app.cli.decide import user_name
from app.cli.export import contracts_of, log_of
from app.cli.outlook import outlook
from app.cli.published import TO_SERVE, Measured, as_data, as_text, report_lines, steps
from app.cli.train_options import add_arguments as add_arguments
from app.cli.train_options import require_fitting
from app.domain.columns import union_of
from app.errors import AlreadyPublished, DataRefused, GateFailed, InvalidRequest
from app.settings import Settings
from app.store.keys import load_or_create
from app.tables.counts import counted
from app.tables.model_columns import source_of
from app.training.variants import read_catalogue, variants_named

if TYPE_CHECKING:
    from app.inference.artefact import Artefact
    from app.inference.registry import ModelRegistry
    from app.training.dataset import Dataset
    from app.training.session import Progress, SessionResult, TrainingRequest
    from app.training.several import VariantComparison
    from app.training.tracking import Tracking

DEFAULT_TOP = 2  # champion and challenger
# What is reported as begun for each variant: the folds, the fit on all rows, and the conversion.
STEPS_EACH = 7
TO_LET_IN = "It waits as a candidate. To let it in: `bakeoff retire --undo {}`, then `POST /models/reload`."
_BUILT = "trained"  # the name of a version that is published later


def run(args: argparse.Namespace) -> int:
    """Train and publish. Raises `DataRefused`, `GateFailed`, `RegistryConflict`, `InvalidRequest`, `SettingError`."""
    settings = Settings.from_environ()
    require_fitting(args)
    if args.check:
        return _check(args, settings)
    try:
        with _tracked(args, settings) as published:
            if args.variants is None:
                with steps() as step:
                    step("loading libraries")
                    trained, measured = _trained(args, settings, step)
                compared = None
            else:
                compared, measured = _compared(args, settings)
                trained = compared.session
            published(trained)
    except AlreadyPublished as known:
        return say_unchanged(known, as_json=args.json)
    next_step = TO_LET_IN.format(trained.names[0]) if args.candidate else TO_SERVE
    if args.to is not None:
        trained = _without_alias(trained)
        next_step = f"To publish it: `bakeoff publish {args.to}`."
    if args.json:
        more = {"next": next_step} if compared is None else {"comparison": comparison_data(compared), "next": next_step}
        print(json.dumps(as_data(trained, measured, settings) | more, indent=2, ensure_ascii=False))
    else:
        if compared is not None:
            print("\n".join([*comparison_lines(compared), ""]))
        print(as_text(trained, measured, settings))
        done = f"Published {' and '.join(trained.names)} in {settings.registry}." if args.to is None else "Trained."
        print(f"\n{done} {next_step}")
    return 0


def say_unchanged(known: AlreadyPublished, *, as_json: bool) -> int:
    """Print that the registry has the model already; the exit status."""
    print(json.dumps({"versions": [], "unchanged": known.version}) if as_json else f"Unchanged: {known.message}.")
    return 0


def _check(args: argparse.Namespace, settings: Settings) -> int:
    with steps() as step:
        step("loading libraries")
        checked = _request(args, settings).checked(step)
    if args.json:
        found = {"task": checked.truth.task, "target": checked.dataset.target.name, "data_report": checked.report}
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print("\n".join(report_lines(checked.report)))
    return 0


def _tracked(args: argparse.Namespace, settings: Settings) -> AbstractContextManager[Callable[[SessionResult], None]]:
    if args.to is not None:
        return nullcontext(lambda _: None)  # `publish` logs the version
    gate = {"min_accuracy": args.min_accuracy, "min_r2": args.min_r2}
    name = args.variant or args.variants or "training"
    given = {"variant": name, "dataset": args.dataset, "target": args.target, "seed": args.seed}
    return logged_to_mlflow(settings, name, given, gate)


@contextmanager
def logged_to_mlflow(
    settings: Settings, name: str, given: Mapping[str, object], gate: Mapping[str, object]
) -> Iterator[Callable[[SessionResult], None]]:
    """Logs a training in the block, where MLFLOW_TRACKING_URI is set: call what it gives with what was published.

    A refusal is logged as a run `name` with the parameters `given`. What is logged, or what is not, is a line on
    standard error.
    """
    if settings.mlflow is None:
        yield lambda _: None
        return
    tracking, read = mlflow_tracking(settings)
    try:
        yield lambda trained: print(tracking.published(trained, read, gate), file=sys.stderr)
    except (DataRefused, GateFailed) as refusal:
        print(tracking.refused(name, {**given, **gate}, refusal.message), file=sys.stderr)
        raise


def mlflow_tracking(settings: Settings) -> tuple[Tracking, Callable[[str], Artefact]]:
    """The log of what is done from now on at the server of MLFLOW_TRACKING_URI, and what reads a version for it.

    Raises `InvalidRequest` if there is no such server.
    """
    # Deferred: nobody else waits for these.
    from app.inference.mlflow_server import MlflowServer
    from app.training.tracking import Tracking

    if settings.mlflow is None:
        raise InvalidRequest("MLFLOW_TRACKING_URI is not set: it names the MLflow server", field="to-mlflow")

    def read(version: str) -> Artefact:
        with registry_of(settings) as registry:
            return registry.verified(version)

    return Tracking(MlflowServer(settings.mlflow), read_catalogue(), user_name()), read


def _trained(args: argparse.Namespace, settings: Settings, step: Progress) -> tuple[SessionResult, Measured]:
    # Deferred: these load scikit-learn, which takes seconds; `--help` needs nothing of it.
    from app.training.session import train

    with _registry(args, settings) as registry:
        trained = train(_request(args, settings), registry, read_catalogue(), step)
        return trained, _measured(registry, trained.names, step)


def _compared(args: argparse.Namespace, settings: Settings) -> tuple[VariantComparison, Measured]:
    catalogue = read_catalogue()
    names = variants_named(args.variants, catalogue)
    default = 1 if args.candidate or args.to else min(DEFAULT_TOP, len(names))
    top = default if args.top is None else args.top
    with counted_steps(len(names) * STEPS_EACH + top) as step:
        step("loading libraries")
        from app.training.several import train_several

        with _registry(args, settings) as registry:
            compared = train_several(_request(args, settings), names, top, registry, catalogue, step)
            return compared, _measured(registry, compared.session.names, step)


@contextmanager
def _registry(args: argparse.Namespace, settings: Settings) -> Iterator[ModelRegistry]:
    """The registry of the installation; with --to one that is thrown away, but for the version's folder.

    Raises `InvalidRequest` if the folder cannot be written, or holds anything but a version that --to has made.
    """
    if args.to is None:
        with registry_of(settings, changes=True) as registry:
            yield registry
        return
    from app.inference.registry import ModelRegistry

    if args.to.exists() and not _is_built(args.to):
        raise InvalidRequest(f"{args.to} is there already, and was not made by --to: it is not replaced", field="to")
    keys = load_or_create(settings.data_dir, settings.deployment_key_file)
    with ExitStack() as stack:
        with _naming(args.to):
            args.to.parent.mkdir(parents=True, exist_ok=True)
            # Beside the folder, so that the version gets there by one rename.
            scratch = tempfile.TemporaryDirectory(prefix=".bakeoff-", dir=args.to.parent)
            built = Path(stack.enter_context(scratch))
        yield ModelRegistry(built, keys.registry)
        with _naming(args.to):
            shutil.rmtree(args.to, ignore_errors=True)
            (built / _BUILT).rename(args.to)


def _is_built(folder: Path) -> bool:
    """Whether the folder has a version that --to has made, and no published one, nor anybody's other files."""
    try:
        return bool(json.loads((folder / "manifest.json").read_bytes())["version"] == _BUILT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"--to: {error.filename or folder}: {error.strerror or error}", field="to") from error


def _without_alias(trained: SessionResult) -> SessionResult:
    """The same, without the alias that a version gets in a registry of its own."""
    versions = tuple(msgspec.structs.replace(version, alias=None) for version in trained.versions)
    return msgspec.structs.replace(trained, versions=versions)


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
        version=args.version if args.to is None else _BUILT,
        variant=args.variant,
        seed=args.seed,
        candidate_by=user_name() if args.candidate else None,
        options=CheckOptions(drop=tuple(args.drop), keep=tuple(args.keep), task=args.task),
        gate=Gate(min_accuracy=args.min_accuracy, min_r2=args.min_r2, later=args.to is not None),
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
