"""`bakeoff drift`: the drift report of a file, without a server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.shelf_access import registry_of

if TYPE_CHECKING:
    from app.drift.report_types import DriftReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "The rows are scored in the order of the file, as requests would come. The order of a sorted file alone looks "
        "like drift: --shuffle removes it. The exit status is 0 whether there is drift or not."
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.csv", help="rows with the model's features, by name")
    add("--version", required=True, metavar="NAME", help="the version whose training data the rows are compared with")
    add("--window", type=_positive, metavar="N", help="score the last N rows (default: all)")
    add("--shuffle", type=int, metavar="SEED", help="put the rows into a random order first")
    add("--json", action="store_true", help="print the report as GET /drift does")


def run(args: argparse.Namespace) -> int:
    """Print the report. Raises `DataRefused`, `UnknownVersion`, `ArtefactRefused`, `SettingError`."""
    import msgspec

    from app.cli.drift_text import as_text

    report = _report(args)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        print(as_text(report))
    return 0


def _report(args: argparse.Namespace) -> DriftReport:
    import numpy as np

    from app.cli.drift_rows import contract_rows
    from app.drift.reference import DriftReference
    from app.drift.report import drift_report
    from app.drift.watch import start, update
    from app.settings import Settings
    from app.training.dataset import read_csv

    with registry_of(Settings.from_environ()) as registry:
        artefact = registry.verified(args.version)
        reference = DriftReference.from_json(artefact.read("reference.json"))
    rows = contract_rows(artefact.manifest.contract, read_csv(args.file))
    if args.shuffle is not None:
        rows = rows[np.random.default_rng(args.shuffle).permutation(len(rows))]
    return drift_report(args.version, reference, update(reference, start(reference, args.window or len(rows)), rows))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
