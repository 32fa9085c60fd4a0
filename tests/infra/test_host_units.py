"""The units of terraform/host: systemd takes them, and a failure of any is told to somebody."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

HOST = ROOT / "terraform" / "host"
UNITS = sorted([*HOST.glob("*.service"), *HOST.glob("*.timer")])
TELLS = "bakeoff-alert@.service"
FAILED = {"alertname": "UnitFailed", "severity": "critical", "unit": "bakeoff-backup", "host": os.uname().nodename}


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_a_failure_of_each_unit_is_told(unit: Path) -> None:
    assert ("\nOnFailure=bakeoff-alert@%N.service\n" in unit.read_text()) is (unit.name != TELLS)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: the units were not verified")
def test_systemd_has_no_complaint_about_a_unit(tmp_path: Path) -> None:
    for unit in UNITS:
        text = re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", unit.read_text(), flags=re.M)
        # Docker is not on every machine that runs this, and an instance needs its name.
        text = text.replace("@BACKUP_TIME@", "02:30").replace("Requires=docker.service", "Wants=docker.service")
        (tmp_path / unit.name.replace("@.", "@bakeoff.")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "bakeoff" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


@pytest.mark.parametrize("name", ["bakeoff", "bakeoff-backup", "bakeoff-restore-drill"])
def test_a_success_ends_the_alert_of_a_unit_that_ends_or_starts_something(name: str) -> None:
    ends = ("\nOnSuccess=bakeoff-alert@%N.service\n", f"\nExecStartPost=-/usr/local/lib/bakeoff/unit-alert.sh {name}\n")
    assert [text in (HOST / f"{name}.service").read_text() for text in ends] == [name != "bakeoff", name == "bakeoff"]


def test_the_file_of_the_journal_can_be_cut_while_it_is_written() -> None:
    assert "copytruncate" in (HOST / "journal.logrotate").read_text()
    assert "\nStandardOutput=append:" in (HOST / "bakeoff-journal.service").read_text()


# Stands for the control of CloudWatch's agent, which keeps settings by the names of their files.
AGENT = """#!/bin/sh
case "$*" in *"-a fetch-config "*) rm -f "$KEPT"/* ;; esac
for last; do :; done
cp "${last#file:}" "$KEPT/"
"""


@pytest.mark.parametrize(
    ("alarms", "ship_logs", "collected"),
    [
        ("yes", "yes", {"metrics", "logs"}),
        ("yes", "no", {"metrics"}),
        ("no", "yes", {"logs"}),
        ("no", "no", {"before"}),
    ],
)
def test_the_agent_collects_what_alarms_and_logs_need(
    tmp_path: Path, alarms: str, ship_logs: str, collected: set[str]
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "earlier.json").write_text('{"before": {}}')
    for name, text in (("agent", AGENT), ("systemctl", "#!/bin/sh\n"), ("install", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    functions = (HOST / "setup.sh").read_text().replace('main "$@"', "")
    functions = functions.replace(
        "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl", str(tmp_path / "agent")
    )
    (tmp_path / "setup.sh").write_text(functions)
    settings = f"HERE='{HOST}' CONFIG={tmp_path} LOG_GROUP=/x ALARMS={alarms} SHIP_LOGS={ship_logs}"
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KEPT": str(tmp_path / "kept")}
    program = f". {tmp_path}/setup.sh; {settings}; start_agent"
    subprocess.run(["bash", "-c", program], env=env, check=True, timeout=60)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "kept").iterdir()]
    assert {part for each in kept for part in each} - {"agent"} == collected


# Stands for the AWS CLI: a bucket with two backups.
BUCKET = """#!/bin/sh
case "$1 $2" in
  "s3 ls")
    echo "2026-11-28 02:30:09 1073741824 2026-11-28T023005Z-a.tar.gz"
    echo "2026-11-27 02:30:09 9 2026-11-27T023005Z-a.tar.gz"
    ;;
  "s3 cp") for last; do :; done; echo copied >"$last" ;;
esac
"""


def on_a_host(
    place: Path, script: str, bucket: str, free_mb: int, **of_docker: str
) -> subprocess.CompletedProcess[str]:
    """A script of the host with a stand-in for the AWS CLI, so much room, and these scripts in docker/."""
    (place / "docker").mkdir()
    (place / "host.conf").write_text("REGION=eu-central-1 BACKUP_BUCKET=b\n")
    text = (HOST / script).read_text().replace("=/opt/bakeoff\n", f"={place}\n")
    for name, written in {
        "aws": bucket,
        "df": f"#!/bin/sh\necho head; echo /dev/x 9 9 {free_mb * 1024} 9% /\n",
        "script": text.replace("=/etc/bakeoff\n", f"={place}\n"),
        **{f"docker/{name}.sh": body for name, body in of_docker.items()},
    }.items():
        (place / name).write_text(written)
        (place / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    return subprocess.run([str(place / "script")], env=env, capture_output=True, text=True, timeout=60)


def monthly_drill(place: Path, bucket: str, free_mb: int) -> subprocess.CompletedProcess[str]:
    says = '#!/bin/sh\necho "tried ${1##*/}: $(cat "$1") $2 $3"\n'
    return on_a_host(place, "restore-drill.sh", bucket, free_mb, restore_drill=says)


