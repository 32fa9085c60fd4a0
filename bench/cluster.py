"""Apply kubernetes/ to a real cluster, and roll, scale and kill its pods under load.

    .ci/cluster build && .ci/cluster up
    python bench/cluster.py [--overlay one-node|several] [--tag TAG] [--clients 8] [--pace 50] [--only roll,scale,kill]
    .ci/cluster down

`make cluster` does all of it. Needs the images bakeoff-api:TAG and bakeoff-ui:TAG, and for `several` the image of
PostgreSQL and .ci/terraform's moto as S3. What the node of .ci/cluster does not know (policy/v1, autoscaling/v2, name
servers, storage classes) is taken out or replaced; all else is the overlay as it is.

Each client names users, sends predictions and their labels at --pace requests a second, and keeps its connection. While
pods roll and scale no request may fail. While they are killed a request that fails is sent again, as clients do. In the
end every acknowledged label must be counted, every user must have had one version, and the evidence computed anew from
the log must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import requests
from running import wait_for
from servers import ROOT, free_port

LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]
API = "10.96.0.50"
TOKEN = "token-of-the-bench"
_USERS = 300
_READY_S = 300

# Kinds and fields that 1.20 does not have, names without a name server, and requests that 4 pods on 2 cores can have.
OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: bakeoff
resources: [../{overlay}{volumes}]
images:
  - {{name: bakeoff-api, newName: bakeoff-api, newTag: {tag}}}
  - {{name: bakeoff-ui, newName: bakeoff-ui, newTag: {tag}}}
patches:
  - target: {{kind: Service, name: api}}
    patch: |-
      - {{op: add, path: /spec/clusterIP, value: {api}}}
  - target: {{kind: (Deployment|Job)}}
    patch: |-
      - {{op: add, path: /spec/template/spec/hostAliases, value: [{{ip: {api}, hostnames: [api]}}]}}
      - {{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 50m}}
  - target: {{kind: Deployment, name: api}}
    patch: |-
      - {{op: replace, path: /spec/template/spec/initContainers/0/resources/requests/cpu, value: 50m}}
{more}
"""
ON_VOLUMES = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 20Gi}}
  accessModes: [ReadWriteOnce]
  claimRef: {{namespace: bakeoff, name: {name}}}
  hostPath: {{path: {path}}}
---
"""
ON_SERVERS = """
  - patch: |
      $patch: delete
      apiVersion: autoscaling/v2
      kind: HorizontalPodAutoscaler
      metadata: {{name: api, namespace: bakeoff}}
  - target: {{kind: PodDisruptionBudget}}
    patch: |
      $patch: delete
      apiVersion: policy/v1
      kind: PodDisruptionBudget
      metadata: {{name: any}}
configMapGenerator:
  - name: settings
    behavior: merge
    literals:
      - DATABASE_URL={database}
      - MODEL_DIR=s3://models/registry
      - AWS_ENDPOINT_URL={s3}
