"""What the module's variables refuse, and what they take: a table, run as one `terraform test`."""

from __future__ import annotations

import json

import pytest

from tests.infra.repository import ROOT
from tests.infra.terraform_runs import GIVEN, module_copy, terraform

pytestmark = pytest.mark.e2e

# What is refused: the variable whose message is shown, and the assignments.
REFUSED = [
    ("region", 'region = "Frankfurt"'),
    ("name", 'name = "Bake Off"'),
    ("name", 'name = "b"'),
    ("vpc_id", 'vpc_id = "default"'),
    ("subnet_id", 'subnet_id = "subnet-xyz"'),
    ("edge_cidrs", 'edge_cidrs = ["everyone"]'),
    ("edge_cidrs", 'edge_cidrs = ["203.0.113.7"]'),
    ("edge_cidrs", 'edge_cidrs = ["0.0.0.0/0"]'),
    ("edge_cidrs", 'edge_cidrs = ["::/0"]'),
    ("edge_cidrs", 'edge_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]'),
    ("edge_port", "edge_port = 22"),
    ("edge_port", "edge_port = 70000"),
    ("edge_port", "edge_port = 9090"),
    ("edge_port", "edge_port = 8501"),
    ("tls_port", "tls_port = 70000"),
    ("tls_port", "tls_port = 5000"),
    ("tls_port", "tls_port = 9093"),
    ("ui_cidrs", 'ui_cidrs = ["0.0.0.0/0"]'),
    ("ui_cidrs", 'ui_cidrs = ["0.0.0.0/0"]\nedge_open_to_world = true'),
    ("ui_port", "ui_port = 0"),
    ("ui_port", "ui_port = 5001"),
    ("database_port", "database_port = 0\ndatabase_cidrs = []"),
    ("database_port", "database_port = 6432"),
    ("database_cidrs", 'database_cidrs = ["db.example.org"]'),
    ("database_cidrs", 'database_cidrs = ["0.0.0.0/0"]'),
    ("database_cidrs", 'secret_parameters = { DATABASE_URL = "/bakeoff/database-url" }'),
    ("database_security_group_id", 'database_security_group_id = "default"'),
    ("ssh_public_key", 'ssh_public_key = "-----BEGIN OPENSSH"'),
    ("ssh_cidrs", 'ssh_cidrs = ["0.0.0.0/0"]\nssh_public_key = "ssh-ed25519 AAAA"'),
    ("ssh_cidrs", 'ssh_cidrs = ["203.0.113.7/32"]'),
    ("instance_type", 'instance_type = "large"'),
    ("instance_type", 'instance_type = "t3.micro"'),
    ("ami_id", 'ami_id = "debian"'),
    ("volume_gb", "volume_gb = 5"),
    ("volume_gb", "volume_gb = 20.5"),
    ("data_volume_gb", "data_volume_gb = 5"),
    ("data_volume_gb", "data_volume_gb = 20000"),
    ("data_snapshot_id", 'data_snapshot_id = "latest"'),
    ("data_snapshot_id", 'data_snapshot_id = "snap-0a"\ndata_volume_gb = null'),
    ("elastic_ip", "elastic_ip = true\npublic_ip = false"),
    ("alarm_email", 'alarm_email = "operator"'),
    ("alarm_email", 'alarm_email = "operator@example.com"\nalarms = false'),
    ("log_retention_days", "log_retention_days = 31"),
    ("release_url", 'release_url = "ftp://releases.example.com/x.tar.gz"'),
    ("release_url", 'release_url = "https://releases.example.com/x\'; reboot #"'),
    ("release_url", 'release_url = "https://user:word@releases.example.com/x.tar.gz"'),
    ("release_url", 'release_url = "https://b.example.com/x.tar.gz?X-Amz-Signature=0"'),
    ("release_sha256", 'release_sha256 = "latest"'),
    ("image_registry", 'image_registry = "registry.example.com/team"'),
    ("image_tag", 'image_tag = "v1; reboot"'),
    ("compose_url", 'compose_url = "/tmp/compose"\ncompose_sha256 = "' + "0" * 64 + '"'),
    ("compose_sha256", 'compose_url = "https://example.com/compose"'),
    ("settings", 'settings = { lower = "1" }'),
    ("settings", 'settings = { MODEL_V1_WEIGHT = "1\\nADMIN_TOKEN=x" }'),
    ("settings", 'settings = { ADMIN_TOKEN = "x" }'),
    ("settings", 'settings = { NOTIFY_WEBHOOK_URL = "https://example.com/x" }'),
    ("settings", 'settings = { API_PORT = "80" }'),
    ("settings", 'settings = { ADMIN_BIND = "0.0.0.0:5001" }'),
    ("settings", 'settings = { OPERATIONS_BIND = "0.0.0.0" }'),
    ("secret_parameters", 'secret_parameters = { ADMIN_TOKEN = "the token itself" }'),
    ("backup_days", "backup_days = 0"),
    ("backup_time", 'backup_time = "24:00"'),
    ("snapshot_count", "snapshot_count = -1"),
    ("snapshot_count", "snapshot_count = 1001"),
    ("snapshot_hours", "snapshot_hours = 5"),
    ("snapshot_time", 'snapshot_time = "3:30"'),
    ("list_prices_usd", "list_prices_usd = { gp3 = -1 }"),
    ("list_prices_usd", "list_prices_usd = { disk = 1 }"),
]
TAKEN = [
    "edge_cidrs = []",
    'edge_cidrs = ["0.0.0.0/0", "::/0"]\nedge_open_to_world = true',
    'edge_cidrs = ["10.0.0.0/8", "2001:db8::/32"]',
    'ssh_cidrs = ["203.0.113.7/32"]\nssh_public_key = "ssh-ed25519 AAAAC3 me@example.com"',
    'release_url = "s3://releases.example/bakeoff-1.0.tar.gz"',
    'image_registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"',
    'subnet_id = "subnet-0a"\nvpc_id = "vpc-0a"',
    'settings = { MODEL_V1_WEIGHT = "90", REWARD_RANGE = "0,1" }\nsecret_parameters = { API_TOKEN = "/b/api-token" }',
    'instance_type = "m7g.large"\npublic_ip = false\nedge_port = 80\ntls_port = 443',
    'alarm_email = "operator@example.com"\nship_logs = false',
    'secret_parameters = { DATABASE_URL = "/b/url" }\ndatabase_cidrs = ["10.0.7.12/32"]\ndatabase_port = 6432',
    'secret_parameters = { DATABASE_URL = "/b/url" }\ndatabase_cidrs = []',
    'secret_parameters = { DATABASE_URL = "/b/url" }\ndatabase_security_group_id = "sg-0a"',
    "data_volume_gb = null\nsnapshot_count = 0\ntermination_protection = false",
    'data_snapshot_id = "snap-0a"\nsnapshot_hours = 1\nlist_prices_usd = { "t3.large" = 0.096, gp3 = 0 }',
]
# A rule that looks at other variables is not asked where one of those is refused itself.
COMPARED_WITH = {
    "edge_cidrs": ("edge_open_to_world",),
    "edge_port": ("ui_port",),
    "tls_port": ("edge_port", "ui_port"),
    "ssh_cidrs": ("ssh_public_key",),
    "elastic_ip": ("public_ip",),
    "compose_sha256": ("compose_url",),
    "alarm_email": ("alarms",),
    "database_port": ("database_cidrs", "database_security_group_id", "secret_parameters"),
    "database_cidrs": ("secret_parameters", "database_security_group_id"),
    "data_snapshot_id": ("data_volume_gb",),
}


