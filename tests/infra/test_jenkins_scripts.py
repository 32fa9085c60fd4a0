"""The scripts that the pipeline's stages call, and people too: plain about wrong use, careful with what is secret."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.infra.repository import ROOT


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["docker/on_host.sh"], "give a host and a script"),
        (["docker/on_host.sh", "web1"], "give a host and a script"),
        (["docker/on_host.sh", "web1;ls", "smoke.sh"], "is not a host"),
        (["docker/on_host.sh", "web1", "../install.sh"], "has no script"),
        (["docker/on_host.sh", "web1", "gone.sh"], "has no script"),
        (["docker/on_host.sh", "-oProxyCommand=id", "smoke.sh"], "unknown option: -oProxyCommand=id"),
        (["docker/on_host.sh", "a@-oProxyCommand=id", "smoke.sh"], "is not a host name"),
        (["docker/on_host.sh", "web1\nweb2", "smoke.sh"], "is not a host name"),
        (["docker/rollback.sh", "web1", "--ssh-option", "-oProxyCommand=id"], "is not one that is passed on"),
        (["docker/smoke.sh", "http://x/$(id)"], "is neither a URL nor the name of a container"),
        (["docker/smoke.sh", "edge;id"], "is neither a URL nor the name of a container"),
        (["docker/split.sh"], "expected VERSION=WEIGHT"),
        (["docker/split.sh", "v1=50", "v2"], "expected VERSION=WEIGHT, got 'v2'"),
        (["docker/split.sh", "v1=-1"], "expected VERSION=WEIGHT"),
        (["docker/retrain.sh", "--share", "2"], "'2' is not a share"),
        (["docker/retrain.sh", "--share"], "--share needs a value"),
        (["docker/retrain.sh", "--min-accuracy", "high"], "'high' is neither a number nor none"),
        (["docker/retrain.sh", "--dataset", "--json"], "'--json' is neither a name nor a file"),
        (["docker/retrain.sh", "--", "--dataset", "iris"], "--dataset belongs before the --"),
        (["docker/retrain.sh", "--share", "$(id)"], "'$(id)' is not a share"),
        ([".ci/lint", "$(id)"], "unknown check: $(id)"),
        (["docker/retrain.sh", "--alpha", "1"], "'1' is not a share below 1"),
        (["docker/retrain.sh", "--margin", "-1"], "'-1' is neither a number nor none"),
        (["docker/retrain.sh", "--keep", "0"], "'0' is neither a number of versions nor none"),
        (["docker/retrain.sh", "web1"], "unknown argument: web1"),
        (["docker/scan.sh"], "give an image"),
        (["docker/scan.sh", "--nonsense"], "unknown option"),
        ([".ci/tools", "nonsense"], "unknown tools: nonsense"),
    ],
)
def test_wrong_use_is_refused_with_a_reason(command: list[str], complaint: str) -> None:
    result = run(*command)
    assert result.returncode in (1, 2)
    assert complaint in result.stderr
    assert result.stdout == ""


@pytest.fixture
def tripwire(tmp_path, monkeypatch):
    """A folder of commands before the real ones, each of which leaves a trace; and the place of the trace."""
    trace = tmp_path / "was-run"
    for name in ("ssh", "id", "docker", "pytest"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{trace}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return trace


HOSTILE = [
    "--ssh-option -oProxyCommand=id",
    "--tag other",
    "web2",
    "--smoke",
    "--smoke $(id)",
    "--no-backup;id",
    "--no-backup\nid",
    "--no-backup\n--ssh-option -oProxyCommand=id",
    "`id`",
    "*",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_deploy_arguments_of_a_pipeline_are_from_a_list(words: str, tripwire) -> None:
    result = run("docker/deploy.sh", "web1", "--tag", "t", "--options", words)
    assert result.returncode == 2
    assert "--options: " in result.stderr
    assert not tripwire.exists()


@pytest.mark.parametrize(
    "option",
    [
        "-oProxyCommand=id",
        "-o ProxyCommand=id",
        "-oproxycommand id",
        "-oLocalCommand=id",
        "-oKnownHostsCommand=id",
        "-oPort=22\nProxyCommand=id",
        "-p22 -oProxyCommand=id",
        "-i/key\n-oProxyCommand=id",
        "-F/tmp/config",
        "-J-oProxyCommand=id",
        "-Ja@-oProxyCommand=id",
        "-w0",
        "",
        "web2",
    ],
)
def test_options_of_ssh_that_could_run_commands_are_refused(option: str, tripwire) -> None:
    for script in (["deploy.sh", "web1", "--tag", "t"], ["rollback.sh", "web1"], ["on_host.sh", "web1"]):
        result = run(f"docker/{script[0]}", *script[1:], "--ssh-option", option, *(["smoke.sh"] * (len(script) == 2)))
        assert result.returncode == 2
        assert "is not one that is passed on" in result.stderr
    assert not tripwire.exists()


def test_options_of_ssh_that_a_deployment_needs_are_passed_on(tripwire) -> None:
    options = ["-p2222", "-i/a b/key", "-oStrictHostKeyChecking=accept-new", "-oUserKnownHostsFile=~/.ssh/known_hosts"]
    options += ["-Jann@gate.example:22", "-oLogLevel=ERROR", "-oConnectTimeout=5"]
    words = [word for option in options for word in ("--ssh-option", option)]
    assert run("docker/on_host.sh", "deploy@web1", *words, "smoke.sh", "edge; id").returncode == 0
    called = tripwire.read_text()
    assert called.startswith("ssh ")
    assert all(option in called for option in options)
    # The words of the command are quoted for the shell there.
    assert "-- deploy@web1" in called
    assert "'docker/smoke.sh' 'edge; id' " in called


@pytest.mark.parametrize("word", ["two words", "é'; id; '", "a\nb'$(id)", "\t`id`", "*", "", "\\'"])
def test_a_word_for_the_host_is_one_word_to_any_shell_there(word: str, tripwire) -> None:
    """The login shell of a deploy user may be dash, which takes bash's $'…' for a quotation that ends early."""
    script = f'source "{ROOT}/docker/ship.sh"; quoted "$1" next'
    quoted = run("/bin/bash", "-c", script, "x", word, LC_ALL="C").stdout
    printed = run("/bin/sh", "-c", f"printf '%s|' {quoted}").stdout
    assert printed == f"{word}|next|"
    assert not tripwire.exists()


