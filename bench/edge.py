"""Measure what one address can do to the others' requests: idle connections and half-sent bodies at the edge proxy.

    python bench/edge.py [--seconds 20] [--rounds 3]

Needs `haproxy` and `wrk` (Debian's packages), and puts docker/haproxy.cfg before an api of two workers. 127.0.0.2 holds
2,050 connections on which it sends nothing, and then 1,500 on which a request's body does not arrive in full; whatever
is closed, it opens again half a second later. Meanwhile 127.0.0.1 sends a few hundred requests/s. The figures are
medians over the rounds; before each attack the same is measured without it. At full length it takes five minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load import paced, require_wrk
from servers import ROOT, SERVE, bakeoff, family, free_port, places, server

ATTACKER, RATE = "127.0.0.2", 300.0
HALF = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
ATTACKS = {"2,050 idle connections": (2050, b""), "1,500 half-sent bodies": (1500, HALF)}


def attack(port: int, count: int, sent: bytes, held: multiprocessing.sharedctypes.Synchronized) -> None:
    """Hold `count` connections until this process is ended; `held` is how many are open."""
    waiting = selectors.DefaultSelector()
    while True:
        for _ in range(count - len(waiting.get_map())):
            connection = socket.socket()
            connection.bind((ATTACKER, 0))
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(sent)
            except OSError:
                connection.close()
                break
            waiting.register(connection, selectors.EVENT_READ)
        time.sleep(0.5)
        for key, _ in waiting.select(0):
            # Answered with an error, or closed: either way its end.
            waiting.unregister(key.fileobj)
            key.fileobj.close()
        held.value = len(waiting.get_map())


@contextmanager
def attacked(port: int, count: int, sent: bytes) -> Iterator[multiprocessing.sharedctypes.Synchronized]:
    """The attack, while the block runs; yields how many connections it holds."""
    held = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=attack, args=(port, count, sent, held), daemon=True)
    process.start()
    try:
        yield held
    finally:
        process.kill()
        process.join()


@contextmanager
def edge(upstream_port: int) -> Iterator[int]:
    """HAProxy with the configuration of the stack; its port."""
    port = free_port()
    text = (ROOT / "docker/haproxy.cfg").read_text()
    for ours, here in {
        "bind :5080": f"bind 127.0.0.1:{port}",
        "bind :5000": f"bind 127.0.0.1:{free_port()}",
        "bind :8404": f"bind 127.0.0.1:{free_port()}",
        # The same checks and retries, but a name that needs no DNS of Compose.
        " resolvers docker init-addr none": "",
        "server-template api 8 api:5000": f"server api1 127.0.0.1:{upstream_port}",
    }.items():
        if ours not in text:
            raise SystemExit(f"docker/haproxy.cfg has no {ours!r} any more: change bench/edge.py with it")
        text = text.replace(ours, here)
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(text)
        file.flush()
        process = subprocess.Popen(["haproxy", "-db", "-f", file.name], stdout=subprocess.DEVNULL)
        try:
            time.sleep(3)  # until it has checked the api
            yield port
        finally:
            process.terminate()
            process.wait(10)


def seen(port: int, seconds: float, seed: int) -> dict[str, float]:
    """What others see for so long."""
    with paced(port, RATE, seed) as figures:
        time.sleep(seconds)
    return figures


def measured(port: int, seconds: float, rounds: int) -> None:
    """Print a row for each attack."""
    print("| | held | requests | failures | p50 ms | p99 ms | p99 ÷ without it |\n|---|---|---|---|---|---|---|")
    for name, (count, sent) in ATTACKS.items():
        found, ratios, most = [], [], 0
        for number in range(rounds):
            alone = seen(port, seconds, number)
            with attacked(port, count, sent) as held:
                time.sleep(2)
                found.append(seen(port, seconds, number))
                most = max(most, held.value)
            ratios.append(found[-1]["p99_ms"] / alone["p99_ms"])
            time.sleep(2)
        requests, failures = (sum(each[key] for each in found) for key in ("requests", "errors"))
        p50, p99 = (statistics.median(each[key] for each in found) for key in ("p50_ms", "p99_ms"))
        row = f"{requests:,.0f} | {failures:,.0f} | {p50:.1f} | {p99:.1f} | {statistics.median(ratios):.2f}"
        print(f"| {name} | {most:,} | {row} |", flush=True)


def main() -> int:
    """Measure, and print; the status is 1 where a worker of the api ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    require_wrk()
    if not shutil.which("haproxy"):
        raise SystemExit("haproxy is not installed (Debian: apt-get install haproxy)")
    with tempfile.TemporaryDirectory() as name:
        port, folder = free_port(), Path(name)
        bakeoff(folder, "train")
        env = {**places(folder), "API_PORT": str(port), "WEB_CONCURRENCY": "2"}
        with server(SERVE, port, **env) as (process, _), edge(port) as public:
            before = {each.pid for each in family(process)}
            measured(public, args.seconds, args.rounds)
            ended = before - {each.pid for each in family(process)}
    print(f"workers that ended: {len(ended)}")
    return 1 if ended else 0


if __name__ == "__main__":
    sys.exit(main())
