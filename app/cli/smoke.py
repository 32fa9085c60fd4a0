"""`bakeoff smoke`: test that a running API gives the known answers and rejects bad requests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.cli.access import registry_of, signed_versions
from app.domain.known_answers import KnownAnswers
from app.errors import ArtefactRefused, DataRefused, NotReady
from app.inference.loader import known_answers
from app.inference.retirement import served_names
from app.settings import Settings
from app.simulation.smoke import Smoke, SmokeCheck


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("url", nargs="?", metavar="URL", help="the API's address (default: API_URL)")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--answers", type=Path, metavar="FILE", help="a file of known answers, without the model registry at hand"
    )
    known.add_argument(
        "--print-answers", action="store_true", help="print the registry's known answers and send nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line for each check and for each failure; exit status 1 if there is a failure.

    Raises `NotReady` and `DataRefused` if there are no known answers to compare with, and `SettingError`.
    """
    settings = Settings.from_environ()
    # Never from the API under test: what it answers wrongly it would also call right.
    known = _from_file(args.answers) if args.answers else _from_registry(settings)
    if args.print_answers:
        print(msgspec.json.format(msgspec.json.encode(known), indent=1).decode())
        return 0
    smoke = Smoke(args.url or settings.api_url, settings.tokens, known)
    checks = []
    for check in smoke.run():
        checks.append(check)
        if not args.json:
            _print(check)
    passed = not any(check.complaints for check in checks)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode({"passed": passed, "checks": checks}), indent=2).decode())
    return 0 if passed else 1


def _print(check: SmokeCheck) -> None:
    print(f"{'FAIL' if check.complaints else 'ok  '}  {check.name}", flush=True)
    for complaint in check.complaints:
        print(f"        {complaint}", flush=True)


def _from_registry(settings: Settings) -> Sequence[KnownAnswers]:
    """The answers of the original scikit-learn model, for every version that is neither refused nor retired.

    Raises `NotReady` if there is no such version.
    """
    # Checked first, because `registry_of` would make a key: then every version would be refused, and for no fault of
    # its own.
    if not settings.key_file.exists():
        raise NotReady(
            f"there is no deployment key at {settings.key_file}, so no version can be verified: set DATA_DIR, or "
            "DEPLOYMENT_KEY_FILE, to the API's, or pass a file of known answers by --answers"
        )
    known, refused = [], []
    with registry_of(settings) as registry:
        names = served_names(registry)
        for name in names:
            try:
                known.append(known_answers(registry, name))
            except ArtefactRefused as error:  # the API refuses it, too, so there is nothing of it to test
                refused.append(f"warning: {name} is left out: {error.message}")
        signed = known or signed_versions(registry)  # each reading of a manifest verifies it
    for warning in refused:
        print(warning, file=sys.stderr)
    if not known:
        found = "every version is refused" if names else "there is no version"
        do = "pass a file of known answers by --answers"
        if names and not signed:
            do = f"is {settings.key_file} the deployment's key? {settings.key_setting} names it; or {do}"
        raise NotReady(f"{found} in {settings.registry}: {do}")
    return known


def _from_file(path: Path) -> Sequence[KnownAnswers]:
    wanted = "write one by `bakeoff smoke --print-answers` next to the model registry"
    try:
        known = msgspec.json.decode(path.read_bytes(), type=list[KnownAnswers])
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise DataRefused(f"{path} is not a file of known answers ({error}): {wanted}") from error
    # A check of no answers would pass.
    if not any(version.answers for version in known):
        raise DataRefused(f"{path} has no known answers: {wanted}")
    return known
