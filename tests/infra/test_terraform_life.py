"""The module from its first apply to its end, against a stand-in for AWS (which ignores rights and encryption)."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.terraform_runs import aws_stand_in, module_copy, terraform, variables

pytestmark = pytest.mark.e2e
ARGUMENTS = ["-no-color", *variables(ui_cidrs='["203.0.113.0/24"]', elastic_ip="true")]


def signed(service: str, url: str, body: bytes | None = None, method: str | None = None) -> str:
    """What a service answers; the stand-in wants a signature and does not check it."""
    scope = f"Credential=dummy/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    words = {"Authorization": f"AWS4-HMAC-SHA256 {scope}"}
    request = urllib.request.Request(url, data=body, headers=words, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def asked(url: str, action: str, **words: str) -> str:
    """What EC2's own call answers."""
    body = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15"} | words).encode()
    return signed("ec2", url, body)


def outputs(module: Path) -> dict[str, str]:
    """What the module puts out; quicker than its whole state, for which Terraform starts the provider."""
    return {name: entry["value"] for name, entry in json.loads(terraform(module, "output", "-json").stdout).items()}


def attached(module: Path, url: str) -> tuple[str, str]:
    """The data volume, and the host that it is attached to by EC2's own word."""
    volume = outputs(module)["data_volume_id"]
    [host] = re.findall(r"<instanceId>(.*?)</instanceId>", asked(url, "DescribeVolumes", **{"VolumeId.1": volume}))
    return volume, host


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The module's folder after an apply, and the URL of the stand-in."""
    module = module_copy(tmp_path_factory.mktemp("terraform"))
    with aws_stand_in() as url:
        result = terraform(module, "apply", "-auto-approve", *ARGUMENTS, AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
        # The stand-in forgets this one word of the host's creation.
        protection = {"InstanceId": outputs(module)["instance_id"], "DisableApiTermination.Value": "true"}
        asked(url, "ModifyInstanceAttribute", **protection)
        yield module, url


def test_the_outputs_say_where_things_are(applied: tuple[Path, str]) -> None:
    module, _ = applied
    found = outputs(module)
    assert found["api_url"].startswith("http://")
    assert found["connect"].endswith(found["instance_id"])
    assert found["backup_bucket"].startswith("bakeoff-backups-")


def test_a_second_plan_finds_nothing_to_change(applied: tuple[Path, str]) -> None:
    module, url = applied
    result = terraform(module, "plan", "-detailed-exitcode", *ARGUMENTS, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stdout


def test_a_new_release_does_not_touch_the_running_host(applied: tuple[Path, str]) -> None:
    module, url = applied
    newer = variables(release_url="https://releases.example.com/bakeoff-2.0.tar.gz")
    result = terraform(module, "plan", "-detailed-exitcode", *ARGUMENTS, *newer, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stdout


UNPROTECTED = "-var=termination_protection=false"


def test_a_protected_host_is_neither_stopped_nor_destroyed(applied: tuple[Path, str]) -> None:
    module, url = applied
    before = attached(module, url)
    result = terraform(module, "destroy", "-auto-approve", *ARGUMENTS, AWS_ENDPOINT_URL=url)
    assert result.returncode == 1
    assert "disableApi" in result.stderr
    assert "<name>running</name>" in asked(url, "DescribeInstances")
    assert "<status>attached</status>" in asked(url, "DescribeVolumes", **{"VolumeId.1": before[0]})
    # What the attempt took away comes back.
    result = terraform(module, "apply", "-auto-approve", *ARGUMENTS, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stderr
    assert attached(module, url) == before


def test_a_replaced_host_has_the_volume_of_the_one_before(applied: tuple[Path, str]) -> None:
    module, url = applied
    volume, host = attached(module, url)
    words = ["-auto-approve", *ARGUMENTS, UNPROTECTED]
    for more in ([], ["-replace=aws_instance.host"]):
        result = terraform(module, "apply", *words, *more, AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
    kept, new = attached(module, url)
    assert kept == volume
    assert new != host
    result = terraform(module, "plan", "-detailed-exitcode", *ARGUMENTS, UNPROTECTED, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stdout


def test_it_can_be_destroyed_and_leaves_a_last_snapshot(applied: tuple[Path, str]) -> None:
    module, url = applied
    volume, _ = attached(module, url)
    result = terraform(module, "destroy", "-auto-approve", *ARGUMENTS, UNPROTECTED, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stderr
    assert terraform(module, "state", "list").stdout == ""
    assert f"<volumeId>{volume}</volumeId>" in asked(url, "DescribeSnapshots")


def test_the_example_keeps_the_state_in_a_bucket_and_one_at_a_time_changes_it(tmp_path: Path) -> None:
    module = module_copy(tmp_path)
    shutil.copy(module / "backend.tf.example", module / "backend.tf")
    with aws_stand_in() as url:
        place = f"{url}/my-terraform-state"
        region = b"<LocationConstraint>eu-central-1</LocationConstraint>"
        signed("s3", place, b"<CreateBucketConfiguration>" + region + b"</CreateBucketConfiguration>", "PUT")
        # The stand-in has an address, and no name below which buckets could be.
        result = terraform(module, "init", "-backend-config=use_path_style=true", AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
        words = ["-auto-approve", "-no-color", "-target=aws_cloudwatch_log_group.host", *variables()]
        result = terraform(module, "apply", *words, AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
        assert "aws_cloudwatch_log_group" in signed("s3", f"{place}/bakeoff/terraform.tfstate")
        assert not (module / "terraform.tfstate").exists()
        lock = f"{place}/bakeoff/terraform.tfstate.tflock"
        signed("s3", lock, b'{"ID": "1", "Who": "somebody else"}', "PUT")
        result = terraform(module, "apply", *words, AWS_ENDPOINT_URL=url)
        assert result.returncode == 1
        assert re.search(r"Error acquiring the state lock[\s\S]*StatusCode:\s*412", result.stderr)
