"""What docker/*.sh say where something is missing: a `docker` that behaves as set stands for the engine."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT
from tests.infra.terraform_runs import aws_stand_in

NEEDED = [
    *("bash", "env", "sed", "grep", "awk", "tail", "head", "id", "df", "dirname", "mktemp", "mv", "cat", "rm", "date"),
    *("gzip", "stat", "mkdir", "chmod", "flock", "wc", "getconf", "du", "sleep", "xargs", "find", "sort", "tr", "cut"),
    *("sha256sum", "tar", "touch"),
]
SCRIPTS = ("deploy.sh", "rollback.sh", "backup.sh", "restore.sh", "restore_drill.sh", "smoke.sh")
WORKS = 'case "$*" in "image inspect"*) echo sha256:1 ;; "info -f"*) echo "$HERE" ;; *) ;; esac'
OF_2_GB = 'case "$*" in *MemTotal*) echo 2147483648; exit ;; esac\n'
NO_IMAGE = 'case "$*" in "image inspect"*) exit 1 ;; *) ;; esac'
DENIED = 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1'
DOWN = 'echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2; exit 1'
PORT = (
    'case "$*" in *" up -d"*) echo "Bind for 127.0.0.1:5000 failed: port is already allocated" >&2; exit 1 ;; '
    '"image inspect"*) echo sha256:1 ;; *) ;; esac'
)
FULL = PORT.replace("Bind for 127.0.0.1:5000 failed: port is already allocated", "write /x: no space left on device")
NO_BACKUP = 'case "$*" in *" run "*) echo "error: the store is damaged" >&2; exit 1 ;; *) ;; esac'
GOOD_BACKUP = (
    'case "$*" in *" touch /data/backup.stamp") touch "$HERE/stamped" ;; *"backup --without-log --to -" | '
    '*"backup --to -") echo all | gzip ;; *) ;; esac'
)
HALF_BACKUP = 'case "$*" in *" run "*) echo half ;; *) ;; esac'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as /opt/bakeoff, and one of programs."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "bin").mkdir()
    for program in NEEDED:
        found = shutil.which(program)
        assert found, program
        (tmp_path / "bin" / program).symlink_to(found)
    return tmp_path


def fake(place: Path, program: str, body: str) -> None:
    path = place / "bin" / program
    path.unlink(missing_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def run(place: Path, script: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(place / "bin"), "HOME": str(place), "HERE": str(place), "HEALTHY_SECONDS": "1", **more}
    command = [str(place / "docker" / script), *words]
    return subprocess.run(
        command, env=env, cwd=place, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def words_of(script: str, place: Path) -> list[str]:
    backup = place / "b.tar.gz"
    if not backup.exists():
        subprocess.run(["tar", "-C", str(place), "-czf", str(backup), "docker-compose.yml"], check=True)
    given = {
        "deploy.sh": ["local"],
        "restore.sh": [str(backup)],
        "restore_drill.sh": [str(backup)],
        "smoke.sh": ["http://127.0.0.1:1"],
    }
    return given.get(script, [])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("body", "said"), [(None, "not installed"), (DENIED, "may not use Docker"), (DOWN, "does not answer")]
)
def test_without_a_usable_engine_each_script_says_what_is_wrong(
    place: Path, script: str, body: str | None, said: str
) -> None:
    if body:
        fake(place, "docker", body)
    done = run(place, script, *words_of(script, place))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("body", "said"),
    [(NO_IMAGE, "docker/build.sh --tag v7"), (PORT, "a port is already in use"), (FULL, "the disk is full")],
    ids=["no image", "a port is taken", "the disk is full"],
)
def test_a_deployment_that_cannot_begin_says_what_to_do(place: Path, body: str, said: str) -> None:
    fake(place, "docker", body)
    done = run(place, "deploy.sh", "local", "--tag", "v7")
    assert done.returncode == 1
    assert said in done.stderr
    assert not (place / ".release").exists()


def test_too_little_room_stops_a_deployment_before_it_begins(place: Path) -> None:
    fake(place, "docker", WORKS)
    fake(place, "df", "echo head; echo '/dev/x 9 9 10240 9% /'")
    done = run(place, "deploy.sh", "local")
    assert done.returncode == 1
    assert "10 MB are free" in done.stderr


@pytest.mark.skipif(os.getuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_folder_of_another_user_stops_a_deployment_before_it_begins(place: Path) -> None:
    fake(place, "docker", WORKS)
    fake(place, "id", "echo nobody")
    for folder in (place, *place.parents[:3]):
        folder.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
    if not command:
        place.chmod(0o555)
    env = {"PATH": str(place / "bin"), "HERE": str(place)}
    words = [shutil.which("setpriv") or "", *command[1:]] if command else []
    done = subprocess.run(
        [*words, str(place / "docker" / "deploy.sh"), "local"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "may not write" in done.stderr


def test_a_dry_run_changes_nothing(place: Path) -> None:
    fake(place, "docker", WORKS + '\ncase "$*" in *" up "* | *" run "*) touch "$HERE/changed" ;; esac')
    before = sorted(place.iterdir())
    done = run(place, "deploy.sh", "local", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed" in done.stdout
    assert sorted(place.iterdir()) == before


ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
RECORDED = 'echo "$*" >>"$HERE/calls"; case "$*" in FAILS) exit 1 ;; login*) cat >>"$HERE/calls" ;; *) ;; esac'
AWS = '[ "$*" = "ecr get-login-password --region eu-west-1" ] && echo secret'


@pytest.mark.e2e
def test_repositories_and_login_are_those_of_ecr(place: Path) -> None:
    """With the real command of AWS and moto's ECR; what takes images there is a stand-in."""
    command = shutil.which("aws")
    if command is None:
        pytest.skip("NOT CHECKED: the command aws is not installed (pip install awscli)")
    with aws_stand_in() as url:
        ours = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "dummy", "AWS_SECRET_ACCESS_KEY": "dummy"}
        away = " ".join(f"{name}={value}" for name, value in (ours | {"PATH": os.environ["PATH"]}).items())
        aws = f'env {away} {command} "$@"'
        done, _ = in_ecr(place, f"push_images {ECR}/team v7", '"push "*', aws)
        [hint] = re.findall("aws ecr create-repository .*bakeoff-api$", done.stderr, re.MULTILINE)
        for line in (hint, hint.replace("-api", "-ui")):
            in_ecr(place, f"{line} >&2", aws=aws)
        done, _ = in_ecr(place, "aws ecr describe-repositories --region eu-west-1 --output json >&2", aws=aws)
        addresses = [each["repositoryUri"] for each in json.loads(done.stderr)["repositories"]]
        assert addresses == [f"{ECR}/team/bakeoff-api", f"{ECR}/team/bakeoff-ui"]
        done, calls = in_ecr(place, f"push_images {ECR}/team v7", aws=aws)
        assert done.returncode == 0, done.stderr
        assert calls[:2] == [f"login --username AWS --password-stdin {ECR}", "123456789012-auth-token"]
        assert [call for call in calls if call.startswith("push")] == [f"push --quiet {at}:v7" for at in addresses]
    done, _ = in_ecr(place, f"pull_images {ECR}/team v7", aws=aws)
    assert f"could not log in to {ECR}" in done.stderr