@pytest.mark.parametrize(("free_mb", "tried"), [(1600, True), (1500, False)])
def test_a_drill_copies_the_newest_backup_where_there_is_room(tmp_path: Path, free_mb: int, tried: bool) -> None:
    done = monthly_drill(tmp_path, BUCKET, free_mb)
    assert (done.returncode == 0) is tried, done.stderr
    if tried:
        assert done.stdout == "tried 2026-11-28T023005Z-a.tar.gz: copied --max-age 48\n"
    else:
        assert "1500 MB are free in /var/tmp: this backup needs 1536 MB" in done.stderr


@pytest.mark.parametrize(("status", "said"), [(1, "there is no backup in b"), (254, "could not be listed")])
def test_a_drill_tells_an_empty_bucket_from_one_that_cannot_be_read(tmp_path: Path, status: int, said: str) -> None:
    done = monthly_drill(tmp_path, f"#!/bin/sh\nexit {status}\n", 1600)
    assert done.returncode == 1
    assert said in done.stderr


# Stands for docker/backup.sh of this release, and of the one before, which knows no words.
MAKES = (
    '#!/bin/sh\ncase "$1" in --stamp) echo stamped ;; --no-stamp) echo made; echo backup >"$2" ;; *) exit 2 ;; esac\n'
)
OLDER = '#!/bin/sh\ncase "$1" in -*) exit 2 ;; *) echo made and stamped; echo backup >"$1" ;; esac\n'
TAKES = BUCKET.replace('echo copied >"$last"', "echo uploaded")
TAKES_NONE = BUCKET.replace('"s3 cp") for', '"s3 cp") exit 1; for')


@pytest.mark.parametrize(
    ("body", "said"), [(MAKES, ["made", "uploaded", "stamped"]), (OLDER, ["made and stamped", "uploaded"])]
)
def test_a_backup_is_stamped_once_it_is_in_the_bucket(tmp_path: Path, body: str, said: list[str]) -> None:
    done = on_a_host(tmp_path, "nightly-backup.sh", TAKES, 2048, backup=body)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "s3://" not in line] == said


def test_a_backup_that_does_not_arrive_is_not_stamped(tmp_path: Path) -> None:
    done = on_a_host(tmp_path, "nightly-backup.sh", TAKES_NONE, 2048, backup=MAKES)
    assert (done.returncode, done.stdout) == (1, "made\n")
    assert "the upload to b failed" in done.stderr


def test_a_backup_that_would_fill_the_disk_is_not_begun(tmp_path: Path) -> None:
    done = on_a_host(tmp_path, "nightly-backup.sh", TAKES, 2047, backup=MAKES)
    assert (done.returncode, done.stdout) == (1, "")
    assert "2047 MB are free in /var/tmp, and 2048 are needed" in done.stderr
    assert "docker image prune" in done.stderr


