"""Clients of bench/cluster.py: each names users, sends predictions and their labels, and keeps its connection.

A request that fails is counted, and sent again, as clients do.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter, defaultdict

import numpy as np

API = "10.96.0.50"
LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]
_USERS = 300
# Those that answered each user.
Versions = defaultdict[str, set[str]]


class Client(threading.Thread):
    """Sends a user's prediction and its label, again and again, over one connection."""

    def __init__(self, seed: int, pace_s: float, stop: threading.Event, versions: Versions) -> None:
        super().__init__(daemon=True)
        self._rng, self._pace_s, self._stop_it, self._versions = np.random.default_rng(seed), pace_s, stop, versions
        self._connection = http.client.HTTPConnection(API, 5000, timeout=15)
        self.answered = self.acknowledged = 0
        self.slowest_s = 0.0
        self.failures: Counter[str] = Counter()

    def run(self) -> None:
        """Until `stop` is set; a request that failed is sent again."""
        while not self._stop_it.is_set():
            user = f"u{self._rng.integers(_USERS)}"
            row = self._rng.uniform(LOW, HIGH).round(2).tolist()
            made = self._until_answered("/predict", {"features": row, "user_id": user})
            self._versions[user].add(made["model_version"])
            label = {"prediction_id": made["prediction_id"], "actual": int(self._rng.integers(3))}
            self._until_answered("/feedback", label)
            self.acknowledged += 1

    def _until_answered(self, path: str, body: dict) -> dict:
        while True:
            time.sleep(self._pace_s)
            started = time.monotonic()
            try:
                self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                answer = self._connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    self.answered += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                    return json.loads(text)
                wrong = f"{path} {answer.status} {text[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                wrong = f"{path} {type(error).__name__}"
            self.failures[wrong] += 1


class Load:
    """Clients that run while a block does, and what they saw."""

    def __init__(self, clients: int, pace: float, seed: int, versions: Versions) -> None:
        self._stop = threading.Event()
        self.clients = [Client(seed + each, clients / pace, self._stop, versions) for each in range(clients)]

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._stop.set()
        for client in self.clients:
            client.join(60)

    def total(self, name: str) -> int:
        """The sum of a count over the clients."""
        return sum(getattr(client, name) for client in self.clients)

    def failures(self) -> Counter[str]:
        """The requests that failed, by what was seen."""
        return sum((client.failures for client in self.clients), Counter())
