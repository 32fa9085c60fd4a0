"""kubernetes/: what kustomize makes of each overlay is closed, complete, and true to the product and Compose.

`.ci/lint kubernetes` checks it against the schemas of Kubernetes, and scans it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
import yaml

from app.settings import _VARIABLES, Settings
from app.tokens import VARIABLES
from app.web.app import OPERATIONS
from tests.infra.repository import ROOT

KUBERNETES = ROOT / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in KUBERNETES.glob("*/kustomization.yaml") if "../base" in path.read_text())
# Beyond the API and the name servers.
ELSEWHERE = {
    "one-node": set(),
    "several": {("10.0.0.0/8", 5432), ("0.0.0.0/0", 443), ("169.254.170.23/32", 80)},
}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# The libraries of PostgreSQL and S3 read these, and not the product.
OF_LIBRARIES = {"AWS_REGION", "AWS_ENDPOINT_URL"}
IN_THE_IMAGE = {"METRICS_DIR": "/run/bakeoff/metrics", "DATA_DIR": "/data"}
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here: nothing was checked")


@cache
def built(overlay: str) -> tuple[dict, ...]:
    """The objects of an overlay."""
    command = ["kubectl", "kustomize", str(KUBERNETES / overlay)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return tuple(yaml.safe_load_all(result.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, dict]:
    return {each["metadata"]["name"]: each for each in built(overlay) if each["kind"] in kinds}


def pods(overlay: str) -> dict[str, dict]:
    """The pod's template of each Deployment and Job."""
    return {name: each["spec"]["template"] for name, each in of_kind(overlay, "Deployment", "Job").items()}


def containers(overlay: str) -> Iterator[tuple[dict, dict]]:
    """Each container with the specification of its pod."""
    for template in pods(overlay).values():
        spec = template["spec"]
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            yield spec, container


def settings(overlay: str) -> dict[str, str]:
    [found] = of_kind(overlay, "ConfigMap").values()
    return found["data"]


def matches(selector: dict, labels: dict[str, str]) -> bool:
    by_value = selector.get("matchLabels", {}).items() <= labels.items()
    return by_value and all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


def selected(overlay: str, selector: dict) -> set[str]:
    return {name for name, pod in pods(overlay).items() if matches(selector, pod["metadata"]["labels"])}


def megabytes(quantity: str) -> int:
    return int(re.fullmatch(r"(\d+)(?:Mi|m)", quantity)[1])


each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
def test_a_pod_is_nobody_and_has_no_token_of_the_cluster(overlay: str) -> None:
    for spec, _ in containers(overlay):
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["fsGroup"]) == (10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(
        account["automountServiceAccountToken"] is False for account in of_kind(overlay, "ServiceAccount").values()
    )
    assert not of_kind(overlay, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@each_overlay
def test_a_container_can_do_as_little_as_possible(overlay: str) -> None:
    for _, container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}


@each_overlay
def test_no_variable_of_a_service_is_taken_for_a_setting(overlay: str) -> None:
    """A Service called `api` would set API_PORT to tcp://…."""
    assert all(spec["enableServiceLinks"] is False for spec, _ in containers(overlay))


@each_overlay
def test_what_a_process_writes_is_on_a_volume(overlay: str) -> None:
    for spec, container in containers(overlay):
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert "emptyDir" in mounts["/tmp"]
        if container["image"].split(":")[0].endswith("bakeoff-api"):
            own = [variable["value"] for variable in container.get("env", [])]
            for path in (*IN_THE_IMAGE.values(), *own):
                assert {"/data", "/run/bakeoff"} & {path, *map(str, PurePosixPath(path).parents)} & set(mounts)


def test_on_one_node_log_and_models_outlive_the_pods_which_share_the_node() -> None:
    for name in ("api", "monitor", "first-models"):
        spec = pods("one-node")[name]["spec"]
        claims = {
            v["name"]: v["persistentVolumeClaim"]["claimName"]
            for v in spec["volumes"]
            if "emptyDir" not in v and "secret" not in v
        }
        assert claims == {"data": "data", "models": "models"}
        [term] = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert selected("one-node", term["labelSelector"]) == {"api", "monitor", "first-models"}
        assert term["topologyKey"] == "kubernetes.io/hostname"
    assert set(of_kind("one-node", "PersistentVolumeClaim")) == {"data", "models"}


@each_overlay
def test_a_service_is_asked_whether_it_is_well_by_its_own_routes(overlay: str) -> None:
    known = {operation.path for operation in OPERATIONS} | {"/_stcore/health"}
    for deployment in of_kind(overlay, "Deployment").values():
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        probes = {kind: container[kind] for kind in container if kind.endswith("Probe")}
        assert {"livenessProbe", "readinessProbe"} <= set(probes)
        for probe in probes.values():
            if "httpGet" in probe:
                assert probe["httpGet"]["path"].partition("?")[0] in known
                assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}
            else:
                assert probe["exec"]["command"][-1] in COMPOSE["monitor"]["healthcheck"]["test"]