def in_ecr(
    place: Path, call: str, fails: str = "nothing", aws: str = AWS
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What a function of images.sh says, and the calls of Docker."""
    fake(place, "docker", RECORDED.replace("FAILS", fails))
    fake(place, "aws", aws)
    (place / "calls").write_text("")
    (place / "docker/try.sh").write_text(
        f"#!/usr/bin/env bash\nset -euo pipefail\ncd {place}/docker\nsource lib.sh\nsource images.sh\n{call}\n"
    )
    (place / "docker/try.sh").chmod(0o755)
    done = run(place, "try.sh")
    return done, (place / "calls").read_text().splitlines()


def test_images_are_pushed_to_ecr_under_their_names_there(place: Path) -> None:
    done, calls = in_ecr(place, f"push_images {ECR}/team v7")
    assert done.returncode == 0, done.stderr
    assert calls[:2] == [f"login --username AWS --password-stdin {ECR}", "secret"]
    assert calls[2:4] == [f"tag bakeoff-api:v7 {ECR}/team/bakeoff-api:v7", f"push --quiet {ECR}/team/bakeoff-api:v7"]
    assert f"push --quiet {ECR}/team/bakeoff-ui:v7" in calls
    assert calls[-1] == f"logout {ECR}"
    assert "secret" not in done.stdout + done.stderr


def test_images_are_pulled_from_ecr_under_the_names_that_compose_has(place: Path) -> None:
    done, calls = in_ecr(place, f"pull_images {ECR} v7")
    assert done.returncode == 0, done.stderr
    assert calls[2:4] == [f"pull --quiet {ECR}/bakeoff-api:v7", f"tag {ECR}/bakeoff-api:v7 bakeoff-api:v7"]
    assert f"tag {ECR}/bakeoff-ui:v7 bakeoff-ui:v7" in calls
    assert calls[-1] == f"logout {ECR}"


@pytest.mark.parametrize(
    ("call", "fails", "said"),
    [
        ("push_images", "login*", "could not log in to 1234"),
        ("push_images", '"push "*', "--repository-name team/bakeoff-api"),
        ("pull_images", '"pull "*ui*', "could not be pulled from 1234"),
    ],
)
def test_a_registry_that_refuses_is_named_and_the_login_is_forgotten(
    place: Path, call: str, fails: str, said: str
) -> None:
    done, calls = in_ecr(place, f"{call} {ECR}/team v7", fails)
    assert done.returncode == 1
    assert said in done.stderr
    assert "login" in fails or calls[-1] == f"logout {ECR}"


def test_a_deployment_from_ecr_pulls_before_it_looks_for_images(place: Path) -> None:
    fake(place, "docker", WORKS.replace("*) ;;", '"pull "*) echo "$*" >>"$HERE/calls" ;; "login "*) cat ;; *) ;;'))
    fake(place, "aws", AWS)
    fake(place, "df", "echo head; echo '/dev/x 9 9 10240 9% /'")
    done = run(place, "deploy.sh", "local", "--tag", "v7", "--registry", ECR)
    assert done.returncode == 1
    assert "MB are free" in done.stderr
    assert (place / "calls").read_text().splitlines()[0] == f"pull --quiet {ECR}/bakeoff-api:v7"


@pytest.mark.parametrize("body", [NO_BACKUP, HALF_BACKUP], ids=["an error", "half a file"])
def test_a_backup_that_fails_leaves_no_file(place: Path, body: str) -> None:
    fake(place, "docker", body)
    (place / "backups").mkdir()
    done = run(place, "backup.sh", str(place / "backups"))
    assert done.returncode == 1
    assert list((place / "backups").iterdir()) == []
    assert not (place / "stamped").exists()


@pytest.mark.parametrize(
    ("words", "stamped"),
    [([], True), (["--without-log"], False), (["--no-stamp"], False)],
    ids=["all", "without the log", "to be copied first"],
)
def test_a_backup_is_stamped_once_it_is_complete_and_has_the_log(place: Path, words: list[str], stamped: bool) -> None:
    fake(place, "docker", GOOD_BACKUP)
    done = run(place, "backup.sh", *words, str(place / "b.tar.gz"))
    assert done.returncode == 0, done.stderr
    assert (place / "b.tar.gz").exists()
    assert (place / "stamped").exists() is stamped


def test_a_backup_that_was_copied_elsewhere_is_stamped_without_another_one(place: Path) -> None:
    fake(place, "docker", GOOD_BACKUP)
    done = run(place, "backup.sh", "--stamp")
    assert done.returncode == 0, done.stderr
    assert (place / "stamped").exists()
    assert not list(place.glob("*.tar.gz"))


def test_a_backup_to_a_folder_that_is_not_there_is_refused(place: Path) -> None:
    fake(place, "docker", WORKS)
    done = run(place, "backup.sh", str(place / "nowhere" / "b.tar.gz"))
    assert done.returncode == 1
    assert "choose another folder" in done.stderr


@pytest.mark.parametrize("text", [b"", b"no archive"])
def test_a_restore_of_no_backup_stops_nothing(place: Path, text: bytes) -> None:
    fake(place, "docker", 'case "$1" in stop) touch "$HERE/stopped" ;; ps) echo 1 ;; *) ;; esac')
    (place / "bad.tar.gz").write_bytes(text)
    done = run(place, "restore.sh", str(place / "bad.tar.gz"), "--force")
    assert done.returncode == 1
    assert not (place / "stopped").exists()


def test_a_folder_of_backups_is_not_taken_for_a_broken_one(place: Path) -> None:
    fake(place, "docker", WORKS)
    done = run(place, "restore.sh", str(place), "--force")
    assert (done.returncode, "is a folder: name one of the backups in it" in done.stderr) == (1, True)


def restored_from_litestream(place: Path, fails: str = "nothing") -> tuple[int, str, list[str]]:
    """A restore with the log of the bucket, in which the command with `fails` fails: status, errors, what was run."""
    noted = '*" run "*|stop*|start*) echo "${all##* -T }" >>"$HERE/calls" ;;'
    calls = f'all="$*"; case "$*" in {noted} "ps -aq"*) echo 1 ;; *) ;; esac'
    fake(place, "docker", f'{calls}; case "$*" in *"{fails}"*) exit 1 ;; *) ;; esac')
    backup = words_of("restore.sh", place)[0]
    done = run(place, "restore.sh", backup, "--force", "--log-from-litestream", LITESTREAM_BUCKET="logs")
    return done.returncode, done.stderr, (place / "calls").read_text().splitlines()


def test_the_log_of_the_bucket_takes_the_place_of_the_backups(place: Path) -> None:
    _, _, calls = restored_from_litestream(place)
    assert [line.split(" /data/.l")[0] for line in calls] == [
        "stop -t 35 1 1 1 1",
        "api rm -f",
        "litestream restore -integrity-check full -o",
        "api python -m app restore - --force",
        "api mv",
        "start 1 1 1 1",
    ]


def test_a_corrupt_log_in_the_bucket_changes_nothing(place: Path) -> None:
    status, said, calls = restored_from_litestream(place, fails="litestream restore")
    assert status == 1
    assert "nothing was changed" in said
    assert not [line for line in calls if "app restore" in line]
    assert calls[-1] == "start 1 1 1 1"


def test_litestream_without_a_bucket_stops_nothing(place: Path) -> None:
    fake(place, "docker", 'case "$1" in stop) touch "$HERE/stopped" ;; ps) echo 1 ;; *) ;; esac')
    done = run(place, "restore.sh", *words_of("restore.sh", place), "--force", "--log-from-litestream")
    assert done.returncode == 1
    assert "LITESTREAM_BUCKET is empty" in done.stderr
    assert not (place / "stopped").exists()


# Notes what is run, with the settings that must not be the stack's, and restores a backup of long ago.
DRILL = """
note() { echo "$1|${COMPOSE_PROJECT_NAME:-}|${DATABASE_URL-stack}|${NOTIFY_WEBHOOK_URL-stack}"; }
case "$*" in
  "ps -aq"*--all=false*) echo running ;;
  "exec running "*) note stamp >>"$HERE/calls" ;;
  *" down "*) note down >>"$HERE/calls" ;;
  *"app restore -") note restore >>"$HERE/calls"; cat >/dev/null
    echo "Restored: 9 files of 2026-01-02T03:04:05Z, written by release 1." ;;
  *"app monitor --rebuild") note rebuild >>"$HERE/calls"; cat "$HERE/rebuilt" 2>/dev/null
    [ ! -f "$HERE/differs" ] || exit 1 ;;
  *"app smoke "*) note smoke >>"$HERE/calls" ;;
