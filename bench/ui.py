"""Measure the dashboard's time per interaction, and whether its memory grows while pages refresh.

    python bench/ui.py [--interactions 40] [--refreshes 1000] [--requests 20000]

Runs a real `bakeoff ui` with a real api and monitor, and acts like a browser: one websocket session per page, in which
the script is rerun. An interaction reruns the whole page; a refresh reruns only its live fragment (the whole page if it
has none). Times are from sending the message to the last element, including transport on this host. Memory is the
resident set of the dashboard's process, after the first 100 refreshes and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import requests
from running import Service, environment, service, wait_for
from servers import ROOT, free_port
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

PAGES = ("", "batch", "labels", "experiment", "drift", "health")
TARGET_MS, TARGET_MIB, WARM_UP = 150, 20, 100


class Session:
    """One open page. `live` is the id of its self-refreshing fragment; empty if it has none."""

    def __init__(self, page: str, socket: ClientConnection) -> None:
        self.page = page
        self.live = ""
        self._socket = socket

    async def run(self, *, live: bool = False) -> float:
        """Rerun the script; returns the seconds it took. Raises `SystemExit` if the page raised an exception."""
        asked = BackMsg()
        asked.rerun_script.page_name = self.page
        if live:
            asked.rerun_script.fragment_id = self.live
        started = time.perf_counter()
        await self._socket.send(asked.SerializeToString())
        await self._finished()
        return time.perf_counter() - started

    async def _finished(self) -> None:
        while True:
            message = ForwardMsg.FromString(await self._socket.recv(decode=False))
            kind = message.WhichOneof("type")
            if kind == "auto_rerun":
                self.live = message.auto_rerun.fragment_id
            if kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise SystemExit(f"page {self.page!r}: {message.delta.new_element.exception.message}")
            if kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return


async def opened(url: str, page: str) -> Session:
    """A session in which the page has been rendered once."""
    address = url.replace("http", "ws") + "/_stcore/stream"
    session = Session(page, await connect(address, max_size=None, subprotocols=[Subprotocol("streamlit")]))
    await session.run()
    return session


async def interactions_ms(session: Session, process: psutil.Process, count: int) -> tuple[np.ndarray, float]:
    """The duration of each interaction, and the mean CPU time of one, in ms."""
    used = sum(process.cpu_times()[:2])
    found = 1000 * np.array([await session.run() for _ in range(count)])
    return found, 1000 * (sum(process.cpu_times()[:2]) - used) / count


async def refreshed(sessions: list[Session], count: int) -> None:
    """Refresh each page `count` times, in turn."""
    for _ in range(count):
        for session in sessions:
            await session.run(live=bool(session.live))


async def measured(url: str, process: psutil.Process, interactions: int, refreshes: int) -> bool:
    """Measure and print; returns whether both targets are met."""
    sessions = [await opened(url, page) for page in PAGES]
    print("| page | interaction, ms: median | 95th percentile | target | CPU time, ms |\n|---|---|---|---|---|")
    met = True
    for session in sessions:
        found, used = await interactions_ms(session, process, interactions)
        p95 = float(np.quantile(found, 0.95))
        met = met and p95 <= TARGET_MS
        print(f"| {session.page or 'playground'} | {np.median(found):.0f} | {p95:.0f} | ≤ {TARGET_MS} | {used:.0f} |")
    await refreshed(sessions, WARM_UP // len(sessions))
    before = process.memory_info().rss
    await refreshed(sessions, refreshes // len(sessions))
    grown = (process.memory_info().rss - before) / 2**20
    print(f"\nMemory over {refreshes:,} refreshes: {grown:+.1f} MiB of {before / 2**20:.0f} (< {TARGET_MIB})")
    return met and grown < TARGET_MIB


@contextmanager
def dashboard(running: Service) -> Iterator[tuple[str, psutil.Process]]:
    """The URL and the process of a dashboard for the service."""
    port = free_port()
    env = environment(running.folder, running.port, UI_PORT=str(port), API_URL=running.url)
    process = psutil.Popen([sys.executable, "-m", "app", "ui"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{url}/_stcore/health"), 60, "the dashboard's start")
        yield url, process
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    """Whether the URL answers with a 2xx status."""
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def filled(running: Service, requests_: int) -> None:
    """Send labelled traffic, so that the pages have data to show, and wait until the monitor has processed it."""
    chance = np.random.default_rng(1)
    for _ in range(requests_ // 1000):
        rows = chance.normal([5.8, 3.0, 3.7, 1.2], [0.8, 0.4, 1.7, 0.7], (1000, 4)).round(2).tolist()
        made = running.post("/predict/batch", {"instances": rows})["predictions"]
        labels = [{"prediction_id": one["prediction_id"], "actual": int(chance.integers(3))} for one in made[:200]]
        running.post("/feedback", {"feedback": labels})
    total = requests_ // 1000 * 1000
    wait_for(lambda: running.get("/drift")["requests"] >= total, 120, "processing by the monitor")


def main() -> int:
    """Measure and print; exit status 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, default=40, help="interactions per page")
    parser.add_argument("--refreshes", type=int, default=1000, help="refreshes of all pages together")
    parser.add_argument("--requests", type=int, default=20_000)
    args = parser.parse_args()
    with service(monitor=True) as running:
        filled(running, args.requests)
        with dashboard(running) as (url, process):
            met = asyncio.run(measured(url, process, args.interactions, args.refreshes))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