@pytest.mark.parametrize(("status", "made"), [(1, True), (254, False)])
def test_a_first_backup_is_told_from_a_bucket_that_cannot_be_read(tmp_path: Path, status: int, made: bool) -> None:
    bucket = f'#!/bin/sh\n[ "$2" != ls ] || exit {status}\n'
    done = on_a_host(tmp_path, "nightly-backup.sh", bucket, 512, backup=MAKES)
    assert (done.returncode == 0) is made, done.stderr
    assert ("could not be read" in done.stderr) is not made


class Receiver(ThreadingHTTPServer):
    """Takes what is posted, and answers 200."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, object]] = []
        received = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def alert(folder: Path, *words: str, failed: bool = True, **settings: object) -> subprocess.CompletedProcess[str]:
    """What unit-alert.sh did, for a stack with these settings and a unit in this state."""
    text = (HOST / "unit-alert.sh").read_text()
    assert "RELEASE=/opt/bakeoff\n" in text
    script = folder / "unit-alert.sh"
    script.write_text(text.replace("RELEASE=/opt/bakeoff\n", f"RELEASE={folder}\n").replace("--retry 2", "--retry 0"))
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (folder / "systemctl").write_text(f"#!/bin/sh\nexit {0 if failed else 1}\n")
    (folder / "systemctl").chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["bash", str(script), *words], env=env, capture_output=True, text=True, timeout=60)


def test_a_failure_is_an_alert_of_alertmanager_and_a_line_of_the_journal(tmp_path: Path) -> None:
    with receiver() as alertmanager:
        done = alert(tmp_path, "bakeoff-backup", ALERTMANAGER_PORT=alertmanager.server_port)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<3>bakeoff: bakeoff-backup.service failed")
    [(path, [posted])] = alertmanager.posted
    assert (path, posted["labels"]) == ("/api/v2/alerts", FAILED)
    assert posted["startsAt"] < posted["endsAt"]
    assert {"summary", "description", "runbook"} == set(posted["annotations"])


def test_once_the_unit_succeeds_the_alert_ends_and_nothing_is_said(tmp_path: Path) -> None:
    with receiver() as alertmanager:
        done = alert(tmp_path, "bakeoff-backup", failed=False, ALERTMANAGER_PORT=alertmanager.server_port)
    assert (done.returncode, done.stdout) == (0, "")
    [(_, [posted])] = alertmanager.posted
    assert posted["labels"] == FAILED  # those of the failure, or it would be another alert
    assert posted["startsAt"] <= posted["endsAt"]


def test_where_alertmanager_does_not_answer_the_webhook_gets_what_alertmanager_would_send(tmp_path: Path) -> None:
    with receiver() as webhook:
        url = f"http://127.0.0.1:{webhook.server_port}/hook?key=secret"
        done = alert(tmp_path, "bakeoff-backup", ALERTMANAGER_PORT=1, NOTIFY_WEBHOOK_URL=url)
    assert done.returncode == 0, done.stderr
    assert "NOTIFY_WEBHOOK_URL has the alert" in done.stdout
    [(path, posted)] = webhook.posted
    assert path == "/hook?key=secret"
    assert [(each["status"], each["labels"]) for each in posted["alerts"]] == [("firing", FAILED)]
    assert "secret" not in done.stdout + done.stderr


def test_without_a_receiver_the_journal_says_that_nobody_hears(tmp_path: Path) -> None:
    done = alert(tmp_path, "bakeoff", ALERTMANAGER_PORT=1)
    assert "nobody hears of it but this journal" in done.stdout


def test_a_receiver_that_takes_nothing_is_a_failure_of_its_own(tmp_path: Path) -> None:
    done = alert(tmp_path, "bakeoff", ALERTMANAGER_PORT=1, NOTIFY_WEBHOOK_URL="http://127.0.0.1:1/")
    assert done.returncode == 1
    assert "neither Alertmanager nor NOTIFY_WEBHOOK_URL took the alert" in done.stdout


@pytest.mark.parametrize("words", [[], ["no unit"], ['x", "y']])
def test_it_wants_the_name_of_a_unit(tmp_path: Path, words: list[str]) -> None:
    assert alert(tmp_path, *words).returncode == 2
