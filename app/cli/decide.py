"""`bakeoff decide`: promote a version, roll back, or keep the baseline, through the running API."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping
from typing import Any

from app.cli.access import ask
from app.domain.decision import MONITOR
from app.errors import InvalidRequest
from app.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", choices=("promote", "rollback", "keep"), help="the decision")
    parser.add_argument("version", nargs="?", help="the version to promote")
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the audit log")
    parser.add_argument("--actor", metavar="NAME", help="who decides (default: your user name)")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--json", action="store_true", help="print the API's answer as JSON")
    parser.add_argument("--url", metavar="URL", help="the API's address (default: API_URL)")


def run(args: argparse.Namespace) -> int:
    """Decide, and print the configuration in force then; exit status 1 if the user does not confirm.

    Raises `InvalidRequest`, `Unavailable`, `ApiRefused` and `SettingError`.
    """
    settings = Settings.from_environ()
    url = args.url or settings.api_url
    if args.action == "promote" and args.version is None:
        raise InvalidRequest("name the version to promote: bakeoff decide promote v2", field="version")
    if not args.yes and not _confirmed(args, url, settings):
        print("Not confirmed: nothing was changed.", file=sys.stderr)
        return 1
    body = {"action": args.action, "version": args.version, "note": args.note or None}
    # As bytes: requests sends text as Latin-1, and names need not fit in that.
    headers = {"X-Actor": (args.actor or user_name()).encode()}
    answer = ask(url, "/experiment/decision", settings.admin_token, body, headers)
    print(json.dumps(answer, indent=2, ensure_ascii=False) if args.json else _text(answer))
    return 0


def _confirmed(args: argparse.Namespace, url: str, settings: Settings) -> bool:
    """Whether the user, who is shown the report's recommendation first, confirms the decision."""
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "standard input is not a terminal, so nobody can confirm the decision: add --yes to decide without",
            field="yes",
        )
    report = ask(url, "/experiment", settings.tokens.to_send("read", admin=True))
    advice = report["recommendation"]
    # On standard error, so that `--json` leaves nothing but JSON on standard output.
    print(f"The report recommends: {_named(advice)}: {advice['reason']}", file=sys.stderr)
    print(f"Decide {_named(vars(args))}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _named(decision: Mapping[str, Any]) -> str:
    return " ".join(part for part in (decision["action"], decision["version"]) if part)


def user_name() -> str:
    """The name of who runs the command, as the audit log takes it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an unknown uid in a container
        return "admin"
    # The API refuses a name that is too long, unprintable, or the monitor's own.
    return name if name.isprintable() and 0 < len(name) <= 64 and name != MONITOR else "admin"


def _text(answer: dict[str, Any]) -> str:
    decision, config = answer["decision"], answer["config"]
    weights = ", ".join(f"{version} {100 * weight:.4g} %" for version, weight in config["weights"].items())
    lines = [
        f"{decision['action']}: {decision['version']} is champion (audit entry {decision['seq']})",
        f"in force: {weights}; experiment {config['experiment_id']} has begun",
    ]
    checked = decision["checked"]
    if checked is not None:
        outcome = "answers" if checked["answers"] else f"FAILS its health probe: {checked['detail']}"
        lines.append(f"{decision['version']} {outcome}")
    return "\n".join(lines)
