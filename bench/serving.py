"""Measure serving performance against other servers, in interleaved rounds.

    python bench/serving.py [--only LINE …] [--quick] [--json FILE]

The product runs with all features on: recording, metrics, the other versions in shadow. It is started by
`bakeoff serve` and `bakeoff monitor` only. The opponents answer the same rows with two workers, and record nothing:

    naive     Flask, scikit-learn (asked once a request), gunicorn
    fastapi   FastAPI, uvicorn with uvloop and httptools, the forest compiled to machine code
    mlserver  MLServer with the same compiled forest
    bentoml   BentoML with the same compiled forest
    limit     a server in C that parses nothing and always gives the same answer

Rates are medians over the rounds; ratios are medians of each round's ratio, as the speed of a shared machine varies.
The load comes from wrk, which shares the cores with the servers; the tables show how much of a core it needed, and how
much other work the machine did. Needs `wrk` and a C compiler. The first run installs the opponents from their pinned
requirements in bench/opponents (about 1.5 GB under ~/.cache, or XDG_CACHE_HOME); what cannot be installed is named, and
the rest goes on. Sends only to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from load import require_wrk
from servers import ROOT
from serving_lines import LINES, Lab, Plan, expected_s, laboratory

FULL, QUICK = Plan(), Plan(seconds=2, rounds=3, sustained_s=10)


def machine() -> str:
    """What the figures depend on: the commit, the processors and how busy they are now with other work."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    busy = psutil.cpu_percent(interval=1) / 100 * (os.cpu_count() or 1)
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    now, of = time.strftime("%Y-%m-%d %H:%M"), commit.stdout.strip() or "unknown"
    return f"{now}, commit {of}, {os.cpu_count()} cores; other work now: {busy:.1f} cores, load {load}"


def run(lab: Lab, names: list[str], at_most_s: float) -> None:
    """Measure and print line by line; none begins after `at_most_s`, and those left out are named."""
    began = time.monotonic()
    for name in names:
        if time.monotonic() - began > at_most_s:
            print(f"\n## {name}\n\nnot measured: the time that --at-most gives was over", flush=True)
            continue
        said = (LINES[name].__doc__ or "").splitlines()[0]
        print(f"\n## {name}\n\n{said}\n\n{LINES[name](lab)}", flush=True)
    for name, reason in lab.absent.items():
        print(f"\nNot measured: {name}: {reason}", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s; after: load {os.getloadavg()[0]:.1f}")


def _times() -> str:
    lines = [
        f"  {name:<12}{expected_s(name, FULL):>6.0f} s{expected_s(name, QUICK):>8.0f} s   {_about(name)}"
        for name in LINES
    ]
    both = [sum(expected_s(name, plan) for name in LINES) / 60 for plan in (FULL, QUICK)]
    return "\n".join(
        ["lines, and about how long each takes on an idle machine of two cores, in full and with --quick:", *lines,
         f"  {'all':<12}{both[0]:>4.0f} min{both[1]:>6.0f} min   and the installation of the opponents once"]
    )  # fmt: skip


def _about(name: str) -> str:
    return (LINES[name].__doc__ or "").splitlines()[0]


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_times(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(LINES), metavar="LINE", help="measure these lines only")
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that it works, not to quote")
    parser.add_argument(
        "--at-most", type=float, default=60, metavar="MINUTES", help="begin no line later (default: 60)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    require_wrk()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # also then the servers are ended
    print(machine(), flush=True)
    with ExitStack() as stack:
        lab = laboratory(QUICK if args.quick else FULL, stack)
        try:
            run(lab, args.only or list(LINES), 60 * args.at_most)
        finally:
            if args.json:
                args.json.write_text(json.dumps({"machine": machine(), "absent": lab.absent, **lab.figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
