"""An overlay of kubernetes/ on the node of .ci/cluster, and what bench/cluster.py asks of kubectl and Docker there.

What the node does not know is replaced (name servers, storage classes, the newest versions of two kinds); all else is
the overlay as it is. For `several` there are a PostgreSQL, in a pod of its own, and .ci/terraform's moto as S3.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import requests
from cluster_load import API
from running import wait_for
from servers import ROOT, free_port

TOKEN = "token-of-the-bench"
READY_S = 300

# Names without a name server, and requests that 5 API pods on 2 cores can have.
OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: bakeoff
resources: [../{overlay}{volumes}]
images:
  - {{name: {registry}bakeoff-api, newName: bakeoff-api, newTag: {tag}}}
  - {{name: {registry}bakeoff-ui, newName: bakeoff-ui, newTag: {tag}}}
patches:
  - target: {{kind: Service, name: api}}
    patch: |-
      - {{op: add, path: /spec/clusterIP, value: {api}}}
  - target: {{kind: (Deployment|Job)}}
    patch: |-
      - {{op: add, path: /spec/template/spec/hostAliases, value: [{{ip: {api}, hostnames: [api]}}]}}
  - target: {{kind: Deployment, name: api}}
    patch: |-
      - {{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 250m}}
      - {{op: replace, path: /spec/template/spec/initContainers/0/resources/requests/cpu, value: 250m}}
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
# The versions that 1.20 has of these kinds; and a scaler that acts on the bench's load, and not beyond 2 cores.
ON_SERVERS = """
  - target: {{kind: HorizontalPodAutoscaler}}
    patch: |-
      - {{op: replace, path: /apiVersion, value: autoscaling/v2beta2}}
      - {{op: replace, path: /spec/metrics/0/resource/target/averageUtilization, value: 20}}
      - {{op: replace, path: /spec/maxReplicas, value: 4}}
  - target: {{kind: PodDisruptionBudget}}
    patch: |-
      - {{op: replace, path: /apiVersion, value: policy/v1beta1}}
      - {{op: remove, path: /spec/unhealthyPodEvictionPolicy}}
configMapGenerator:
  - name: settings
    behavior: merge
    literals:
      - DATABASE_URL={database}
      - MODEL_DIR=s3://models/registry
      - AWS_ENDPOINT_URL={s3}
"""
POSTGRES = f"""
apiVersion: v1
kind: Pod
metadata: {{name: postgres}}
spec:
  securityContext: {{runAsUser: 999, fsGroup: 999}}
  containers:
    - name: postgres
      image: postgres:15-bookworm
      env:
        - {{name: POSTGRES_PASSWORD, value: {TOKEN}}}
        - {{name: POSTGRES_USER, value: bakeoff}}
        - {{name: POSTGRES_DB, value: bakeoff}}
      resources: {{requests: {{cpu: 250m}}}}
      readinessProbe:
        exec: {{command: [pg_isready, -h, 127.0.0.1, -U, bakeoff]}}
        periodSeconds: 2
        timeoutSeconds: 10
