"""`bakeoff report`: what `GET /experiment` says, and `GET /config` of a ramp, for a terminal."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from app.cli.asking import ask
from app.cli.report_text import lines_of
from app.settings import Settings

_NARROWEST, _WIDEST = 40, 120
_POLL_S = 1.5  # longer than the monitor's tick and the api's cached snapshot together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the api's answer as JSON")
    parser.add_argument("--url", metavar="URL", help="where the api is (default: API_URL)")
    parser.add_argument("--id", metavar="ID", help="a finished experiment's id (default: the running one)")
    parser.add_argument("--ascii", action="store_true", help="draw with plain characters")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="first let the monitor catch up, for this long"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    settings = Settings.from_environ()
    path = f"/experiments/{args.id}" if args.id else "/experiment"
    url, token = args.url or settings.api_url, settings.api_token or settings.admin_token
    report = caught_up(lambda: ask(url, path, token), args.wait)
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return 0
    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    plain = args.ascii or not _can_show("─●│−–", sys.stdout.encoding)
    config = None if args.id else ask(url, "/config", token)
    text = "\n".join(lines_of(report, width, config, plain=plain))
    print(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))
    return 0


def caught_up(
    fetch: Callable[[], dict[str, Any]],
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The report once the monitor has computed one and its counts have stopped growing; after `wait_s`, as it is."""
    deadline = clock() + wait_s
    report, before = fetch(), None
    while clock() < deadline and (report.get("computed_at") is None or _counted(report) != before):
        before = _counted(report)
        sleep(_POLL_S)
        report = fetch()
    return report


def _counted(report: dict[str, Any]) -> int:
    return sum(variant["requests"] + variant["labelled"] for variant in report["variants"])


def _can_show(characters: str, encoding: str | None) -> bool:
    try:
        characters.encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
