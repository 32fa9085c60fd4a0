"""The user data as AWS would hand it out, run on a host with systemd: what it leaves there, also after a reboot."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import ipaddress
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.infra.repository import ROOT
from tests.infra.terraform_runs import aws_stand_in, module_copy, terraform, variables
from tests.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
NAME = f"bakeoff-user-data-{os.getpid()}"
UPSTREAM = ["haproxy:2.6-bookworm", "prom/prometheus:v2.53.3", "prom/alertmanager:v0.28.1"]
# Stands for the AWS CLI: a parameter store with one secret, a bucket that is a folder, and metrics in a file. While
# /run/aws-is-away is there, it fails.
AWS_CLI = """#!/bin/sh
[ ! -f /run/aws-is-away ] || { echo "Could not connect to the endpoint URL" >&2; exit 255; }
for last; do :; done
case "$1 $2" in
  "ssm get-parameter") echo https://127.0.0.1:9/a-secret-from-the-store ;;
  "s3 ls") ls -l "/var/lib/bucket/${last#s3://}" | awk 'NR > 1 { print "2026-01-02 03:04:05", $5, $NF }' ;;
  "s3 cp")
    shift $(($# - 2))
    case "$1" in
      s3://*) cp "/var/lib/bucket/${1#s3://}" "$2" ;;
      *) mkdir -p "/var/lib/bucket/$(dirname "${2#s3://}")"; cp "$1" "/var/lib/bucket/${2#s3://}" ;;
    esac ;;
  "cloudwatch put-metric-data") echo "$*" >>/var/lib/metrics ;;
  *) exit 1 ;;