esac
"""


def drill(place: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A drill of a stack with its own database and receiver, and the calls that it made."""
    (place / ".env").write_text("DATABASE_URL=postgresql://postgres/bakeoff\nNOTIFY_WEBHOOK_URL=http://people/\n")
    fake(place, "docker", DRILL)
    done = run(place, "restore_drill.sh", *(words or words_of("restore_drill.sh", place)))
    calls = place / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_a_drill_restores_beside_the_stack_and_removes_its_copy(place: Path) -> None:
    done, calls = drill(place)
    assert done.returncode == 0, done.stderr
    assert [call.split("|")[0] for call in calls] == ["down", "restore", "rebuild", "smoke", "stamp", "down"]
    # Neither the stack's volumes nor its database nor its receivers.
    assert {call.partition("|")[2] for call in calls} == {"bakeoff-restore-drill||"}
    assert re.search(r"The backup is \d{4,} hours old", done.stdout)
    assert "its evidence is equal" in done.stdout


def test_a_drill_that_fails_says_so_removes_its_copy_and_is_not_stamped(place: Path) -> None:
    (place / "differs").touch()
    done, calls = drill(place)
    assert done.returncode == 1
    assert "differs from the restored evidence" in done.stderr
    assert [call.split("|")[0] for call in calls] == ["down", "restore", "rebuild", "down"]


