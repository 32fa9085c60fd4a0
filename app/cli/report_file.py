"""`bakeoff report --html FILE`: the report as one file, in the words of the dashboard, whose module makes it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli.access import ask
from app.errors import InvalidRequest
from app.ui.sent_report import html_of, paths_of, sources_of


def write_report(args: argparse.Namespace, report: Mapping[str, Any], url: str, token: str | None) -> int:
    """Write the report on the experiment of `report`, with what else the API at `url` knows of it, to `args.html`.

    Raises `Unavailable`, `ApiRefused`, and `InvalidRequest` for a file that cannot be written.
    """
    if args.by is not None or args.json:
        raise InvalidRequest("--html is the whole report: give it without --by and --json", field="--html")
    paths = paths_of(report["id"], running=report["ended"] is None)
    more = {name: ask(url, path, token) for name, path in paths.items()}
    document = html_of(sources_of({"report": report, **more}), time.time())
    try:
        Path(args.html).write_text(document, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"cannot write {args.html}: {error.strerror}", field="--html") from error
    print(f"Wrote the report on experiment {report['id']} to {args.html}")
    return 0