@pytest.mark.parametrize(
    "words", ["-p evil", "--rootdir=/tmp", "-c/tmp/x", "/etc", "tests/../x", "tests;id", "$(id)", "a\nb"]
)
def test_the_tests_of_a_pipeline_are_chosen_by_what_runs_no_code(words: str, tripwire) -> None:
    result = run(".ci/jenkins/test", "report.xml", words)
    assert result.returncode == 2
    assert "neither --fast, --serial nor a path below tests/" in result.stderr
    assert not tripwire.exists()


@pytest.mark.parametrize(
    ("words", "gate"),
    [([], ["--min-accuracy 0.90"]), (["--min-r2", "0.5"], ["--min-r2 0.5"]), (["--task", "regression"], [])],
)
def test_a_gate_among_the_arguments_of_train_takes_the_place_of_the_usual_one(words, gate, tripwire) -> None:
    """A nightly build of a regression has no other parameter than its arguments of train."""
    usual = ["--min-accuracy", "none"] if not gate else []
    env = {"COMPOSE_PROJECT_NAME": "t", "API_CPUS": "1", "API_MEMORY": "1m"}
    run("docker/retrain.sh", "--dataset", "log", *usual, "--", *words, **env)
    (trained,) = [line for line in tripwire.read_text().splitlines() if "app train" in line]
    assert re.findall(r"--min-\S+ \S+", trained) == gate
    assert "--from-log" in trained


@pytest.mark.parametrize("script", ["on_host.sh", "split.sh", "retrain.sh", "scan.sh"])
def test_help_is_there(script: str) -> None:
    result = run(f"docker/{script}", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: docker/{script}")


class Webhook(http.server.BaseHTTPRequestHandler):
    """Keeps what it receives; under /broken it answers 500."""

    def do_POST(self) -> None:
        received = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(received)))
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_notified_how_the_build_ended(webhook: http.server.HTTPServer) -> None:
    address = f"http://127.0.0.1:{webhook.server_port}/secret-path"
    result = run(".ci/jenkins/notify", 'Build 7 ("x"): FAILURE', "http://jenkins/7", NOTIFY_WEBHOOK_URL=address)
    assert result.returncode == 0, result.stderr
    assert webhook.received == [("/secret-path", {"text": 'Build 7 ("x"): FAILURE http://jenkins/7', "event": "build"})]


def test_a_webhook_that_refuses_is_a_failure_without_its_address(webhook: http.server.HTTPServer) -> None:
    address = f"http://127.0.0.1:{webhook.server_port}/broken"
    result = run(".ci/jenkins/notify", "Build 7: FAILURE", NOTIFY_WEBHOOK_URL=address)
    assert result.returncode == 1
    assert "the webhook could not be notified" in result.stderr
    assert "/broken" not in result.stderr
