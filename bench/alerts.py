"""Measure the delay of alerts: from the cause to the notification, and from the repair to the resolved notification.

    python bench/alerts.py [--rounds 3] [--json FILE]

Starts the real components as processes, with the configuration of docker/ except for addresses: api, monitor,
Prometheus, Alertmanager and a webhook receiver. The simulator injects drift, which is then acknowledged; the api is
stopped and started. Needs Prometheus, and Alertmanager 0.26 or later (`.ci/images tools`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import environment, monitor_process
from servers import ROOT, free_port, server, train

sys.path.insert(0, str(ROOT))

import requests

from tests.e2e.watching import Receiver, alertmanager, prometheus

TARGET_S = 60.0
SERVE = [sys.executable, "-m", "app", "serve"]
TOKEN = "bench"


class Watched:
    """A monitored service; its api can be stopped and started again on the same port."""

    def __init__(self, env: dict[str, str], port: int, receiver: Receiver) -> None:
        self.env, self.port, self.receiver = env, port, receiver
        self._api = self._started()

    def _started(self) -> object:
        api = server(SERVE, self.port, **self.env)
        api.__enter__()
        return api

    def start(self) -> None:
        """Start the api; returns once it has answered a prediction."""
        self._api = self._started()

    def stop(self) -> None:
        """Send SIGTERM and wait for the exit."""
        self._api.__exit__(None, None, None)  # type: ignore[attr-defined]

    def simulate(self, *options: str) -> None:
        """Send real rows as traffic."""
        env = {**os.environ, **self.env, "API_URL": f"http://127.0.0.1:{self.port}"}
        command = [sys.executable, "-m", "app", "simulate", *options]
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)

    def acknowledge(self) -> None:
        """Acknowledge the drift, which ends the alarm."""
        url, headers = f"http://127.0.0.1:{self.port}/drift/acknowledge", {"Authorization": f"Bearer {TOKEN}"}
        requests.post(url, json={"note": "bench"}, headers=headers, timeout=30).raise_for_status()


@contextmanager
def watched() -> Iterator[Watched]:
    """All components, freshly started with trained models."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        train(folder)
        env = environment(folder, port, ADMIN_TOKEN=TOKEN)
        with Receiver() as receiver, alertmanager(folder, receiver.url) as notifier:
            service = Watched(env, port, receiver)
            try:
                notifier_port = int(notifier.url.rsplit(":", 1)[1])
                with monitor_process(env), prometheus(folder, port, alertmanager=notifier_port):
                    yield service
            finally:
                service.stop()


def measured(service: Watched, seed: int) -> dict[str, float]:
    """Seconds from each cause to its notification, in one round."""
    since, seconds = time.monotonic, {}
    arrives = service.receiver.wait_for
    # Enough requests to end an acknowledged alarm, so that the next change raises a new one: see docs/drift.md.
    service.simulate("--requests", "1500", "--seed", str(seed))
    at = since()
    service.simulate("--requests", "400", "--seed", str(seed + 1), "--drift", "petal_length:+1sd")
    seconds["drift_fires_s"] = arrives("firing", "DriftAlarm", at)
    at = since()
    service.acknowledge()
    seconds["drift_resolves_s"] = arrives("resolved", "DriftAlarm", at)
    at = since()
    service.stop()
    seconds["api_down_fires_s"] = arrives("firing", "ApiDown", at)
    at = since()
    service.start()
    seconds["api_down_resolves_s"] = arrives("resolved", "ApiDown", at)
    return {what: round(value, 1) for what, value in seconds.items()}


def main() -> int:
    """Measure, print and return the exit status: 0 if every notification met the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    chosen = parser.parse_args()
    rounds = []
    with watched() as service:
        for number in range(chosen.rounds):
            rounds.append(measured(service, 1000 + 2 * number))
            print(rounds[-1], flush=True)
    worst = {what: max(each[what] for each in rounds) for what in rounds[0]}
    print("worst:", worst, f"(target: {TARGET_S:g} s each)")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rounds": rounds, "worst": worst, "target_s": TARGET_S}, indent=2) + "\n")
    return 0 if max(worst.values()) <= TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
