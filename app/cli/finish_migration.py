"""`bakeoff finish-migration`: rows of the log become compact, and the release before can no longer read them."""

from __future__ import annotations

import argparse
import contextlib

from app.errors import InvalidRequest
from app.settings import Settings
from app.store.engine import Database
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
    with contextlib.closing(Database(Settings.from_environ().store_url)) as database:
        rows = OldRows(database)
        left, finished = rows.count(), rows.is_finished()
        if finished and not left:
            print("The log is compact already: there is nothing to do.")
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
        print(f"{left:,} rows of an earlier release are left; a running monitor takes them over in the background.")
    return 0
