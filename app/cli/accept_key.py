"""`bakeoff accept-key`: the key of this host becomes the deployment's, where the one before is lost for good."""

from __future__ import annotations

import argparse

from app.cli.archive import existing_log
from app.errors import InvalidRequest
from app.settings import Settings
from app.store.deployment import WHAT_IS_LOST, DeploymentKey
from app.store.engine import Database
from app.store.keys import load_or_create


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = f"With another key {WHAT_IS_LOST}. Restore the key from a backup if there is one."
    parser.add_argument("--yes", action="store_true", help="do it; without this option only say what would be lost")


def run(args: argparse.Namespace) -> int:
    """Accept this host's key. Raises `StoreUnavailable`, `SettingError`, and `InvalidRequest` without `--yes`."""
    settings = Settings.from_environ()
    with existing_log(settings) as database:
        own = load_or_create(settings.data_dir, settings.deployment_key_file).fingerprint
        key = DeploymentKey(database, own)
        if key.known() == own:
            print("The store has the key of this host already: there is nothing to do.")
            return 0
        if not args.yes:
            raise InvalidRequest(
                f"nothing was changed. With this key {WHAT_IS_LOST}.{_hosts(database)} Add --yes to accept that"
            )
        key.accept()
    print(
        "The key of this host is the deployment's from now on; give it to all other hosts. Publish the versions again, "
        'start API and monitor, send the traffic to the new versions (PATCH /config {"weights": {"VERSION": 1}}), and '
        "promote one of them (bakeoff decide promote VERSION), which begins another experiment: users count as new."
    )
    return 0


def _hosts(database: Database) -> str:
    """A sentence on the hosts that use the store now; empty where there are none, or it is a file. Raises
    `StoreUnavailable`."""
    server = database.kind.server
    hosts = [] if server is None else server.live_hosts()
    if not hosts:
        return ""
    return (
        f" APIs on {', '.join(hosts)} (for a container its id) use the database now: those with another key than this "
        "one are not ready a few seconds later, and record nothing."
    )
