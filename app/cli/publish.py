"""`bakeoff publish`: publish a model that you fitted yourself, or a newer reference of a version."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

from app.cli.access import registry_of
from app.cli.decide import user_name
from app.cli.missing import add_missing
from app.cli.outlook import outlook
from app.cli.published import TO_SERVE, Measured, as_data, as_text, figures_lines, reference_data, reference_text, steps
from app.cli.train import TO_LET_IN, logged_to_mlflow, mlflow_tracking, say_unchanged
from app.cli.train_options import add_gate
from app.errors import AlreadyPublished, InvalidRequest
from app.settings import Settings
from app.store.keys import load_or_create

_MANIFEST = "manifest.json"  # what makes a folder a version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Loading a pickle runs any code that is in it: publish only files that you trust. It can hold any fitted "
        "scikit-learn classifier, regressor or pipeline. A .skops file runs no code; a .onnx file is served as it is. "
        "With --from-mlflow the model comes from the MLflow server that MLFLOW_TRACKING_URI names. The feature "
        "contract, accuracy figures and drift reference are computed from FILE, a CSV or Parquet file. Problems "
        "found in the data are reported, but no accuracy is required. With --refresh-reference, a version that is "
        "published already gets a drift reference of FILE. Its model, contract, checksums and aliases stay, and a "
        "running experiment goes on. The folder of bakeoff train --to is published as it was trained, after the "
        "quality gate; reference and target are its own. A model that the registry has already is then not published "
        "again (exit status 0)."
    )
    add = parser.add_argument
    add(
        "model",
        type=Path,
        nargs="?",
        metavar="MODEL",
        help="the fitted model: a file of joblib.dump or pickle, a .skops file or a .onnx file; or the folder of "
        "bakeoff train --to",
    )
    add(
        "--from-mlflow", metavar="URI", help="publish this registered model: models:/NAME@ALIAS or models:/NAME/VERSION"
    )
    add(
        "--code",
        type=Path,
        metavar="DIR",
        help="a folder with the Python modules that the model imports: they become part of the version",
    )
    add(
        "--reference",
        type=Path,
        metavar="FILE",
        help="rows with their true labels, best those that the model has not been fitted on (with --refresh-reference "
        "the default is the data that the version was made from)",
    )
    add(
        "--reference-is",
        choices=("holdout", "training", "unknown"),
        default="unknown",
        help="whether the model was fitted on FILE: holdout (it was not), training (it was: clones answer the "
        "rows, for at most 60 s), unknown (the default: answers and errors are then not watched for drift)",
    )
    add(
        "--reference-artifact",
        metavar="PATH",
        help="with --from-mlflow, the reference is this artefact of the model's run, instead of FILE",
    )
    add("--target", metavar="COLUMN", help="the column with the labels (with --refresh-reference: the version's)")
    add_missing(parser, "those that the model does not know as categories or classes")
    add("--version", metavar="NAME", help="publish under this name (default: the next free number)")
    add(
        "--refresh-reference",
        metavar="NAME",
        help="give this published version a newer drift reference, and publish no model",
    )
    add(
        "--to-mlflow",
        nargs="*",
        metavar="NAME",
        help="publish no model, but log these published versions (default: all) to the MLflow server of "
        "MLFLOW_TRACKING_URI, where it lacks them",
    )
    add("--candidate", action="store_true", help="with the folder of train --to: publish it to wait until it is let in")
    add(
        "--dry-run",
        action="store_true",
        help="with the folder of train --to: only print its figures and apply the quality gate; nothing is published",
    )
    add_gate(parser)
    add("--json", action="store_true", help="print the outcome as JSON")
    # Which arguments are required depends on what is published; argparse cannot say that.
    parser.set_defaults(wrong_usage=parser.error)


def run(args: argparse.Namespace) -> int:
    """Publish. Raises what the ways to publish raise, such as `DataRefused`, `UnknownVersion` and `MlflowFailure`."""
    # What concerns the user is collected and said in the report; the rest would repeat itself for every call.
    warnings.simplefilter("ignore", UserWarning)
    if args.to_mlflow is not None:
        return _log_to_mlflow(args)
    if args.refresh_reference is not None:
        own = (args.model, args.from_mlflow, args.code, args.version)
        if _of_a_folder(args) or any(value is not None for value in own):
            args.wrong_usage(
                "--refresh-reference takes no MODEL, --from-mlflow, --code, --version, --candidate, --dry-run or gate: "
                "the version keeps its own"
            )
        return _refresh(args)
    if args.model is not None and (args.model / _MANIFEST).is_file():
        return _publish_built(args)
    _require_usage(args)
    return _publish(args)


def _of_a_folder(args: argparse.Namespace) -> bool:
    return bool(args.candidate or args.dry_run or args.min_accuracy is not None or args.min_r2 is not None)


def _require_usage(args: argparse.Namespace) -> None:
    """End with the usage, unless the arguments name one model and one reference."""
    if _of_a_folder(args):
        args.wrong_usage(
            "--candidate, --dry-run, --min-accuracy and --min-r2 need as MODEL the folder of bakeoff train --to, and "
            f"{args.model or args.from_mlflow} is none"
        )
    needed = {
        "MODEL": args.model or args.from_mlflow,
        "--reference": args.reference or args.reference_artifact,
        "--target": args.target,
    }
    if missing := [name for name, value in needed.items() if value is None]:
        args.wrong_usage(f"the following arguments are required: {', '.join(missing)}")
    if args.model is not None and args.from_mlflow is not None:
        args.wrong_usage("MODEL and --from-mlflow name two models: give one of them")
    if args.reference_artifact is not None and (args.from_mlflow is None or args.reference is not None):
        args.wrong_usage("--reference-artifact goes with --from-mlflow, and takes the place of --reference")


def _publish(args: argparse.Namespace) -> int:
    settings = Settings.from_environ()
    with steps() as step:
        step("loading libraries")
        # Deferred: it loads scikit-learn, which takes seconds; `--help` needs nothing of it.
        from app.inference.latency import timed_versions
        from app.training.external_session import PublishRequest, publish_external

        request = PublishRequest(
            model=args.model,
            reference=args.reference,
            target=args.target,
            missing=args.missing,
            version=args.version,
            reference_is=args.reference_is,
            mlflow=args.from_mlflow,
            reference_artifact=args.reference_artifact,
            code=args.code,
        )
        with registry_of(settings, changes=True) as registry:
            trained = publish_external(request, registry, step)
            timed = timed_versions(registry, trained.names, step)
            measured = Measured(timed, {name: outlook(registry, name) for name in trained.names})
    if args.json:
        print(json.dumps(as_data(trained, measured, settings), indent=2, ensure_ascii=False))
    else:
        print(as_text(trained, measured, settings))
        print(f"\nPublished {trained.names[0]} in {settings.registry}. {TO_SERVE}")
    return 0


def _publish_built(args: argparse.Namespace) -> int:
    # Deferred, as above.
    from app.inference.artefact import read_artefact
    from app.inference.latency import timed_versions
    from app.training.session import Gate, publish_built

    if any((args.from_mlflow, args.code, args.reference, args.reference_artifact, args.target, args.missing)):
        args.wrong_usage(f"{args.model} is a version with a reference of its own: give --version alone")
    settings, gate = Settings.from_environ(), Gate(min_accuracy=args.min_accuracy, min_r2=args.min_r2)
    artefact = read_artefact(args.model, load_or_create(settings.data_dir, settings.deployment_key_file).registry, None)
    if args.dry_run:
        figures = artefact.manifest.metrics
        print(json.dumps(figures, indent=2) if args.json else "\n".join(figures_lines(figures)))
        gate.check_built(artefact.manifest)
        return 0
    source, figures = artefact.manifest.source, {"min_accuracy": args.min_accuracy, "min_r2": args.min_r2}
    given = {"variant": artefact.manifest.variant, "dataset": source.dataset, "target": source.target}
    try:
        with logged_to_mlflow(settings, artefact.manifest.variant or "training", given, figures) as published:
            with registry_of(settings, changes=True) as registry, steps() as step:
                trained = publish_built(artefact, registry, args.version, gate, user_name() if args.candidate else None)
                timed = timed_versions(registry, trained.names, step)
                measured = Measured(timed, {name: outlook(registry, name) for name in trained.names})
            published(trained)
    except AlreadyPublished as known:
        return say_unchanged(known, as_json=args.json)
    next_step = TO_LET_IN.format(trained.names[0]) if args.candidate else TO_SERVE
    if args.json:
        data = as_data(trained, measured, settings) | {"next": next_step}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print(as_text(trained, measured, settings))
        print(f"\nPublished {trained.names[0]} in {settings.registry}. {next_step}")
    return 0


def _log_to_mlflow(args: argparse.Namespace) -> int:
    # Deferred, as above.
    from app.training.session import PublishedVersion

    own = (args.model, args.from_mlflow, args.code, args.reference, args.reference_artifact, args.target, args.missing)
    if _of_a_folder(args) or args.version or args.refresh_reference or args.json or any(own):
        args.wrong_usage("--to-mlflow goes with no other option or MODEL: versions are logged as they were published")
    settings = Settings.from_environ()
    tracking, read = mlflow_tracking(settings)
    versions = []
    with registry_of(settings) as registry:
        aliases = {version: alias for alias, version in registry.aliases().items()}
        for name in args.to_mlflow or registry.names():
            manifest = registry.manifest(name)
            if manifest.has_estimator:
                versions.append(PublishedVersion(manifest, aliases.get(name)))
            else:
                print(f"note: {name} is left out: it is an ONNX file, without an estimator to log", file=sys.stderr)
    if not versions:
        raise InvalidRequest(f"{settings.registry} has no version to log", field="to-mlflow")
    print(tracking.again(versions, read))
    return 0


def _refresh(args: argparse.Namespace) -> int:
    settings = Settings.from_environ()
    with steps() as step:
        step("loading libraries")
        # Deferred, as above.
        from app.training.refreshed_reference import RefreshRequest, refresh_reference

        request = RefreshRequest(
            version=args.refresh_reference,
            reference=None if args.reference is None else str(args.reference),
            target=args.target,
            missing=args.missing,
            reference_is=args.reference_is,
        )
        with registry_of(settings, changes=True) as registry:
            refreshed = refresh_reference(request, registry, step)
    if args.json:
        print(json.dumps(reference_data(refreshed), indent=2, ensure_ascii=False))
    else:
        print(reference_text(refreshed))
    return 0