"""


def kubectl(*words: str, text: str | None = None, check: bool = True) -> str:
    """What kubectl prints in the namespace. Raises `SystemExit` with its complaint."""
    command = [str(ROOT / ".ci/cluster"), "kubectl", "-n", "bakeoff", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"kubectl {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def docker(*words: str) -> str:
    """What docker prints. Raises `SystemExit` with its complaint."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"docker {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


class Client(threading.Thread):
    """Sends a user's prediction and its label, again and again, over one connection."""

    def __init__(self, seed: int, pace_s: float, stop: threading.Event, versions: dict[str, set[str]]) -> None:
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
                wrong = f"{answer.status} {text[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                wrong = type(error).__name__
            self.failures[wrong] += 1


class Load:
    """Clients that run while a block does, and what they saw."""

    def __init__(self, clients: int, pace: float, seed: int, versions: dict[str, set[str]]) -> None:
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


def volumes(folder: Path) -> str:
    """A folder of this host for each claim, which the images' user owns."""
    text = ""
    for name in ("data", "models"):
        path = folder / "volumes" / name
        path.mkdir(parents=True)
        shutil.chown(path, 10001, 10001)
        text += ON_VOLUMES.format(name=name, path=path)
    folder.chmod(0o755)
    return text


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """The URLs of a PostgreSQL and of an S3 server with the bucket `models`, which pods reach."""
    gateway = docker("network", "inspect", "bridge", "-f", "{{ (index .IPAM.Config 0).Gateway }}")
    name, port = f"bakeoff-cluster-{secrets.token_hex(4)}", free_port()
    given = {"POSTGRES_PASSWORD": TOKEN, "POSTGRES_USER": "bakeoff", "POSTGRES_DB": "bakeoff"}
    words = [word for each in given.items() for word in ("-e", "=".join(each))]
    docker("run", "-d", "--rm", "--name", name, "--user", "postgres", *words, "postgres:15-bookworm")
    command = [str(ROOT / ".ci/terraform"), "moto", str(port), gateway]
    s3 = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://{gateway}:{port}"
        wait_for(lambda: _put(f"{url}/models"), 60, "the start of S3")
        address = docker("inspect", name, "-f", "{{ .NetworkSettings.IPAddress }}")
        yield f"postgresql://bakeoff@{address}:5432/bakeoff", url
    finally:
        s3.terminate()
        s3.wait(20)
        docker("rm", "-f", name)


def _put(url: str) -> bool:
    try:
        return requests.put(url, timeout=5).ok
    except requests.RequestException:
        return False


class Cluster:
    """The overlay on the cluster."""

    def __init__(self, folder: Path, overlay: str, tag: str, addresses: tuple[str, str] | None) -> None:
        self._made = folder / "kubernetes/made"
        shutil.copytree(ROOT / "kubernetes", folder / "kubernetes")
        self._made.mkdir()
        own = volumes(folder) if addresses is None else ""
        more = "" if addresses is None else ON_SERVERS.format(database=addresses[0], s3=addresses[1])
        (self._made / "volumes.yaml").write_text(own)
        written = OVERLAY.format(overlay=overlay, volumes=", volumes.yaml" if own else "", tag=tag, api=API, more=more)
        (self._made / "kustomization.yaml").write_text(written)

    def apply(self) -> None:
        """Create the namespace, its secrets and all of the overlay, and wait until every pod is ready."""
        kubectl("create", "namespace", "bakeoff")
        secret = {"admin-token": TOKEN, "deployment-key": secrets.token_hex(32)}
        words = [f"--from-literal={name}={value}" for name, value in secret.items()]
        kubectl("create", "secret", "generic", "bakeoff", *words)
        keys = {"PGPASSWORD": TOKEN, "AWS_ACCESS_KEY_ID": "mock", "AWS_SECRET_ACCESS_KEY": "mock"}
        kubectl("create", "secret", "generic", "stores", *(f"--from-literal={n}={v}" for n, v in keys.items()))
        kubectl("apply", "-f", "-", text=kubectl("kustomize", str(self._made)))
        self.await_ready()

    @staticmethod
    def await_ready() -> None:
        """Wait until every Deployment has the pods that it should have."""
        for name in ("api", "monitor", "ui"):
            kubectl("rollout", "status", f"deployment/{name}", f"--timeout={_READY_S}s")

    def roll(self) -> None:
        """Replace the pods of the API and the monitor, as another image or setting does."""
        kubectl("rollout", "restart", "deployment/api", "deployment/monitor")
        self.await_ready()
        wait_for(lambda: self.pods("api") == self.wanted("api"), _READY_S, "the end of the old pods")

    def scale(self) -> None:
        """To 4 pods, and back to 2."""
        for replicas in (4, 2):
            kubectl("scale", "deployment/api", f"--replicas={replicas}")
            self.await_ready()
            wait_for(lambda wanted=replicas: self.pods("api") == wanted, _READY_S, f"{replicas} pods")

    def kill(self) -> None:
        """SIGKILL the containers of every second API pod and of every monitor, three times."""
        for _ in range(3):
            for component, step in (("api", 2), ("monitor", 1)):
                for container in containers(component)[::step]:
                    subprocess.run(["docker", "kill", container], capture_output=True)
            time.sleep(5)
            self.await_ready()

    @staticmethod
    def pods(component: str) -> int:
        """How many pods there are, those that end included."""
        label = f"app.kubernetes.io/component={component}"
        return len(kubectl("get", "pods", "-l", label, "-o", "name").split())

    @staticmethod
    def wanted(component: str) -> int:
        """How many pods the Deployment asks for."""
        return int(kubectl("get", f"deployment/{component}", "-o", "jsonpath={.spec.replicas}"))


def containers(name: str) -> list[str]:
    """The running containers of this name in all pods."""
    return docker("ps", "-q", "--filter", f"label=io.kubernetes.container.name={name}").split()


def started_in_s() -> list[float]:
    """For each ready API pod the seconds from its creation until it was ready."""
    pods = json.loads(kubectl("get", "pods", "-l", "app.kubernetes.io/component=api", "-o", "json"))["items"]
    found = []
    for pod in pods:
        created = np.datetime64(pod["metadata"]["creationTimestamp"].rstrip("Z"))
        ready = [each for each in pod["status"]["conditions"] if each["type"] == "Ready" and each["status"] == "True"]
        found += [
            float((np.datetime64(each["lastTransitionTime"].rstrip("Z")) - created) / np.timedelta64(1, "s"))
            for each in ready
        ]
    return found


def counted() -> int:
    """The labels that the experiment has counted."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    report = requests.get(f"http://{API}:5001/experiment", headers=headers, timeout=10).json()
    return sum(variant["labelled"] for variant in report["variants"])


def main() -> int:
    """Apply, change under load, check; exit status 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlay", choices=("one-node", "several"), default="one-node")
    parser.add_argument("--tag", default="local")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pace", type=float, default=50.0, help="requests per second over all clients")
    parser.add_argument("--only", default="roll,scale,kill")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        addresses = stack.enter_context(servers()) if args.overlay == "several" else None
        cluster = Cluster(folder, args.overlay, args.tag, addresses)
        stack.callback(kubectl, "delete", "persistentvolume", "--all", "--timeout=60s", check=False)
        stack.callback(kubectl, "delete", "namespace", "bakeoff", "--timeout=120s", check=False)
        started = time.monotonic()
        cluster.apply()
        print(f"ready after {time.monotonic() - started:.0f} s; api pods after {started_in_s()} s", flush=True)
        return changed(cluster, args)


def changed(cluster: Cluster, args: argparse.Namespace) -> int:
    """Make each change under load, then compare what clients know with what the service knows."""
    versions: dict[str, set[str]] = {f"u{number}": set() for number in range(_USERS)}
    acknowledged = failed = 0
    print("| change under load | requests answered | failed | slowest | took |\n|---|---|---|---|---|")
    for seed, name in enumerate(args.only.split(",")):
        change: Callable[[], None] = {"roll": cluster.roll, "scale": cluster.scale, "kill": cluster.kill}[name]
        with Load(args.clients, args.pace, 100 * seed, versions) as load:
            time.sleep(2)
            started = time.monotonic()
            change()
            took_s = time.monotonic() - started
            time.sleep(2)
        acknowledged += load.total("acknowledged")
        failed += 0 if name == "kill" else sum(load.failures().values())
        slowest_s = max(client.slowest_s for client in load.clients)
        seen = f"{load.total('answered')} | {dict(load.failures()) or 0}"
        print(f"| {name} | {seen} | {slowest_s * 1000:.0f} ms | {took_s:.0f} s |", flush=True)
    return min(1, failed + compared(acknowledged, versions))


def compared(acknowledged: int, versions: dict[str, set[str]]) -> int:
    """How many of the last checks fail: labels, sticky users, evidence."""
    wait_for(lambda: counted() >= acknowledged, 120, "counting")
    time.sleep(2)
    total, moved = counted(), [user for user, seen in versions.items() if len(seen) > 1]
    # Not kubectl exec: the API server cannot resolve the node's name.
    rebuilt = docker("exec", containers("monitor")[0], "python", "-m", "app", "monitor", "--rebuild", "--json")
    equal = json.loads(rebuilt)["equal"]
    print(f"labels: {acknowledged} acknowledged, {total} counted")
    print(f"users of several versions: {len(moved)} of {sum(map(bool, versions.values()))}")
    print(f"evidence computed anew: {'equal to the last bit' if equal else 'DIFFERENT'}")
    return (total != acknowledged) + bool(moved) + (not equal)


if __name__ == "__main__":
    sys.exit(main())
