"""docker-compose.yml: valid for both kinds of Compose, closed by default, and every setting reaches the containers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from app.errors import SettingError
from app.settings import Settings
from app.tokens import VARIABLES
from tests.infra.repository import ROOT, example_settings
from tests.stack import output, resolved

pytestmark = pytest.mark.docker

PEM = "/usr/local/etc/haproxy/edge.pem"
TEXT = (ROOT / "docker-compose.yml").read_text()
PROFILES = ["grafana", "litestream", "postgres", "tracking"]
OPTIONAL = ["grafana", "litestream", "mlflow", "mlflow-db", "objects", "postgres"]
SERVICES = sorted(["alertmanager", "api", "edge", "monitor", "prometheus", "train", "ui", *OPTIONAL])
ALWAYS = [service for service in SERVICES if service not in OPTIONAL]
FIXED_IN_THE_IMAGE = {"HOST", "MODEL_DIR", "DATA_DIR", "METRICS_DIR"}
HOST_MB, HOST_NEEDS_MB = 2048, 350


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    return resolved(*(word for profile in PROFILES for word in ("--profile", profile)))


def mb(service: dict) -> float:
    return int(service["mem_limit"]) / 2**20


def test_compose_v1_takes_it() -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose 1.29 is not here: that it takes the file was not checked")
    assert sorted(output("docker-compose", "config", "--services").split()) == SERVICES


def test_compose_v2_takes_it(services: dict[str, dict]) -> None:
    assert sorted(services) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_as_little_as_possible(services: dict[str, dict], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits_and_its_log_cannot_fill_the_disk(services: dict[str, dict], name: str) -> None:
    service = services[name]
    assert mb(service) <= (1024 if name == "mlflow" else 768)
    assert 0 < service["cpus"] <= 2
    assert service["pids_limit"] > 0
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_after_a_restart_of_the_engine(services: dict[str, dict], name: str) -> None:
    assert services[name]["restart"] == ("no" if name == "train" else "unless-stopped")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "train"])
def test_a_service_is_asked_whether_it_is_well(services: dict[str, dict], name: str) -> None:
    assert services[name]["healthcheck"]["test"]


def test_ports_are_published_for_this_host_only(services: dict[str, dict]) -> None:
    published = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services.items()}
    always = {"edge", "ui", "prometheus", "alertmanager"}
    assert {name for name, ips in published.items() if ips} == always | {"grafana", "mlflow"}
    assert {ip for ips in published.values() for ip in ips} == {"127.0.0.1"}


def peers(services: dict[str, dict], name: str) -> set[str]:
    """The services that share a network with this one."""
    mine = set(services[name]["networks"])
    return {other for other, service in services.items() if other != name and mine & set(service["networks"])}


def test_the_dashboard_reaches_the_edge_alone_and_prometheus_alone_reaches_alertmanager(
    services: dict[str, dict],
) -> None:
    assert peers(services, "ui") == {"edge"}
    assert peers(services, "alertmanager") == {"prometheus"}
    assert peers(services, "api") >= {"edge", "monitor", "prometheus"}


def test_mlflows_database_and_objects_are_reached_by_mlflow_alone(services: dict[str, dict]) -> None:
    assert peers(services, "mlflow-db") == {"mlflow", "objects"}
    assert peers(services, "objects") == {"mlflow", "mlflow-db"}
    assert peers(services, "mlflow") >= {"train", "monitor"}
    assert services["mlflow-db"]["image"] == services["postgres"]["image"]


def test_administration_is_published_where_it_is_asked_for() -> None:
    edge = resolved(BIND="0.0.0.0", ADMIN_BIND="10.1.2.3:5001")["edge"]
    ports = {port["target"]: (port["host_ip"], port["published"]) for port in edge["ports"]}
    assert ports.items() >= {5080: ("0.0.0.0", "5000"), 5000: ("10.1.2.3", "5001")}.items()
    assert edge["environment"]["ADMIN_BIND"] == "10.1.2.3:5001"


def test_the_api_is_told_where_each_listener_is_published() -> None:
    api = resolved(BIND="127.0.0.1", TLS_BIND="0.0.0.0:443", ADMIN_BIND="127.0.0.1:5001")["api"]["environment"]
    assert (api["PUBLISHED_ON"], api["ADMIN_PUBLISHED_ON"]) == ("127.0.0.1,0.0.0.0:443", "127.0.0.1:5001")
    assert Settings.from_environ(api).published_on == ("127.0.0.1", "0.0.0.0")


def test_a_port_alone_for_administration_which_docker_would_publish_everywhere_stops_the_api() -> None:
    api = resolved(ADMIN_BIND="5001")["api"]["environment"]
    with pytest.raises(SettingError, match="'5001' is not HOST:PORT"):
        Settings.from_environ(api)


def test_a_certificate_reaches_the_edge_and_https_is_published_where_it_is_asked_for() -> None:
    edge = resolved(TLS_CERT_FILE="/some/where/edge.pem", TLS_BIND="0.0.0.0:443")["edge"]
    assert {volume["target"]: volume["source"] for volume in edge["volumes"]}[PEM] == "/some/where/edge.pem"
    ports = {port["target"]: (port["host_ip"], port["published"]) for port in edge["ports"]}
    assert ports[5443] == ("0.0.0.0", "443")
    assert f" crt {PEM} " in (ROOT / "docker/haproxy.cfg").read_text()


@pytest.mark.parametrize(
    ("variable", "opened"),
    [("BIND", {"edge"}), ("UI_BIND", {"ui"}), ("OPERATIONS_BIND", {"alertmanager", "grafana", "mlflow", "prometheus"})],
)
def test_each_part_is_published_elsewhere_by_a_word_of_its_own(variable: str, opened: set[str]) -> None:
    services = resolved("--profile", "grafana", "--profile", "tracking", **{variable: "0.0.0.0"})
    ports = {(name, port["host_ip"]) for name, service in services.items() for port in service.get("ports", [])}
    assert {name for name, host_ip in ports if host_ip == "0.0.0.0"} == opened


def test_the_limits_fit_a_host_of_two_gigabytes_with_two_apis_during_a_roll(services: dict[str, dict]) -> None:
    always = sum(mb(services[name]) for name in ALWAYS if name != "train")
    assert always <= HOST_MB - HOST_NEEDS_MB
    assert always + mb(services["api"]) <= HOST_MB
    assert always + mb(services["postgres"]) <= HOST_MB - HOST_NEEDS_MB


def test_every_setting_reaches_the_api_or_is_read_for_the_stack(services: dict[str, dict]) -> None:
    of_the_stack = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT)) | {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
    missing = set(example_settings()) - set(services["api"]["environment"]) - of_the_stack
    assert missing == FIXED_IN_THE_IMAGE


def test_a_setting_of_the_environment_arrives() -> None:
    environment = resolved(MODEL_V1_WEIGHT="90", DRIFT_THRESHOLD="0.3")["api"]["environment"]
    assert environment["MODEL_V1_WEIGHT"] == "90"
    assert environment["DRIFT_THRESHOLD"] == "0.3"


def test_the_databases_password_reaches_those_who_use_it_and_nobody_else() -> None:
    services = resolved("--profile", "postgres", "--profile", "grafana", POSTGRES_PASSWORD="sesame")
    assert {name for name, service in services.items() if "sesame" in str(service)} == {
        "api",
        "monitor",
        "postgres",
        "train",
    }


def test_the_keys_to_the_bucket_reach_litestream_alone() -> None:
    given = {
        "LITESTREAM_BUCKET": "logs",
        "LITESTREAM_ACCESS_KEY_ID": "sesame",
        "LITESTREAM_SECRET_ACCESS_KEY": "sesame",
    }
    services = resolved("--profile", "litestream", **given)
    assert {name for name, service in services.items() if "sesame" in str(service)} == {"litestream"}
    # They leave checkpoints to Litestream.
    writers = ("api", "monitor", "train")
    assert {services[name]["environment"]["LITESTREAM_BUCKET"] for name in writers} == {"logs"}


def test_the_dashboard_is_never_given_the_administrators_token() -> None:
    assert "sesame" not in str(resolved(ADMIN_TOKEN="sesame")["ui"])


def test_the_file_of_a_token_is_named_to_the_parts_that_send_or_check_it() -> None:
    files = {f"{name}_FILE": f"/run/secrets/{name.lower()}" for name in VARIABLES}
    services = resolved(**files)
    given = {name: service.get("environment", {}) for name, service in services.items()}
    assert all(given[name].items() >= files.items() for name in ("api", "monitor", "train"))
    del files["ADMIN_TOKEN_FILE"]
    assert given["ui"].items() >= files.items()
    assert "ADMIN_TOKEN_FILE" not in given["ui"]


def test_the_scripts_take_the_override_file_beside_it(tmp_path: Path) -> None:
    script = f'source "{ROOT}/docker/lib.sh"; PROJECT_ROOT={tmp_path}; COMPOSE_COMMAND=echo compose up'
    assert "override" not in output("bash", "-c", script)
    override = tmp_path / "docker-compose.override.yml"
    override.touch()
    assert f"-f {tmp_path}/docker-compose.yml -f {override} -p" in output("bash", "-c", script)


def test_images_are_pinned(services: dict[str, dict]) -> None:
    foreign = [service["image"] for service in services.values() if not service["image"].startswith("bakeoff-")]
    assert all(re.search(r":v?\d+(\.\d+|-bookworm)", image) for image in foreign)