@each_overlay
def test_an_api_that_ends_has_time_to_drain(overlay: str) -> None:
    spec = pods(overlay)["api"]["spec"]
    [api] = spec["containers"]
    [shell, flag, script] = api["lifecycle"]["preStop"]["exec"]["command"]
    waits = int(re.fullmatch(r'touch "\$DRAIN_FILE"; sleep (\d+)', script)[1])
    graceful = int(re.search(r"^graceful_timeout = (\d+)", (ROOT / "docker/gunicorn.conf.py").read_text(), re.M)[1])
    assert (shell, flag) == ("sh", "-c")
    assert spec["terminationGracePeriodSeconds"] >= waits + graceful + 5
    # By then its readiness has failed, too, for a load balancer that asks the pods themselves.
    probe = api["readinessProbe"]
    assert waits >= probe["periodSeconds"] * probe["failureThreshold"]
    assert probe["httpGet"]["path"] == "/health/ready?of=predictions"  # a store that is away must not cost predictions


@each_overlay
def test_every_setting_is_one_of_the_product_and_valid(overlay: str, tmp_path: Path) -> None:
    known = {variable for variable, _ in _VARIABLES.values()} | {f"{token}_FILE" for token in VARIABLES}
    given = settings(overlay)
    assert set(given) <= known | OF_LIBRARIES
    assert {v["name"] for _, c in containers(overlay) for v in c.get("env", [])} <= known
    token = tmp_path / "token"
    token.write_text("a-token-of-the-tests")
    files = {name: str(token) for name in given if name.endswith("TOKEN_FILE")}
    assert Settings.from_environ(given | files).admin_bind == ("0.0.0.0", 5001)


@each_overlay
def test_ports_and_memory_agree_with_compose_and_the_images(overlay: str) -> None:
    for name, dockerfile in (("api", "api"), ("ui", "streamlit")):
        [container] = pods(overlay)[name]["spec"]["containers"]
        exposed = re.search(r"^EXPOSE (\d+)$", (ROOT / f"docker/Dockerfile.{dockerfile}").read_text(), re.M)[1]
        assert container["ports"][0] == {"name": "http", "containerPort": int(exposed)}
        assert of_kind(overlay, "Service")[name]["spec"]["ports"][0]["port"] == int(exposed)
    for name, service in {"api": "api", "monitor": "monitor", "ui": "ui", "first-models": "train"}.items():
        [container] = pods(overlay)[name]["spec"]["containers"]
        limit = re.search(r"(\d+m)\}?$", str(COMPOSE[service]["mem_limit"]))[1]
        assert megabytes(container["resources"]["limits"]["memory"]) == megabytes(limit)


