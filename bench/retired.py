"""Measure what retiring versions saves: 20 versions, 20 of which 18 are retired, and 2, in interleaved rounds.

    python bench/retired.py [--seconds 5] [--rounds 3]

Needs `wrk`. Ratios are computed per round. The processor time per request is given too: it depends less than a rate on
what else runs on the machine. Sends only to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from load import require_wrk, wrk
from servers import SERVE, bakeoff, free_port, places, processor_s, server

VERSIONS, KEPT, CONNECTIONS = 20, 2, 16
VARIANT = "deep_forest"


def installations(root: Path) -> dict[str, Path]:
    """The three installations by name."""
    folders = {name: root / name for name in ("2", "20", "20, 18 retired")}
    bakeoff(folders["2"], "train")
    shutil.copytree(folders["2"], folders["20"])
    for seed in range(VERSIONS - KEPT):
        bakeoff(folders["20"], "train", "--variant", VARIANT, "--seed", str(seed), "--min-accuracy", "0")
    shutil.copytree(folders["20"], folders["20, 18 retired"])
    bakeoff(folders["20, 18 retired"], "retire", *(f"v{number}" for number in range(KEPT + 1, VERSIONS + 1)))
    return folders


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    require_wrk()
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        running = {}
        for who, folder in installations(Path(name)).items():
            port = free_port()
            more = {"API_PORT": str(port), "WEB_CONCURRENCY": "2", **places(folder)}
            running[who] = (stack.enter_context(server(SERVE, port, **more))[0], port)
            wrk(port, CONNECTIONS, 1, seed=0)
        for number in range(args.rounds):
            for who, (process, port) in running.items():
                before = processor_s(process)
                figures = wrk(port, CONNECTIONS, args.seconds, seed=number + 1)
                rates.setdefault(who, []).append(figures["rate"])
                costs.setdefault(who, []).append(1e6 * (processor_s(process) - before) / figures["requests"])
    print("| versions | requests/s, median | ratio to 2, by round | processor time per request (µs), by round |")
    print("|---|---|---|---|")
    for who, values in rates.items():
        ratios = ", ".join(f"{value / other:.2f}" for value, other in zip(values, rates["2"], strict=True))
        spent = ", ".join(f"{cost:.0f}" for cost in costs[who])
        print(f"| {who} | {statistics.median(values):.0f} | {ratios} | {spent} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
