"""The lines of `bench/serving.py`: each measures one thing on a `Lab` and returns a Markdown table."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path

import contenders
import ensembles
import joblib
import numpy as np
import resilience
import sustained
from contenders import Contender, Running, Unavailable, product, start
from ensembles import Installation
from rounds import interleaved, table
from servers import PeakMemory, proportional_set_mb

CONNECTIONS = (1, 16, 64)
# The product's rate ÷ the opponent's, at least, by the number of connections.
TARGETS = {
    "naive": {1: 25.0, 16: 50.0, 64: 60.0},
    "fastapi": {1: 0.9, 16: 1.2, 64: 1.3},
    "limit": {64: 0.2},
}
_BATCHES = 7


@dataclass(frozen=True)
class Plan:
    """How long to measure: a round of one server, how many rounds, and the sustained run (s)."""

    seconds: int = 5
    rounds: int = 5
    sustained_s: int = 60


@dataclass
class Lab:
    """What the lines share. `figures` is what they measured, by line; `absent` the opponents that could not be had."""

    root: Path
    plan: Plan
    figures: dict[str, object] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @cached_property
    def iris(self) -> Installation:
        """The installation that most lines use."""
        return ensembles.iris(self.root / "iris")

    def available(self, **wanted: Callable[[], Contender]) -> list[Contender]:
        """Those opponents that this machine can run; why it cannot run the others goes to `absent`."""
        found = []
        for name, make in wanted.items():
            try:
                found.append(make())
            except Unavailable as reason:
                self.absent[name] = str(reason)
        return found

    def against(self, place: Installation) -> list[Contender]:
        """The product on an installation, and the naive and the fast server with the first of its models."""
        others = self.available(
            naive=lambda: contenders.naive(place.model, place.traffic),
            fastapi=lambda: contenders.fastapi(contenders.forest(place.model), place.traffic),
        )
        return [product(place.folder, place.traffic), *others]

    def started(self, stack: ExitStack, wanted: Sequence[Contender]) -> list[Running]:
        """The contenders that start, started; why the others did not goes to `absent`. The first one must."""
        servers = [stack.enter_context(start(wanted[0]))]
        for each in wanted[1:]:
            try:
                servers.append(stack.enter_context(start(each)))
            except SystemExit as reason:
                self.absent[each.name] = str(reason)[-600:]
        return servers


def rates(lab: Lab) -> str:
    """Random rows on 1, 16 and 64 connections, against all opponents; two workers each."""
    place = lab.iris
    wanted = lab.against(place) + lab.available(
        mlserver=lambda: contenders.mlserver(contenders.forest(place.model), lab.root / "mlserver"),
        bentoml=lambda: contenders.bentoml(contenders.forest(place.model)),
        limit=contenders.limit,
    )
    with ExitStack() as stack:
        servers = lab.started(stack, wanted)
        measured = {c: interleaved(servers, c, lab.plan.seconds, lab.plan.rounds) for c in CONNECTIONS}
        memory = proportional_set_mb(servers[0].process)
    lab.figures["rates"] = {"servers": measured, "pss_mb": memory, "first_answer_s": servers[0].first_answer_s}
    return "\n\n".join(
        [
            table("connections", {str(c): own for c, own in measured.items()}, "bakeoff ÷ it"),
            _targets(measured),
            _client(measured),
            f"First answer after {servers[0].first_answer_s:.2f} s (≤ 2). PSS after it: workers "
            f"{memory['workers']:.0f} MB (≤ 220), master {memory['master']:.0f} MB.",
        ]
    )


def _targets(measured: dict[int, dict[str, dict]]) -> str:
    lines = ["| figure | measured | target |", "|---|---|---|"]
    for name, wanted in TARGETS.items():
        for connections, least in wanted.items():
            if name in measured[connections]:
                got = measured[connections][name]["ratio"]
                lines.append(f"| bakeoff ÷ {name} at {connections} | {got:.2f} | ≥ {least:g} |")
    for connections in (16, 64):
        own = measured[connections]
        if "fastapi" in own:
            got = own["bakeoff"]["p99_ms"] / own["fastapi"]["p99_ms"]
            lines.append(f"| p99 ÷ FastAPI's at {connections} | {got:.2f} | ≤ 1.5 |")
    return "\n".join(lines)


def _client(measured: dict[int, dict[str, dict]]) -> str:
    """Whether the load generator could have been the limit."""
    busiest = max(own["client"] for each in measured.values() for name, own in each.items() if name != "limit")
    said = f"wrk needed at most {busiest:.2f} of a core for a server other than the limit."
    fastest = {c: max(own["rate"] for name, own in each.items() if name != "limit") for c, each in measured.items()}
    more = [f"{each['limit']['rate'] / fastest[c]:.1f} at {c}" for c, each in measured.items() if "limit" in each]
    return said + (f" The limit ÷ the fastest other server: {', '.join(more)}." if more else "")


def one_worker(lab: Lab) -> str:
    """One worker against two, on 16 connections."""
    with ExitStack() as stack:
        wanted = [product(lab.iris.folder, workers=count, name=f"{count} of bakeoff") for count in (1, 2)]
        servers = lab.started(stack, wanted)
        measured = {"16": interleaved(servers, 16, lab.plan.seconds, lab.plan.rounds)}
    lab.figures["one-worker"] = measured
    return table("connections", measured, "one ÷ it (≥ .6)")


def sustained_rate(lab: Lab) -> str:
    """The highest rate for a minute with labels for all in lists of 100, and the monitor running."""
    got = lab.figures["sustained"] = sustained.measure(lab.iris.folder, lab.plan.sustained_s)
    own, end = got["own_lag_max_s"], got["lag_end_s"]
    return "\n".join(
        [
            f"| {lab.plan.sustained_s} s with labels, {sustained.CONNECTIONS} connections | measured | target |",
            "|---|---|---|",
            f"| predictions/s; labels acknowledged/s | {got['predictions_per_s']:,.0f}; {got['labels_per_s']:,.0f} | "
            "equal |",
            f"| p99 of both; requests refused | {got['p99_ms']:.0f} ms; {got['refused']:.0f} | reported; 0 |",
            f"| records dropped | {got['dropped']:.0f} | 0 |",
            f"| age of the report: most | {got['lag_max_s']:.1f} s | ≤ 3 |",
            f"| age of the report: at the end | {'not within 180 s' if end is None else f'{end:.1f} s'} | ≤ 3 |",
            f"| the monitor's own metric: most | {'no such metric' if own is None else f'{own:.1f} s'} | as above |",
        ]
    )


def hosts(lab: Lab) -> str:
    """Two hosts with a worker each against one with two, on one PostgreSQL with a monitor, labels for all."""
    got = lab.figures["hosts"] = sustained.hosts(lab.iris.folder, lab.plan.sustained_s / 4, min(3, lab.plan.rounds))
    return sustained.hosts_table(got)


def overload(lab: Lab) -> str:
    """Ten times the connections of capacity: how much is answered, and how late."""
    with ExitStack() as stack:
        server = stack.enter_context(start(product(lab.iris.folder)))
        got = resilience.overload(server.port, server.process, 2 * lab.plan.seconds)
    lab.figures["overload"] = got
    late = got["p99_ms"]["overload"] / got["p99_ms"]["peak"]
    return "\n".join(
        [
            "| 160 connections against 16 | measured | target |",
            "|---|---|---|",
            f"| answered with 200, ÷ capacity ({got['peak_rate']:,.0f}/s) | {got['goodput_share']:.2f} | ≥ .85 |",
            f"| p99 of the accepted, ÷ p99 at 16 | {late:.1f} ({got['p99_ms']['overload']:.0f} ms) | ≤ 3 |",
            f"| growth of the workers' memory | {got['memory_growth']:+.1%} | reported |",
        ]
    )


def batch(lab: Lab) -> str:
    """Batches of 10,000 and 100,000 rows, end to end, seven one after another."""
    model = joblib.load(lab.iris.model)
    lines = [
        "| rows | server | ms: median (least) | most memory ÷ body: of one, of all | target |",
        "|---|---|---|---|---|",
    ]
    found: dict[str, dict] = {}
    with ExitStack() as stack:
        servers = lab.started(stack, [one for one in lab.against(lab.iris) if one.name != "naive"])
        for rows, target in ((10_000, "≤ 40 ms, ≤ 12"), (100_000, "≤ 400 ms, ≤ 12")):
            body, cells = _batch(rows)
            for server in servers:
                got = found[f"{server.name} {rows}"] = _batches(server, body)
                mine = target if server is servers[0] else ""
                lines.append(
                    f"| {rows:,} | {server.name} | {got['ms']:.0f} ({got['least_ms']:.0f}) | "
                    f"{got['memory_by_body']:.1f}, {got['memory_by_body_in_a_row']:.1f} | {mine} |"
                )
            began = time.perf_counter()
            model.predict_proba(cells)
            lines.append(f"| {rows:,} | scikit-learn alone | {1000 * (time.perf_counter() - began):.0f} | | |")
    lab.figures["batch"] = found
    return "\n".join(lines)


def _batch(rows: int) -> tuple[bytes, np.ndarray]:
    cells = np.random.default_rng(7).uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (rows, 4)).round(1)
    return b'{"instances": ' + str(cells.tolist()).encode() + b"}", cells


def _batches(server: Running, body: bytes) -> dict[str, float]:
    """Milliseconds until the whole answer was read, and the memory that the first batch takes and that all of them take
    on top of one of 100 rows, of the process where it rises most."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    _batch_ms(connection, _batch(100)[0])
    memory = PeakMemory(server.process)
    took = [_batch_ms(connection, body)]
    first = memory.risen()
    took += [_batch_ms(connection, body) for _ in range(_BATCHES - 1)]
    return {
        "ms": statistics.median(took),
        "least_ms": min(took),
        "memory_by_body": first / len(body),
        "memory_by_body_in_a_row": memory.risen() / len(body),
    }


