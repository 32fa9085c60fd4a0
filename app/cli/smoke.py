"""`bakeoff smoke`: test that a running api gives the known answers and refuses bad requests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.domain.known_answers import KnownAnswers
    from app.settings import Settings
    from app.simulation.smoke import SmokeCheck


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("url", nargs="?", metavar="URL", help="the api's address (API_URL)")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--answers", type=Path, metavar="FILE", help="a file of known answers, where the registry is not at hand"
    )
    known.add_argument(
        "--print-answers", action="store_true", help="print the registry's known answers and send nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line for each check, and one for each complaint; 1 where there is any.

    The known answers come from the registry's scikit-learn originals or from a file: never from the server under test.
    """
    import msgspec

    from app.settings import Settings
    from app.simulation.smoke import Smoke

    settings = Settings.from_environ()
    known = _from_file(args.answers) if args.answers else _from_registry(settings)
    if args.print_answers:
        print(msgspec.json.format(msgspec.json.encode(known), indent=1).decode())
        return 0
    smoke = Smoke(args.url or settings.api_url, settings.api_token, known)
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
    """Of every version that the registry does not refuse. Raises `NotReady` where there is none to test."""
    from app.errors import ArtefactRefused, NotReady
    from app.inference.loader import known_answers
    from app.inference.registry import ModelRegistry
    from app.store.keys import FILE_NAME, load_or_create

    if not (settings.data_dir / "keys" / FILE_NAME).exists():  # a test makes no keys
        raise NotReady(f"there is no key in {settings.data_dir}, so no known answer: name a file by --answers")
    registry = ModelRegistry(settings.model_dir, load_or_create(settings.data_dir).registry)
    known = []
    for name in registry.names():
        try:
            known.append(known_answers(registry, name))
        except ArtefactRefused as error:  # nobody may serve it: the server must do without, too
            print(f"warning: {name} is left out: {error.message}", file=sys.stderr)
    if not known:
        raise NotReady(f"there is no version in {settings.model_dir}: name a file of known answers by --answers")
    return known


def _from_file(path: Path) -> Sequence[KnownAnswers]:
    import msgspec

    from app.domain.known_answers import KnownAnswers
    from app.errors import DataRefused

    try:
        known = msgspec.json.decode(path.read_bytes(), type=list[KnownAnswers])
    except (OSError, msgspec.DecodeError) as error:
        raise DataRefused(f"{path} holds no known answers: {error}") from error
    if not any(version.answers for version in known):
        raise DataRefused(f"{path} holds no known answers")
    return known
