"""`bakeoff finish-migration`: rows of the log become compact, and the release before can no longer read them."""

from __future__ import annotations

import argparse

from app.cli.archive import existing_log
from app.errors import InvalidRequest
from app.settings import Settings
from app.store.rewriting import OldRows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "A store that an earlier release began keeps the form of that release, so that you can go back to it. This "
        "command ends that: from the next request on rows are written in the compact form, and the monitor takes the "
        "old ones over while it goes on. The service may run meanwhile, on this release only."
    )
    parser.add_argument("--yes", action="store_true", help="do it; without this option only say what would be done")


def run(args: argparse.Namespace) -> int:
    """Turn to the compact form, once. Raises `StoreUnavailable`, and `InvalidRequest` without `--yes`."""
    with existing_log(Settings.from_environ()) as database:
        rows = OldRows(database)
        left, finished = rows.count(), rows.is_finished()
        if finished:
            print(f"The log is compact already: there is nothing to do. {_left(left)}".strip())
            return 0
        if not finished and not args.yes:
            raise InvalidRequest(
                f"nothing was changed. {left:,} rows of an earlier release are in the log. Once this is done, that "
                "release can read neither them nor new ones: make a backup first, see that every process runs this "
                "release, and add --yes"
            )
        rows.finish()
    print("New rows are written in the compact form.")
    if left:
        print(_left(left))
    return 0


def _left(rows: int) -> str:
    if not rows:
        return ""
    return (
        f"{rows:,} rows are in the form of an earlier release; a running monitor takes them over in the background. "
        "Those that the compact form cannot hold stay."
    )
