"""Measure the dashboard's time per interaction, how often idle pages ask the api, and whether its memory grows.

    python bench/ui.py [--interactions 40] [--refreshes 1000] [--requests 20000 | --wide]

Runs a real `bakeoff ui` with a real api and monitor (`--wide`: with canned answers on 12 versions, 60 features and 40
classes), and acts like a browser: one websocket session per page, in which
the script is rerun. An interaction reruns the whole page; a refresh reruns its live fragments (the whole page without
any). An idle page refreshes when a browser would; its calls are counted by a proxy in front of the api. Times are from
sending the message to the last element, including transport on this host. Memory is the resident set of the
dashboard's process, after the first 100 refreshes and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import psutil
import requests
from running import Service, service, wait_for
from servers import ROOT, free_port
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

sys.path.insert(0, str(ROOT))

from tests.ui import wide
from tests.ui.fake_api import FakeApi

PAGES = ("", "playground", "batch", "labels", "drift", "health")
TARGET_MS, TARGET_MIB, WARM_UP = 150, 20, 100
# An idle page makes one call in this time at most; it is watched for so many refreshes.
CALL_S, IDLE_REFRESHES = 5.0, 6


class Session:
    """One open page. `live` has the ids of its self-refreshing fragments, with their period in seconds."""

    def __init__(self, page: str, socket: ClientConnection) -> None:
        self.page = page
        self.live: dict[str, float] = {}
        self._socket = socket

    async def refresh(self) -> None:
        """Rerun its fragments; the whole page if it has none."""
        for fragment in list(self.live) or [""]:
            await self.run(fragment)

    async def run(self, fragment: str = "") -> float:
        """Rerun the script; returns the seconds it took. Raises `SystemExit` if the page raised an exception."""
        asked = BackMsg()
        asked.rerun_script.page_name = self.page
        asked.rerun_script.fragment_id = fragment
        started = time.perf_counter()
        await self._socket.send(asked.SerializeToString())
        await self._finished()
        return time.perf_counter() - started

    async def _finished(self) -> None:
        while True:
            message = ForwardMsg.FromString(await self._socket.recv(decode=False))
            kind = message.WhichOneof("type")
            if kind == "auto_rerun":
                self.live[message.auto_rerun.fragment_id] = message.auto_rerun.interval
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
            await session.refresh()


async def idle_calls(url: str, calls: list[str]) -> bool:
    """Let live pages refresh as in an idle browser, and print how often they asked; returns whether seldom enough."""
    print("\n| idle page | seconds | calls | target |\n|---|---|---|---|")
    met = True
    for page in PAGES:
        session = await opened(url, page)
        if not session.live:
            continue
        calls.clear()
        started = time.perf_counter()
        for _ in range(IDLE_REFRESHES):
            await asyncio.sleep(max(session.live.values()))
            await session.refresh()
        elapsed = time.perf_counter() - started
        most = math.ceil(elapsed / CALL_S)
        met = met and len(calls) <= most
        print(f"| {page or 'experiment'} | {elapsed:.0f} | {len(calls)} | ≤ {most} |")
    return met


async def measured(url: str, process: psutil.Process, interactions: int, refreshes: int) -> bool:
    """Measure and print; returns whether both targets are met."""
    sessions = [await opened(url, page) for page in PAGES]
    print("| page | interaction, ms: median | 95th percentile | target | CPU time, ms |\n|---|---|---|---|---|")
    met = True
    for session in sessions:
        found, used = await interactions_ms(session, process, interactions)
        p95 = float(np.quantile(found, 0.95))
        met = met and p95 <= TARGET_MS
        print(f"| {session.page or 'experiment'} | {np.median(found):.0f} | {p95:.0f} | ≤ {TARGET_MS} | {used:.0f} |")
    await refreshed(sessions, WARM_UP // len(sessions))
    before = process.memory_info().rss
    await refreshed(sessions, refreshes // len(sessions))
    grown = (process.memory_info().rss - before) / 2**20
    print(f"\nMemory over {refreshes:,} refreshes: {grown:+.1f} MiB of {before / 2**20:.0f} (< {TARGET_MIB})")
    return met and grown < TARGET_MIB


@contextmanager
def counting(api_url: str) -> Iterator[tuple[str, list[str]]]:
    """The URL of a proxy for GET in front of the api, and the paths that were asked for."""
    calls: list[str] = []

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            answer = requests.get(f"{api_url}{self.path}", headers=dict(self.headers), timeout=60)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()


@contextmanager
def filled_service(requests_: int) -> Iterator[str]:
    """The URL of a real api with a monitor and labelled traffic."""
    with service(monitor=True) as running:
        filled(running, requests_)
        yield running.url


@contextmanager
def wide_answers() -> Iterator[str]:
    """The URL of an api that has canned answers on much of everything."""
    api = FakeApi(wide.WIDE)
    try:
        yield api.url
    finally:
        api.stop()


@contextmanager
def dashboard(api_url: str) -> Iterator[tuple[str, psutil.Process]]:
    """The URL and the process of a dashboard for the api."""
    port = free_port()
    env = {"UI_PORT": str(port), "API_URL": api_url}
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
    parser.add_argument("--wide", action="store_true", help="canned answers on many versions, features and classes")
    args = parser.parse_args()
    with wide_answers() if args.wide else filled_service(args.requests) as answered_by:
        with dashboard(answered_by) as (url, process):
            met = asyncio.run(measured(url, process, args.interactions, args.refreshes))
        with counting(answered_by) as (api_url, calls), dashboard(api_url) as (url, _):
            seldom = asyncio.run(idle_calls(url, calls))
    return 0 if met and seldom else 1


if __name__ == "__main__":
    sys.exit(main())