"""


def kubectl(*words: str, text: str | None = None, check: bool = True) -> str:
    """What kubectl prints in the namespace. Raises `SystemExit` with its complaint, or returns it as well."""
    command = [str(ROOT / ".ci/cluster"), "kubectl", "-n", "bakeoff", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"kubectl {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip() if check else f"{done.stdout}{done.stderr}".strip()


def docker(*words: str) -> str:
    """What docker prints. Raises `SystemExit` with its complaint."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"docker {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


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


# Who holds app/store/postgres/connection.py's lock of monitors.
_LEADER = """
SELECT host(client_addr), pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 1111576390 AND granted
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """The URLs of a PostgreSQL and of an S3 server with the bucket `models`, which pods reach."""

    database: str
    s3: str

    def leader(self) -> tuple[str, int] | None:
        """The address of the pod whose monitor leads, and its session of PostgreSQL."""
        with psycopg.connect(self.database, password=TOKEN, connect_timeout=5) as connection:
            return connection.execute(_LEADER).fetchone()


@contextmanager
def servers() -> Iterator[Servers]:
    """A PostgreSQL, in a pod of its own, and an S3 server, which end with the block."""
    gateway, port = this_host(), free_port()
    command = [str(ROOT / ".ci/terraform"), "moto", str(port), gateway]
    s3 = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pod = ("pod/postgres", "-n", "default")
    try:
        kubectl("apply", "-n", "default", "-f", "-", text=POSTGRES)
        kubectl("wait", *pod, "--for=condition=Ready", f"--timeout={READY_S}s")
        address = kubectl("get", *pod, "-o", "jsonpath={.status.podIP}")
        wait_for(lambda: _put(f"http://{gateway}:{port}/models"), 60, "the start of S3")
        yield Servers(f"postgresql://bakeoff@{address}:5432/bakeoff", f"http://{gateway}:{port}")
    finally:
        s3.terminate()
        s3.wait(20)
        kubectl("delete", *pod, "--grace-period=5", check=False)


def this_host() -> str:
    """The address of this host that pods reach."""
    return docker("network", "inspect", "bridge", "-f", "{{ (index .IPAM.Config 0).Gateway }}")


def _put(url: str) -> bool:
    try:
        return requests.put(url, timeout=5).ok
    except requests.RequestException:
        return False


def containers(*names: str, pod: str | None = None) -> list[str]:
    """The running containers of these names, in all pods or in one."""
    wanted = [] if pod is None else ["--filter", f"label=io.kubernetes.pod.name={pod}"]
    return [
        container
        for name in names
        for container in docker("ps", "-q", "--filter", f"label=io.kubernetes.container.name={name}", *wanted).split()
    ]


def pods(component: str) -> list[dict]:
    """The pods of a component, those that end included."""
    label = f"app.kubernetes.io/component={component}"
    return json.loads(kubectl("get", "pods", "-l", label, "-o", "json"))["items"]


def started_in_s(pod: dict) -> float:
    """The seconds, by Kubernetes' clock, from the creation of a ready pod until it was ready."""
    [ready] = [each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return (datetime.fromisoformat(ready) - created).total_seconds()


def applied(folder: Path, overlay: str, tag: str, beside: Servers | None) -> list[str]:
    """Create the namespace, its secrets and all of the overlay but autoscalers, which are returned."""
    made = _made(folder, overlay, tag, beside)
    kubectl("create", "namespace", "bakeoff")
    secret = {"admin-token": TOKEN, "deployment-key": secrets.token_hex(32)}
    words = [f"--from-literal={name}={value}" for name, value in secret.items()]
    kubectl("create", "secret", "generic", "bakeoff", *words)
    keys = {"PGPASSWORD": TOKEN, "AWS_ACCESS_KEY_ID": "mock", "AWS_SECRET_ACCESS_KEY": "mock"}
    kubectl("create", "secret", "generic", "stores", *(f"--from-literal={n}={v}" for n, v in keys.items()))
    built = kubectl("kustomize", str(made)).split("\n---\n")
    scalers = [each for each in built if "\nkind: HorizontalPodAutoscaler\n" in each]
    kubectl("apply", "-f", "-", text="\n---\n".join(each for each in built if each not in scalers))
    return scalers


def _made(folder: Path, overlay: str, tag: str, beside: Servers | None) -> Path:
    """A copy of kubernetes/ with an overlay of the overlay."""
    shutil.copytree(ROOT / "kubernetes", folder / "kubernetes")
    made = folder / "kubernetes/made"
    made.mkdir()
    own = volumes(folder) if beside is None else ""
    more = "" if beside is None else ON_SERVERS.format(database=beside.database, s3=beside.s3)
    (made / "volumes.yaml").write_text(own)
    # What the overlay calls the images.
    registry = "" if beside is None else "registry.example.org/"
    names = {"overlay": overlay, "volumes": ", volumes.yaml" if own else "", "registry": registry}
    (made / "kustomization.yaml").write_text(OVERLAY.format(**names, tag=tag, api=API, more=more))
    return made