esac
"""


def command(*arguments: str, stdin: str | None = None, seconds: int = 600) -> str:
    """What a command of the repository printed; an error holds all it said."""
    result = subprocess.run(
        arguments, capture_output=True, text=True, cwd=ROOT, input=stdin, timeout=seconds, check=False
    )
    assert result.returncode == 0, f"{arguments}: {result.stdout[-2000:]}{result.stderr[-3000:]}"
    return result.stdout.strip()


def on_host(script: str, stdin: str | None = None) -> str:
    return command(".ci/host", "ssh", NAME, script, stdin=stdin)


def release(folder: Path) -> Path:
    """A release made of the files of this tree."""
    archive = folder / "bakeoff.tar.gz"
    listing = command("git", "ls-files", "-co", "--exclude-standard", "-z")
    command("tar", "--null", "-T", "-", "--ignore-failed-read", "-czf", str(archive), stdin=listing)
    return archive


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL under which hosts find the folder's files."""
    subnet = json.loads(command("docker", "network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Subnet"]
    bridge = str(next(ipaddress.ip_network(subnet).hosts()))  # older engines do not name the gateway
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer((bridge, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{bridge}:{server.server_port}"
        server.shutdown()


def user_data(folder: Path, **values: str) -> str:
    """What the stand-in for AWS has as the instance's user data, after Terraform made it."""
    module = module_copy(folder)
    # The container that is the host has no such disk. On the command line null would be a text.
    (module / "host.auto.tfvars").write_text("data_volume_gb = null\n")
    with aws_stand_in() as url:
        arguments = ["-auto-approve", "-target=aws_instance.host", *variables(**values)]
        result = terraform(module, "apply", *arguments, AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
        state = json.loads(terraform(module, "show", "-json").stdout)["values"]["root_module"]["resources"]
        instance = next(entry["values"]["id"] for entry in state if entry["address"] == "aws_instance.host")
        return read_back(url, instance)


def read_back(url: str, instance: str) -> str:
    """The user data by EC2's own call; the stand-in wants a signature and does not check it."""
    asked = {"Action": "DescribeInstanceAttribute", "InstanceId": instance, "Attribute": "userData"}
    scope = "Credential=dummy/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(
        url,
        data=urllib.parse.urlencode(asked | {"Version": "2016-11-15"}).encode(),
        headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        encoded = re.search(r"<value>(.*?)</value>", answer.read().decode(), re.S)
    assert encoded
    return base64.b64decode(encoded[1]).decode()


def ask(address: str, path: str, body: object = None) -> dict:
    """The JSON answer of the host's edge; waits a little where it is just starting."""
    data = None if body is None else json.dumps(body).encode()

    def answered() -> dict:
        with urllib.request.urlopen(f"http://{address}:5000{path}", data=data, timeout=10) as answer:
            return json.load(answer)

    return eventually(answered, 120, lambda: f"{path} of {address} did not answer", ignoring=OSError)


def inside(path: str) -> dict:
    """The JSON answer to the host itself, where Terraform puts administration and reading."""
    return json.loads(on_host(f"curl -sf 'http://127.0.0.1:5001{path}'"))


@pytest.fixture(scope="module")
def script(stack_images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The user data; the release that it names is served as long as the tests run."""
    folder = tmp_path_factory.mktemp("release")
    archive = release(folder)
    with served(folder) as url:
        yield user_data(
            tmp_path_factory.mktemp("terraform"),
            release_url=f"{url}/{archive.name}",
            release_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
            image_tag=stack_images,
            settings='{"MODEL_V1_WEIGHT": "80", "MODEL_V2_WEIGHT": "20"}',
            secret_parameters='{"NOTIFY_WEBHOOK_URL": "/bakeoff/webhook"}',
        )


@pytest.fixture(scope="module")
def address(script: str) -> Iterator[str]:
    """The address of a host on which the user data has run."""
    tag = re.search(r"BAKEOFF_TAG='(.*)'", script)
    assert tag
    try:
        found = command(".ci/host", "start", NAME, "docker").splitlines()[-1]
        command(".ci/host", "load", NAME, f"bakeoff-api:{tag[1]}", f"bakeoff-ui:{tag[1]}", *UPSTREAM)
        on_host("cat >/usr/local/bin/aws && chmod 755 /usr/local/bin/aws", stdin=AWS_CLI)
        on_host("cat >/run/user-data && bash /run/user-data", stdin=script)
        yield found
    finally:
        subprocess.run([".ci/host", "stop", NAME], cwd=ROOT, capture_output=True, timeout=120, check=False)


def test_shellcheck_has_no_complaint_about_it(script: str) -> None:
    command(str(ROOT / ".venv/bin/shellcheck"), "-", stdin=script)


def test_the_edge_answers_with_the_settings_that_were_given(address: str) -> None:
    assert ask(address, "/health")["status"] == "healthy"
    assert inside("/config")["weights"] == {"v1": 0.8, "v2": 0.2}


def test_only_the_host_itself_reaches_administration_reading_and_metrics(address: str) -> None:
    for path in ("/config", "/audit", "/metrics"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{address}:5000{path}", timeout=10)


def test_beyond_the_host_only_the_edge_is_published(address: str) -> None:
    ports = on_host("docker ps --format '{{ .Ports }}'")
    published = set(re.findall(r"([\d.:]+):(\d+)->", ports))
    assert {port for host_ip, port in published if host_ip != "127.0.0.1"} == {"5000"}
    assert {"8501", "9090", "9093"} <= {port for _, port in published}


def test_the_token_is_made_on_the_host_and_only_root_reads_it(address: str, script: str) -> None:
    token = on_host("sed -n s/^ADMIN_TOKEN=//p /opt/bakeoff/.env")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert on_host("stat -c '%a %U' /opt/bakeoff/.env") == "600 root"
    assert token not in script


def test_a_secret_of_the_parameter_store_arrives_and_is_not_in_the_user_data(address: str, script: str) -> None:
    arrived = on_host("sed -n s/^NOTIFY_WEBHOOK_URL=//p /opt/bakeoff/.env")
    assert arrived == "https://127.0.0.1:9/a-secret-from-the-store"
    assert "a-secret-from-the-store" not in script


def test_running_it_again_changes_nothing(address: str) -> None:
    before = on_host("sha256sum /opt/bakeoff/.env; docker ps -q | sort")
    on_host("bash /run/user-data")
    assert on_host("sha256sum /opt/bakeoff/.env; docker ps -q | sort") == before


def test_a_release_with_another_checksum_is_refused_and_leaves_nothing(address: str) -> None:
    forged = 'sed -e "s/^RELEASE_SHA256=.*/RELEASE_SHA256=$(printf 0%.0s $(seq 64))/" -e s,/opt/bakeoff,/opt/forged,'
    said = on_host(f"{forged} /run/user-data >/run/forged; bash /run/forged 2>&1 || ls -A /opt")
    assert "does not have the SHA-256" in said
    assert said.splitlines()[-1] == "bakeoff"


def test_the_nightly_backup_reaches_the_bucket(address: str) -> None:
    assert on_host("systemctl is-active bakeoff-backup.timer") == "active"
    on_host("systemctl start bakeoff-backup.service || { journalctl -u bakeoff-backup -n 30 >&2; false; }")
    saved = on_host("find /var/lib/bucket -name '*.tar.gz' -size +1k")
    assert re.search(r"/bakeoff-backups-[^/]+/backups/20\d\d-\S+\.tar\.gz$", saved)


def test_a_backup_that_arrived_is_told_to_cloudwatch(address: str) -> None:
    told = on_host("cat /var/lib/metrics").splitlines()
    assert "--namespace Bakeoff --metric-name BackupUploaded --dimensions Deployment=bakeoff --value 1" in told[-1]


def test_the_newest_backup_of_the_bucket_is_restored_to_try_it(address: str) -> None:
    assert on_host("systemctl is-active bakeoff-restore-drill.timer") == "active"
    drill = "systemctl start bakeoff-restore-drill || { journalctl -u bakeoff-restore-drill -n 40 >&2; false; }"
    on_host(drill)
    assert "can be relied on" in on_host("journalctl -u bakeoff-restore-drill --output=cat")
    eventually(lambda: "last_restore_drill_timestamp_seconds " in on_host("curl -sf http://127.0.0.1:5001/metrics"))


def unit_alerts() -> list[str]:
    """The units of which Alertmanager on the host has an alert."""
    alerts = json.loads(on_host("curl -sf http://127.0.0.1:9093/api/v2/alerts"))
    return [alert["labels"]["unit"] for alert in alerts if alert["labels"]["alertname"] == "UnitFailed"]


def test_a_unit_that_fails_is_an_alert_until_it_succeeds(address: str) -> None:
    assert unit_alerts() == []
    on_host("touch /run/aws-is-away; ! systemctl start bakeoff-backup")
    eventually(lambda: unit_alerts() == ["bakeoff-backup"])
    assert "bakeoff-backup.service failed" in on_host("journalctl -p err --output=cat --boot")
    on_host("rm /run/aws-is-away; systemctl start bakeoff-backup")
    eventually(lambda: unit_alerts() == [])


def test_the_journal_is_in_a_file_for_the_agent_that_root_alone_reads(address: str) -> None:
    # Where no agent can be installed, nobody would read it and it does not run.
    assert on_host("systemctl is-active bakeoff-journal || true") == "inactive"
    on_host("systemctl start bakeoff-journal")
    eventually(lambda: on_host("grep -c bakeoff /var/log/bakeoff/journal.log || true") not in ("", "0"))
    assert on_host("stat -c '%a %U' /var/log/bakeoff") == "700 root"
    on_host("systemctl stop bakeoff-journal")


def test_where_a_key_was_given_the_login_user_may_deploy(address: str) -> None:
    on_host("useradd admin; sed -i s/^SSH_LOGIN=.*/SSH_LOGIN=yes/ /etc/bakeoff/host.conf")
    on_host("/opt/bakeoff/terraform/host/setup.sh")
    assert on_host("su admin -c 'docker ps -q && touch /opt/bakeoff/.env && stat -c %U:%a /opt/bakeoff/.env'").endswith(
        "admin:600"
    )


def history() -> list[str]:
    """The ids of the newest predictions."""
    return [row["prediction_id"] for row in inside("/predictions/history?limit=10")["predictions"]]


def test_after_a_reboot_it_answers_and_remembers(address: str) -> None:
    served_before = ask(address, "/predict", {"features": [5.1, 3.5, 1.4, 0.2]})["prediction_id"]
    eventually(lambda: served_before in history())  # the answer comes before its row in the log
    command(".ci/host", "reboot", NAME)
    # Another container may have got its address meanwhile.
    now = command(
        "docker", "inspect", "-f", "{{ range .NetworkSettings.Networks }}{{ .IPAddress }}{{ end }}", NAME
    ).strip()
    assert ask(now, "/health")["status"] == "healthy"
    assert served_before in history()
    assert on_host("systemctl is-active bakeoff.service") == "active"
