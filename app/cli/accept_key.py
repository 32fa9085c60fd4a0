"""`bakeoff accept-key`: the key of this host becomes the deployment's, where the one before is lost for good."""

from __future__ import annotations

import argparse

from app.cli.archive import existing_log
from app.errors import InvalidRequest
from app.settings import Settings
from app.store.deployment import WHAT_IS_LOST, DeploymentKey
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
            raise InvalidRequest(f"nothing was changed. With this key {WHAT_IS_LOST}. Add --yes to accept that")
        key.accept()
    print(
        "The key of this host is the deployment's from now on; give it to all other hosts. Publish the versions again, "
        'start API and monitor, and begin another experiment (PATCH /config {"new_experiment": true}): users count as '
        "new ones."
    )
    return 0