def test_a_drill_does_not_call_evidence_equal_that_differs_for_a_known_reason(place: Path) -> None:
    (place / "rebuilt").write_text("state of experiment: DIFFERENT\n")
    done, _ = drill(place)
    assert done.returncode == 0, done.stderr
    assert "state of experiment: DIFFERENT" in done.stdout
    assert "its evidence differs" in done.stdout
    assert "is equal" not in done.stdout


def test_a_second_drill_leaves_the_copy_of_the_first_alone(place: Path) -> None:
    with (place / ".restore_drill.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done, calls = drill(place)
    assert done.returncode == 1
    assert "another restore drill is running" in done.stderr
    assert not calls


def test_a_drill_wants_a_backup_that_is_new_enough(place: Path) -> None:
    done, _ = drill(place, *words_of("restore_drill.sh", place), "--max-age", "48")
    assert done.returncode == 1
    assert "48 are allowed" in done.stderr


@pytest.mark.parametrize(("name", "said"), [("", "there is no bakeoff-*.tar.gz"), ("b.tar.gz", "is damaged")])
def test_a_drill_without_a_whole_backup_restores_nothing(place: Path, name: str, said: str) -> None:
    (place / "b.tar.gz").write_bytes(b"cut short")
    done, calls = drill(place, str(place / name))
    assert done.returncode == 1
    assert said in done.stderr
    assert not [call for call in calls if call.startswith("restore")]


def test_a_drill_does_not_fill_the_disk(place: Path) -> None:
    fake(place, "df", "echo head; echo '/dev/x 9 9 102400 9% /'")
    (place / "root").mkdir()
    fake(place, "docker", f'case "$*" in *DockerRootDir*) echo "{place}/root" ;; *) ;; esac')
    done = run(place, "restore_drill.sh", *words_of("restore_drill.sh", place))
    assert done.returncode == 1
    assert "100 MB are free" in done.stderr


def test_a_first_release_has_nothing_to_go_back_to(place: Path) -> None:
    fake(place, "docker", WORKS)
    done = run(place, "rollback.sh")
    assert done.returncode == 1
    assert "there is no previous release" in done.stderr


@pytest.mark.parametrize(
    ("given", "environment", "kept"),
    [
        (None, {}, {"COMPOSE_PROJECT_NAME": "bakeoff", "API_CPUS": "1", "API_MEMORY": "576m"}),
        ("API_MEMORY=\nAPI_CPUS=4\n", {}, {"COMPOSE_PROJECT_NAME": "bakeoff", "API_CPUS": "4", "API_MEMORY": "576m"}),
        ("API_CPUS=4\n", {"COMPOSE_PROJECT_NAME": "second", "API_MEMORY": "1g"}, {"API_CPUS": "4"}),
    ],
)
def test_what_a_script_finds_out_of_the_host_is_in_the_file_that_compose_reads(
    place: Path, given: str | None, environment: dict[str, str], kept: dict[str, str]
) -> None:
    settings = place / ".env"
    if given is not None:
        settings.write_text(given)
        settings.chmod(0o640)
    fake(place, "getconf", "echo 1")
    started = 'case "$*" in *" up -d"*) env >"$HERE/seen"; exit 1 ;; esac'
    fake(place, "docker", f"{OF_2_GB}{WORKS}\n{started}")
    run(place, "deploy.sh", "local", **environment)
    seen = dict(line.split("=", 1) for line in (place / "seen").read_text().splitlines())
    assert dict(line.split("=", 1) for line in settings.read_text().splitlines()) == kept
    assert settings.stat().st_mode & 0o777 == (0o640 if given is not None else 0o600)
    # And Compose that a script calls sees no other values than Compose that a person calls.
    assert {name: seen.get(name, value) for name, value in kept.items()} == kept
    assert {name: seen[name] for name in environment} == environment


def test_a_settings_file_that_cannot_be_written_is_told_and_stops_nothing(place: Path) -> None:
    fake(place, "mktemp", "exit 1")  # as in a folder of somebody else's
    fake(place, "docker", OF_2_GB + WORKS)
    (place / "docker" / "up.sh").write_text('. "${0%/*}/lib.sh"\ncompose up -d\nsay "started with $API_MEMORY"\n')
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", str(place / "docker" / "up.sh")],
        env={"PATH": str(place / "bin"), "HERE": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"{place}/.env cannot be written: set API_MEMORY=576m there" in done.stderr
    assert done.stdout == "started with 576m\n"


SSH_PROBLEMS = {
    "cannot be reached": "exit 255",
    "Docker is not installed": "echo 'Docker is not installed on that host: run ./install.sh --host-only there'",
    "4 MB are free": "echo '4 MB are free in /var/lib/docker there, 2000 are needed: remove old images'",
}


@pytest.mark.parametrize("said", SSH_PROBLEMS)
def test_a_host_that_cannot_take_a_release_is_distinguished(place: Path, said: str) -> None:
    fake(place, "docker", WORKS)
    fake(place, "ssh", SSH_PROBLEMS[said])
    done = run(place, "deploy.sh", "web1")
    assert done.returncode == 1
    assert f"web1{'' if said.startswith('cannot') else ':'} {said}" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option(place: Path, script: str) -> None:
    text = (place / "docker" / script).read_text()
    taken = set(re.findall(r"--[a-z-]+(?= *[|)])", text.partition("parse_arguments()")[2].partition("esac")[0]))
    done = run(place, script, "--help")
    assert done.returncode == 0
    assert not [option for option in taken if option not in done.stdout]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--nonsense",
        "local --tag",
        "local --tag a/b",
        "a;b",
        "local web1",
        "-oProxyCommand=x",
        "local --smoke never",
        "local --registry registry.example.com",
        f"web1 --registry {ECR} --build-there",
        f"local --registry {ECR} --build",
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(place: Path, words: str) -> None:
    done = run(place, "deploy.sh", *words.split())
    assert done.returncode == 2
    assert "Usage:" in done.stderr