def assigned(row: tuple[str, str]) -> set[str]:
    """The variables that a row is about."""
    variable, assignments = row
    return {
        variable,
        *COMPARED_WITH.get(variable, ()),
        *(line.split(" = ")[0] for line in assignments.splitlines()),
    }


def packs() -> list[list[tuple[str, str]]]:
    """The refused rows in few plans: Terraform names every variable that it refuses, not the first alone."""
    made: list[list[tuple[str, str]]] = []
    for row in REFUSED:
        fitting = (pack for pack in made if not any(assigned(row) & assigned(other) for other in pack))
        pack = next(fitting, None)
        if pack is None:
            made.append([row])
        else:
            pack.append(row)
    return made


PACKS = packs()
NUMBER_OF_PACK = {row: number for number, pack in enumerate(PACKS) for row in pack}


def one_run(name: str, assignments: str, refused_by: list[str]) -> str:
    """One `run` block: a plan with these assignments, which fails at each of those variables and at no other."""
    expected = ", ".join(f"var.{variable}" for variable in refused_by)
    return f'run "{name}" {{\ncommand = plan\nvariables {{\n{assignments}\n}}\nexpect_failures = [{expected}]\n}}\n'


def all_runs() -> str:
    refused = [
        one_run(f"refused_{i}", "\n".join(row[1] for row in pack), [row[0] for row in pack])
        for i, pack in enumerate(PACKS)
    ]
    return "".join(refused + [one_run(f"taken_{i}", row, []) for i, row in enumerate(TAKEN)])


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each run ended: pass, fail or error, by name."""
    module = module_copy(tmp_path_factory.mktemp("terraform"))
    given = "\n".join(f"{name} = {value if value[0] == '[' else json.dumps(value)}" for name, value in GIVEN.items())
    text = f'mock_provider "aws" {{\nsource = "./tests/aws"\n}}\nvariables {{\n{given}\n}}\n' + all_runs()
    (module / "tests" / "table.tftest.hcl").write_text(text)
    result = terraform(module, "test", "-json", "-filter=tests/table.tftest.hcl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {
        line["test_run"]["run"]: line["test_run"]["status"] for line in lines if "status" in line.get("test_run", {})
    }


@pytest.mark.parametrize("row", REFUSED, ids=[row[1] for row in REFUSED])
def test_it_refuses(status: dict[str, str], row: tuple[str, str]) -> None:
    assert status[f"refused_{NUMBER_OF_PACK[row]}"] == "pass", PACKS[NUMBER_OF_PACK[row]]


@pytest.mark.parametrize("number", range(len(TAKEN)), ids=TAKEN)
def test_it_takes(status: dict[str, str], number: int) -> None:
    assert status[f"taken_{number}"] == "pass"


def test_every_variable_with_a_rule_has_a_row() -> None:
    blocks = (ROOT / "terraform" / "variables.tf").read_text().split('\nvariable "')[1:]
    ruled = {block.split('"')[0] for block in blocks if "validation {" in block}
    assert ruled == {variable for variable, _ in REFUSED}
