"""Interleaved rounds of load on several servers: medians, and medians of the ratios of each round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import psutil
from contenders import Running
from load import wrk
from servers import processor_s

MEASURED = ("rate", "p50_ms", "p99_ms", "errors", "cpu_us", "client", "others")


def one_round(server: Running, connections: int, seconds: float, seed: int) -> dict[str, float]:
    """wrk's figures, `cpu_us` (the server's processor time a request) and `others`: the cores that neither the server
    nor wrk used, but something else on the machine did."""
    server_s, machine_s = processor_s(server.process), _busy_s()
    figures = wrk(server.port, connections, seconds, seed, server.traffic)
    spent = processor_s(server.process) - server_s
    others = _busy_s() - machine_s - spent - figures["client"] * figures["seconds"]
    cpu_us = 1e6 * spent / max(1, figures["requests"])
    return {**figures, "cpu_us": cpu_us, "others": max(0.0, others / figures["seconds"])}


def interleaved(servers: Sequence[Running], connections: int, seconds: float, rounds: int) -> dict[str, dict]:
    """Each server's medians by name, with `ratio`: the median over the rounds of the first one's rate ÷ its own."""
    for each in servers:
        one_round(each, connections, 1, seed=0)
    taken: dict[str, list[dict[str, float]]] = {each.name: [] for each in servers}
    for number in range(rounds):
        for each in servers:
            taken[each.name].append(one_round(each, connections, seconds, seed=number + 1))
            time.sleep(0.3)  # what the server still does behind its answers is not the next one's burden
    first = taken[servers[0].name]
    return {name: {**medians(own), "ratio": ratio(first, own)} for name, own in taken.items()}


def medians(taken: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {key: statistics.median(one[key] for one in taken) for key in MEASURED}


def ratio(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> float:
    """The median over the rounds of ours ÷ theirs."""
    return statistics.median(a["rate"] / max(b["rate"], 1e-9) for a, b in zip(ours, theirs, strict=True))


def table(title: str, measured: Mapping[str, Mapping[str, dict]], compared: str = "first ÷ it") -> str:
    """Markdown: a row for each server of each case (such as a number of connections)."""
    lines = [
        f"| {title} | server | requests/s | p50, p99 ms | µs of processor a request | {compared} | wrk's cores | "
        "others' cores | errors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, servers in measured.items():
        for name, own in servers.items():
            lines.append(
                f"| {case} | {name} | {own['rate']:,.0f} | {own['p50_ms']:.2f}, {own['p99_ms']:.2f} | "
                f"{own['cpu_us']:.0f} | {own['ratio']:.2f} | {own['client']:.2f} | {own['others']:.2f} | "
                f"{own['errors']:.0f} |"
            )
    return "\n".join(lines)


def _busy_s() -> float:
    """The processor time that all processes of the machine have used."""
    now = psutil.cpu_times()
    return float(sum(now) - now.idle - getattr(now, "iowait", 0) - getattr(now, "guest", 0))