@each_overlay
def test_no_secret_is_in_the_tree(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    assert not re.search(r"password|secret_access|postgresql://[^@/]*:", str(settings(overlay)), re.I)


@each_overlay
def test_what_selects_pods_finds_them(overlay: str) -> None:
    for name, service in of_kind(overlay, "Service").items():
        assert selected(overlay, {"matchLabels": service["spec"]["selector"]}) == {name}
        [container] = pods(overlay)[name]["spec"]["containers"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} == {p["name"] for p in container["ports"]}
    for name, each in of_kind(overlay, "PodDisruptionBudget").items():
        assert selected(overlay, each["spec"]["selector"]) == {name}
    for each in of_kind(overlay, "HorizontalPodAutoscaler").values():
        assert each["spec"]["scaleTargetRef"]["name"] in of_kind(overlay, "Deployment")


def reaches(overlay: str, name: str) -> set[tuple[str, int]]:
    """The pods, name servers and networks that a pod may reach, with the ports."""
    found = set()
    for policy in of_kind(overlay, "NetworkPolicy").values():
        if name not in selected(overlay, policy["spec"]["podSelector"]):
            continue
        for rule in policy["spec"].get("egress", []):
            for to in rule.get("to", [{}]):  # without it: to all
                ends = (
                    selected(overlay, to["podSelector"])
                    if "podSelector" in to
                    else {(to.get("ipBlock") or {}).get("cidr", "names")}
                )
                found |= {(end, port["port"]) for end in ends for port in rule["ports"]}
    return found


def admits(overlay: str, name: str) -> dict[int, set[str]]:
    """Who may reach a pod, by port: pods, and namespaces by their names."""
    found: dict[int, set[str]] = {}
    for policy in of_kind(overlay, "NetworkPolicy").values():
        if name not in selected(overlay, policy["spec"]["podSelector"]):
            continue
        for rule in policy["spec"].get("ingress", []):
            for source in rule["from"]:
                space = source.get("namespaceSelector", {}).get("matchLabels", {}).values()
                who = set(space) or selected(overlay, source["podSelector"])
                for port in rule["ports"]:
                    found.setdefault(port["port"], set()).update(who)
    return found


@each_overlay
def test_all_that_is_not_listed_is_denied(overlay: str) -> None:
    deny = of_kind(overlay, "NetworkPolicy")["default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert admits(overlay, "monitor") == admits(overlay, "ui") == admits(overlay, "first-models") == {}


@each_overlay
def test_the_dashboard_reaches_the_api_alone(overlay: str) -> None:
    assert reaches(overlay, "ui") == {("names", 53), ("api", 5001)}


@each_overlay
def test_the_ingress_reaches_the_public_listener_and_pods_the_other(overlay: str) -> None:
    assert admits(overlay, "api") == {5000: {"ingress-nginx"}, 5001: {"monitor", "ui"}}
    [rule] = of_kind(overlay, "Ingress")["api"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "api", "port": {"name": "http"}}
    assert of_kind(overlay, "Ingress")["api"]["spec"]["tls"][0]["hosts"] == [rule["host"]]


@each_overlay
def test_api_and_monitor_reach_their_stores_where_these_are_elsewhere(overlay: str) -> None:
    assert reaches(overlay, "api") == {("names", 53)} | ELSEWHERE[overlay]
    assert reaches(overlay, "monitor") == {("names", 53), ("api", 5001)} | ELSEWHERE[overlay]


def test_prometheus_reaches_metrics_where_the_component_is_used(tmp_path: Path) -> None:
    # kustomize takes no absolute paths, and nothing outside the folder of a tree.
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes/watched"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [../one-node]\ncomponents: [../service-monitor]\n")
    watched = str(overlay)
    [monitor] = of_kind(watched, "ServiceMonitor").values()
    [endpoint] = monitor["spec"]["endpoints"]
    assert matches(monitor["spec"]["selector"], of_kind(watched, "Service")["api"]["metadata"]["labels"])
    assert endpoint["port"] in {port["name"] for port in of_kind(watched, "Service")["api"]["spec"]["ports"]}
    assert endpoint["path"] in {operation.path for operation in OPERATIONS}


@each_overlay
def test_images_have_a_tag_and_it_is_not_a_moving_one(overlay: str) -> None:
    tags = {container["image"].rpartition(":")[2] for _, container in containers(overlay)}
    assert len(tags) == 1
    assert not tags & {"", "latest"}
