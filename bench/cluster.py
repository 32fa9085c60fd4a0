"""Apply kubernetes/ to a real cluster, and roll, scale and kill its pods under load.

    .ci/cluster build && .ci/cluster up
    python bench/cluster.py [--overlay one-node|several] [--tag TAG] [--clients 8] [--pace 50] [--only CHANGE,…]
    .ci/cluster down

`make cluster OVERLAY=several` does all of it. Needs the images bakeoff-api:TAG and bakeoff-ui:TAG, and for `several`
the image of PostgreSQL and .ci/terraform's moto as S3.

Clients (cluster_load.py) send predictions and their labels at --pace requests a second. While pods are replaced, scaled
and evicted no request may fail. While they are killed one that fails is sent again, as clients do. With `several` the
monitor that leads is killed, and loses its network: another must lead within 10 s; and PostgreSQL stands still for
20 s, while predictions must go on. After each change every acknowledged label must be counted, every user must have had
one version, and the evidence computed anew from the log must be equal to the last bit. At the end, without load: all
pods are replaced and all are killed, after which the report must be the same; pods of `several` start one at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests
from cluster_load import API, LOW, Load, Versions
from cluster_metrics import API_SERVICE, SERVICE, answers, metrics
from cluster_node import (
    READY_S,
    TOKEN,
    Servers,
    applied,
    containers,
    docker,
    kubectl,
    pods,
    servers,
    started_in_s,
    this_host,
)
from running import wait_for

_LEADS_S = 10.0
_LOOK_S = 1.0
_ALL = "roll,scale,kill,lead,outage,drain,autoscale,rest,cold"
# How a request may fail, which is then sent again.
_MAY_FAIL = {"kill": "/", "lead": "/", "outage": "/feedback 503"}


class Cluster:
    """The overlay on the cluster, and what happens to it."""

    def __init__(self, folder: Path, overlay: str, tag: str, beside: Servers | None) -> None:
        self._folder, self.beside, self.faults = folder, beside, 0
        self._scalers = applied(folder, overlay, tag, beside)
        self.await_ready()

    @staticmethod
    def await_ready() -> None:
        """Wait until every Deployment has the pods that it should have."""
        for name in ("api", "monitor", "ui"):
            kubectl("rollout", "status", f"deployment/{name}", f"--timeout={READY_S}s")

    def roll(self) -> None:
        """Replace the pods of the API and the monitor, as another image or setting does."""
        kubectl("rollout", "restart", "deployment/api", "deployment/monitor")
        self.settle("api", int(kubectl("get", "deployment/api", "-o", "jsonpath={.spec.replicas}")))

    def scale(self, *replicas: int) -> None:
        """To so many API pods, one number after the other: to 4, and back to 2."""
        for number in replicas or (4, 2):
            kubectl("scale", "deployment/api", f"--replicas={number}")
            self.settle("api", number)

    def settle(self, component: str, number: int) -> None:
        """Wait until all are ready, and until there are so many pods, those that end included."""
        self.await_ready()
        wait_for(lambda: len(pods(component)) == number, READY_S, f"{number} pods", _LOOK_S)
        self.await_ready()

    def kill(self, step: int = 2, times: int = 3) -> None:
        """SIGKILL the containers of every so many-th API pod and of every monitor, several times."""
        for _ in range(times):
            running = len(containers("api", "monitor"))
            docker("kill", *containers("api")[::step], *containers("monitor"))
            self._await_restart(running)

    def _await_restart(self, running: int) -> None:
        """Wait until so many containers run again, and are ready."""
        wait_for(lambda: len(containers("api", "monitor")) == running, READY_S, "the start of containers", _LOOK_S)
        time.sleep(2)
        self.await_ready()

    def lead(self) -> None:
        """End the monitor that leads: three times by SIGKILL, then by taking its network away."""
        for cut in (False, False, False, True):
            pod = self._leader()
            [container] = containers("POD" if cut else "monitor", pod=pod)
            order = ("network", "disconnect", "bridge") if cut else ("kill",)
            self._another_leads("a cut of its network" if cut else "SIGKILL", *order, container)
            kubectl("delete", "pod", pod)  # quicker than its next start, which is delayed after each end
            self.settle("monitor", 2)

    def _leader(self) -> str:
        """The name of the pod whose monitor leads."""
        wait_for(self.beside.leader, 60, "a leading monitor", _LOOK_S)
        address, _ = self.beside.leader()
        [name] = [pod["metadata"]["name"] for pod in pods("monitor") if pod["status"].get("podIP") == address]
        return name

    def _another_leads(self, after: str, *order: str) -> None:
        """Give Docker an order, and print how long it takes until another session holds the monitors' lock."""
        before, started = self.beside.leader(), time.monotonic()
        docker(*order)
        wait_for(lambda: (self.beside.leader() or before) != before, 60, "another leading monitor", 0.1)
        took_s = time.monotonic() - started
        self.faults += took_s > _LEADS_S
        print(f"Another monitor leads {took_s:.1f} s after {after}.", flush=True)

    def outage(self) -> None:
        """Stop PostgreSQL for 20 s, as its failover does: predictions go on, over new connections too."""
        [container] = containers("postgres")
        docker("pause", container)
        until, answers = time.monotonic() + 20, []
        while time.monotonic() < until:
            answers.append(predicted())
            time.sleep(0.2)
        docker("unpause", container)
        failed = answers.count(False)
        self.faults += failed
        print(f"Without PostgreSQL {failed} of {len(answers)} predictions over new connections failed.", flush=True)
        self.await_ready()

    def drain(self) -> None:
        """Ask to evict all API pods, as before a node's repair: the budget must keep one of two."""
        self.scale(2)
        order = ["drain", "localhost", "--pod-selector=app.kubernetes.io/component=api", "--delete-emptydir-data"]
        said = kubectl(*order, "--timeout=40s", check=False)
        kubectl("uncordon", "localhost")
        self.settle("api", 2)
        kept = "violate the pod's disruption budget" in said
        self.faults += not kept
        print(f"A node is drained: {'the budget kept one of two API pods' if kept else said}.", flush=True)

    def autoscale(self) -> None:
        """From one API pod to the least number of the autoscaler, and to more by the processor time that they use."""
        self.scale(1)
        with metrics(this_host(), self._folder) as port:
            kubectl("apply", "-n", "default", "-f", "-", text=SERVICE.format(host=this_host(), port=port))
            address = kubectl("get", "service/metrics", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
            wait_for(lambda: answers(f"https://{address}"), 60, "the way to the metrics")
            kubectl("apply", "-f", "-", text=API_SERVICE)
            kubectl("apply", "-f", "-", text="\n---\n".join(self._scalers))
            for least in (2, 3):
                started = time.monotonic()
                wait_for(lambda least=least: len(pods("api")) >= least, 180, f"{least} pods", _LOOK_S)
                self.await_ready()
                print(f"Scaled to {len(pods('api'))} pods after {time.monotonic() - started:.0f} s.", flush=True)
            kubectl("delete", "hpa", "api")
            kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io")
            kubectl("delete", "-n", "default", "service", "metrics")
        self.scale(2)

    def rest(self) -> None:
        """Replace all pods, then kill all, while there are no requests: the report must stay what it was."""
        before = evidence()
        self.roll()
        self.kill(step=1, times=1)
        same = evidence() == before
        self.faults += not same
        print(f"All replaced, then all killed, without load: the report is {'the same' if same else 'ANOTHER'}.")

    def cold(self) -> None:
        """Start a third API pod, three times, with nothing else going on."""
        self.scale(2)
        for _ in range(3):
            known = {pod["metadata"]["name"] for pod in pods("api")}
            self.scale(3)
            [pod] = [each for each in pods("api") if each["metadata"]["name"] not in known]
            print(f"An API pod is ready after {started_in_s(pod):.0f} s, load {os.getloadavg()[0]:.0f}.", flush=True)
            self.scale(2)


def predicted() -> bool:
    """Whether a prediction is answered over a connection of its own."""
    try:
        return requests.post(f"http://{API}:5000/predict", json={"features": LOW}, timeout=15).ok
    except requests.RequestException:
        return False


def report() -> dict:
    """The experiment's report."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(f"http://{API}:5001/experiment", headers=headers, timeout=15)
    answer.raise_for_status()
    return answer.json()


def evidence() -> dict:
    """What the report says of versions and comparisons."""
    found = report()
    return {name: found[name] for name in ("id", "variants", "comparisons", "checks", "recommendation")}


def main() -> int:
    """Apply, change under load, check; exit status 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlay", choices=("one-node", "several"), default="one-node")
    parser.add_argument("--tag", default="local")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pace", type=float, default=50.0, help="requests per second over all clients")
    parser.add_argument("--only", metavar="CHANGE,…", help=f"some of {_ALL} (default: all that the overlay can do)")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        beside = stack.enter_context(servers()) if args.overlay == "several" else None
        stack.callback(kubectl, "delete", "persistentvolume", "--all", "--timeout=60s", check=False)
        stack.callback(kubectl, "delete", "namespace", "bakeoff", "--timeout=120s", check=False)
        started = time.monotonic()
        cluster = Cluster(folder, args.overlay, args.tag, beside)
        took = [f"{started_in_s(pod):.0f}" for pod in pods("api")]
        print(f"All is ready after {time.monotonic() - started:.0f} s, API pods after {', '.join(took)} s.", flush=True)
        return changed(cluster, args)


def changed(cluster: Cluster, args: argparse.Namespace) -> int:
    """Make each change, and compare what clients know with what the service knows. The number of faults."""
    usual = "roll,scale,kill,rest" if cluster.beside is None else _ALL
    versions, acknowledged, faults = Versions(set), 0, 0
    for seed, name in enumerate((args.only or usual).split(",")):
        change, started = getattr(cluster, name), time.monotonic()
        if name in ("rest", "cold"):
            change()
            continue
        with Load(args.clients, args.pace, 100 * seed, versions) as load:
            time.sleep(2)
            change()
            time.sleep(2)
        acknowledged += load.total("acknowledged")
        may = _MAY_FAIL.get(name, "none")
        faults += sum(number for what, number in load.failures().items() if not what.startswith(may))
        print(
            f"{name}: {load.total('answered')} answered, {dict(load.failures()) or 0} failed, the slowest took "
            f"{max(client.slowest_s for client in load.clients):.1f} s; {time.monotonic() - started:.0f} s in all, "
            f"load {os.getloadavg()[0]:.0f}"
        )
        faults += compared(acknowledged, versions)
    return min(1, faults + cluster.faults)


def compared(acknowledged: int, versions: Versions) -> int:
    """How many of the checks after a change fail: labels, sticky users, evidence."""

    def counted() -> int:
        return sum(variant["labelled"] for variant in report()["variants"])

    wait_for(lambda: counted() >= acknowledged, 120, "counting", _LOOK_S)
    time.sleep(2)
    total, moved = counted(), [user for user, seen in versions.items() if len(seen) > 1]
    rebuilt = kubectl("exec", "deployment/monitor", "--", "bakeoff", "monitor", "--rebuild", "--json")
    equal = json.loads(rebuilt)["equal"]
    print(
        f"  {acknowledged} labels acknowledged, {total} counted; {len(moved)} of {len(versions)} users had several "
        f"versions; evidence computed anew is {'equal to the last bit' if equal else 'DIFFERENT'}",
        flush=True,
    )
    return (total != acknowledged) + bool(moved) + (not equal)


if __name__ == "__main__":
    sys.exit(main())
