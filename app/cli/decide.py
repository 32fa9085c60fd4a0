"""`bakeoff decide`: promote a version, roll back, or keep the baseline, over the running api."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from typing import Any

from app.cli.asking import ask
from app.domain.decision import MONITOR
from app.errors import InvalidRequest
from app.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("action", choices=("promote", "rollback", "keep"), help="the decision")
    parser.add_argument("version", nargs="?", help="the version to promote")
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the audit log")
    parser.add_argument("--actor", metavar="NAME", help="who decides (default: your user name)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print the api's answer as JSON")
    parser.add_argument("--url", metavar="URL", help="where the api is (default: API_URL)")


def run(args: argparse.Namespace) -> int:
    """Decide, and print the configuration in force now; 1 where the person says no."""
    settings = Settings.from_environ()
    url = args.url or settings.api_url
    if args.action == "promote" and args.version is None:
        raise InvalidRequest("name the version to promote: bakeoff decide promote v2", field="version")
    if not args.yes and not _agreed(args, url, settings):
        return 1
    body = {"action": args.action, "version": args.version, "note": args.note or None}
    headers = {"X-Actor": (args.actor or _user()).encode()}
    answer = ask(url, "/experiment/decision", settings.admin_token, body, headers)
    print(json.dumps(answer, indent=2, ensure_ascii=False) if args.json else _text(answer))
    return 0


def _agreed(args: argparse.Namespace, url: str, settings: Settings) -> bool:
    """Whether the person goes on after having seen what the experiment says."""
    if not sys.stdin.isatty():
        raise InvalidRequest("standard input is no terminal, so nobody can confirm: add --yes", field="yes")
    report = ask(url, "/experiment", settings.api_token or settings.admin_token)
    advice = report["recommendation"]
    print(f"the experiment says: {advice['action']} {advice['version'] or ''}: {advice['reason']}", file=sys.stderr)
    print(f"{args.action} {args.version or ''}: go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an unknown uid in a container
        return "admin"
    return name if name.isprintable() and 0 < len(name) <= 64 and name != MONITOR else "admin"


def _text(answer: dict[str, Any]) -> str:
    decision, config = answer["decision"], answer["config"]
    weights = ", ".join(f"{version} {100 * weight:.4g} %" for version, weight in config["weights"].items())
    lines = [
        f"{decision['action']}: {decision['version']} is champion (audit entry {decision['seq']})",
        f"in force: {weights}; experiment {config['experiment_id']} has begun",
    ]
    if decision["checked"] is not None:
        checked = decision["checked"]
        lines.append(
            f"{decision['version']} answers" if checked["answers"] else f"its health probe FAILS: {checked['detail']}"
        )
    return "\n".join(lines)