def _batch_ms(connection: HTTPConnection, body: bytes) -> float:
    began = time.perf_counter()
    connection.request("POST", "/predict/batch", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"port {connection.port} answered a batch with {answer.status}: {text[:300]!r}")
    return 1000 * (time.perf_counter() - began)


def _larger(make: Callable[[Path], Installation]) -> Callable[[Lab], str]:
    def line(lab: Lab) -> str:
        name = make.__name__
        with ExitStack() as stack:
            servers = lab.started(stack, lab.against(make(lab.root / name)))
            measured = {str(c): interleaved(servers, c, lab.plan.seconds, min(3, lab.plan.rounds)) for c in (1, 16)}
        lab.figures[name] = measured
        return table("connections", measured, "bakeoff ÷ it")

    line.__doc__ = make.__doc__
    return line


LINES: dict[str, Callable[[Lab], str]] = {
    "rates": rates,
    "one-worker": one_worker,
    "sustained": sustained_rate,
    "hosts": hosts,
    "overload": overload,
    "batch": batch,
    **{
        make.__name__: _larger(make)
        for make in (ensembles.forest, ensembles.boosting, ensembles.versions, ensembles.wide)
    },
}


def expected_s(name: str, plan: Plan) -> float:
    """About how long a line takes on an idle machine, once all opponents are installed."""
    one, three = plan.rounds * (plan.seconds + 0.8), min(3, plan.rounds) * (plan.seconds + 0.8)
    larger = 2 * 3 * (three + 1.5)
    return {
        "rates": 30 + 3 * 6 * (one + 1.5),
        "one-worker": 10 + 2 * (one + 1.5),
        "sustained": 15 + plan.sustained_s,
        "hosts": 2 * min(3, plan.rounds) * (20 + plan.sustained_s / 4),
        "overload": 10 + 5 * plan.seconds,
        "batch": 30,
        "forest": 90 + larger,
        "boosting": 60 + larger,
        "versions": 30 + larger,
        "wide": 60 + larger,
    }[name]


def laboratory(plan: Plan, stack: ExitStack) -> Lab:
    """A lab in a temporary folder."""
    return Lab(Path(stack.enter_context(tempfile.TemporaryDirectory())), plan)
