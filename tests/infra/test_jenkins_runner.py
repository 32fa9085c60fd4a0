"""The runner that carries out the Jenkinsfile in CI: what Jenkins would do, it does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.jenkins_runs import WITHOUT_GROOVY, Ended, carried_out, pipeline, stage
from tests.infra.repository import ROOT
from tests.waiting import consistently

pytestmark = pytest.mark.skipif(bool(WITHOUT_GROOVY), reason=WITHOUT_GROOVY)

ENDINGS = """post {
  always { echo 'ran always' }
  success { echo 'ran success' }
  failure { echo 'ran failure' }
  aborted { echo 'ran aborted' }
  unstable { echo 'ran unstable' }
  cleanup { echo 'ran cleanup' }
}"""


def test_the_repositorys_own_jenkinsfile_is_understood(tmp_path: Path) -> None:
    ended = carried_out(tmp_path, (ROOT / "Jenkinsfile").read_text(), "--check")
    assert ended.status == 0, ended.output


def test_a_failing_step_ends_the_build_and_runs_post_failure(tmp_path: Path) -> None:
    stages = stage("sh 'exit 3'\necho 'after'") + stage("echo 'never'", "Two")
    ended = carried_out(tmp_path, pipeline(stages, after=ENDINGS))
    assert ended.status == 1
    assert ended.said("script returned exit code 3")
    assert not ended.said("\nafter")
    assert not ended.said("\nnever")
    ran = [line for line in ended.output.splitlines() if line.startswith("ran")]
    assert ran == ["ran always", "ran failure", "ran cleanup"]


def test_steps_see_parameters_environment_and_output(tmp_path: Path) -> None:
    before = """parameters { string(name: 'WHO', defaultValue: 'nobody')
      booleanParam(name: 'DRY', defaultValue: true) }
    environment { GREETING = "hello ${params.WHO}"
      COUNT = sh(script: 'echo "$GREETING" | wc -w', returnStdout: true).trim() }"""
    steps = """sh 'echo "<$GREETING|$COUNT|$WHO|$DRY>"'
    script { env.LATER = 'x' + sh(script: 'exit 4', returnStatus: true)
      if (params.DRY) { sh 'echo "dry $LATER"' } }"""
    ended = carried_out(tmp_path, pipeline(stage(steps), before), "--param", "WHO=ann")
    assert ended.status == 0, ended.output
    assert ended.said("\n<hello ann|2|ann|true>\n")
    assert ended.said("\ndry x4\n")


def test_a_first_build_has_its_parameters_nowhere_but_in_params(tmp_path: Path) -> None:
    before = """parameters { string(name: 'WHO', defaultValue: 'nobody')
      string(name: 'HOW', defaultValue: 'well') }
    environment { HOW = "${params.HOW}" }"""
    steps = """sh 'echo "<$WHO|$HOW>"'
    echo "(${params.WHO}|${env.WHO})" """
    first = carried_out(tmp_path, pipeline(stage(steps), before))
    assert first.said("\n<|well>\n")
    assert first.said("\n(nobody|null)\n")
    assert carried_out(tmp_path, pipeline(stage(steps), before), "--number", "2").said("\n<nobody|well>\n")


def without_agent(stages: str) -> str:
    return pipeline(stages).replace("agent any", "agent none", 1)


@pytest.mark.parametrize("step", ["sh 'true'", "checkout scm", "readFile 'x'", "cleanWs()", "archiveArtifacts '**'"])
def test_a_step_that_needs_a_workspace_fails_outside_of_an_agent(tmp_path: Path, step: str) -> None:
    ended = carried_out(tmp_path, without_agent(stage(step)))
    assert ended.status == 1
    assert ended.said("needs a workspace, which only an agent has")


def test_stages_and_node_have_agents_of_their_own(tmp_path: Path) -> None:
    stages = stage("script { env.ON = env.NODE_NAME }\nsh 'echo in $WORKSPACE'", "A", 'agent { label "docker" }')
    stages += stage("input 'outside?'\necho \"<${env.WORKSPACE}>\"", "B")
    stages += stage("input 'inside?'", "C", 'agent { label "${env.ON}" }')
    stages += stage("node('docker') { sh 'echo here' }", "D") + stage("echo 'no'", "E", 'agent { label "${env.GONE}" }')
    ended = carried_out(tmp_path, without_agent(stages), "--answer", "approve")
    assert ended.said(f"\nin {tmp_path}/workspace\n")
    assert ended.said("input: outside?\n<null>\n")
    assert ended.said("input: inside? (an agent waits too)")
    assert ended.said("\nhere\n")
    assert ended.said("no agent has the label 'null'")


def test_a_stage_that_was_skipped_runs_no_post(tmp_path: Path) -> None:
    skipped = stage("echo 'x'", more=f"when {{ expression {{ false }} }}\n{ENDINGS}")
    assert not carried_out(tmp_path, pipeline(skipped)).said("ran always")


def test_before_agent_no_agent_is_taken_for_a_stage_that_is_skipped(tmp_path: Path) -> None:
    late, early = "when { expression { false } }", "when {\nbeforeAgent true\nexpression { false }\n}"
    assert carried_out(tmp_path, without_agent(stage("echo 'x'", more=f"agent any\n{late}"))).said("agent: any")
    assert not carried_out(tmp_path, without_agent(stage("echo 'x'", more=f"agent any\n{early}"))).said("agent: any")


def own(tmp_path: Path, *options: str) -> Ended:
    """The repository's own Jenkinsfile, where nothing is set up."""
    return carried_out(tmp_path, (ROOT / "Jenkinsfile").read_text(), *options)


def test_a_nightly_build_without_a_host_is_green_and_says_what_it_left_out(tmp_path: Path) -> None:
    ended = own(tmp_path, "--cause", "timer")
    assert ended.status == 0, ended.output
    assert ended.said("left out: retraining, because there is no host")


@pytest.mark.parametrize(("options", "cron"), [([], "H 3 * * *"), (["--multibranch", "main"], "H 3 * * *")])
def test_the_main_branch_has_a_nightly_build(tmp_path: Path, options: list[str], cron: str) -> None:
    assert own(tmp_path, "--cause", "timer", *options).said(f"trigger: cron '{cron}'")


def test_another_branch_has_no_nightly_build_and_reaches_no_host(tmp_path: Path) -> None:
    parameters = ("--param", "DEPLOY_HOST=web1", "--param", "TASK=retrain")
    ended = own(tmp_path, "--multibranch", "feature", *parameters)
    assert ended.status == 0, ended.output
    assert ended.said("trigger: cron ''")
    assert ended.said("left out: retraining, because there is no host")


@pytest.fixture
def deploying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs what follows a build of the repository's own Jenkinsfile, for this host; Docker does nothing."""
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("BAKEOFF_DEPLOY_HOST", "local")
    stages = [word for name in ("Check out", "Approve", "To the host") for word in ("--only", name)]
    key = {"bakeoff-deploy-key": {"kind": "ssh", "user": "root", "path": "/key"}}
    text = (ROOT / "Jenkinsfile").read_text()
    return lambda *options: carried_out(tmp_path, text, "--scm", str(ROOT), *stages, *options, credentials=key)


def test_a_deployment_that_is_not_approved_does_not_begin(deploying: Callable[..., Ended]) -> None:
    ended = deploying("--answer", "reject")
    assert ended.said("input: Deploy build-1-")
    assert not ended.said("an agent waits too")
    assert not ended.said("docker/deploy.sh")
    assert ended.said("docker image rm bakeoff-api:build-1-")
    assert ended.said("Finished: ABORTED")


def test_a_dry_run_needs_no_approval_and_deploys_nothing(deploying: Callable[..., Ended]) -> None:
    ended = deploying("--param", "DRY_RUN=true", "--param", "DEPLOY_ARGUMENTS=--no-backup")
    assert ended.status == 0, ended.output
    assert ended.said("Would deploy bakeoff build-2-")


def test_deploy_arguments_that_are_not_on_the_list_fail_the_build(deploying: Callable[..., Ended]) -> None:
    ended = deploying("--param", "DRY_RUN=true", "--param", "DEPLOY_ARGUMENTS=--ssh-option -oProxyCommand=id")
    assert ended.said("--options: '--ssh-option' is none of")
    assert ended.said("Finished: FAILURE")


def test_a_checkout_of_ones_own_sets_no_variables(tmp_path: Path) -> None:
    steps = "checkout scm\necho \"<${env.GIT_COMMIT}>\"\nscript { echo 'is ' + checkout(scm).GIT_COMMIT.size() }"
    ended = carried_out(tmp_path, pipeline(stage(steps)), "--scm", str(ROOT))
    assert ended.said("\n<null>\n")
    assert ended.said("\nis 40\n")


def test_the_environment_declares_every_parameter_that_scripts_read() -> None:
    text = (ROOT / "Jenkinsfile").read_text()
    declared = re.findall(r"(?:string|booleanParam)\(name: '(\w+)', defaultValue: '?([^',]*)'?", text)
    fallbacks = dict(re.findall(r"^ {8}(\w+) = \"\$\{params\.\1 \?: .*?'?([^':]*?)'?\}\"$", text, re.MULTILINE))
    read = {name for name, _ in declared if re.search(rf"\$\{{?{name}\b", text)}
    assert len(read) > 12
    assert {name: default for name, default in declared if name in read} == {name: fallbacks.get(name) for name in read}


def test_a_timers_build_takes_no_parameters(tmp_path: Path) -> None:
    ended = carried_out(tmp_path, pipeline(stage("echo 'x'")), "--cause", "timer", "--number", "2", "--param", "A=b")
    assert ended.status == 2
    assert ended.said("a timer's build (--cause timer) takes no parameters")


def test_every_wait_for_an_agent_after_the_build_has_an_end() -> None:
    """An agent that is gone by then would hold up this build, and with it all later ones, for ever."""
    text = (ROOT / "Jenkinsfile").read_text()
    assert re.search(r"agent \{ label \"\$\{env.BUILT_ON\}\" \}\n +options \{\n(?: +//.*\n)* +timeout\(", text)
    nodes = re.findall(r"(.*)\n +node\(", text)
    assert len(nodes) == 2
    assert all("timeout(time: " in before for before in nodes)


def test_the_approval_waits_outside_of_an_agent_and_not_for_ever() -> None:
    text = (ROOT / "Jenkinsfile").read_text()
    assert "\n    agent none\n" in text
    approve = text[text.index("stage('Approve')") : text.index("stage('To the host')")]
    assert re.search(r"timeout\(time: \d+, unit: 'HOURS'\)", approve)
    assert "agent" not in approve


def test_a_time_limit_ends_the_whole_process_group(tmp_path: Path) -> None:
    steps = f"""timeout(time: 1, unit: 'SECONDS') {{
      sh '(trap "" TERM; while :; do date +%s%N >{tmp_path}/beat; sleep 0.1; done) & sleep 60' }}"""
    ended = carried_out(tmp_path, pipeline(stage(steps), after=ENDINGS))
    assert ended.status == 1
    assert ended.said("Finished: ABORTED")
    assert ended.said("ran aborted")
    last = (tmp_path / "beat").read_text()
    consistently(lambda: (tmp_path / "beat").read_text() == last, for_s=0.5)


CREDENTIALS = {
    "token": {"kind": "text", "secret": "quite-secret-token"},
    "login": {"kind": "password", "user": "ann", "secret": "pass-of-ann"},
    "key": {"kind": "ssh", "user": "deploy", "path": "/keys/of-deploy"},
}


def test_secrets_reach_the_scripts_and_never_the_log(tmp_path: Path) -> None:
    steps = """withCredentials([string(credentialsId: 'token', variable: 'TOKEN'),
      usernamePassword(credentialsId: 'login', usernameVariable: 'U', passwordVariable: 'P'),
      sshUserPrivateKey(credentialsId: 'key', keyFileVariable: 'KEY', usernameVariable: 'WHO')]) {
      sh 'echo "$TOKEN $U $P $KEY $WHO"; printf %s "$TOKEN" | wc -c'
      script { echo "again: ${env.TOKEN}" } }
    sh 'echo "outside: <$TOKEN>"'"""
    ended = carried_out(tmp_path, pipeline(stage(steps)), credentials=CREDENTIALS)
    assert ended.status == 0, ended.output
    assert ended.said("\n**** ann **** /keys/of-deploy deploy\n")
    assert ended.said("\n18\nagain: ****\n")
    assert ended.said("\noutside: <>\n")
    assert not ended.said("quite-secret-token")
    assert not ended.said("pass-of-ann")


def test_a_credential_of_the_environment_is_hidden_too(tmp_path: Path) -> None:
    ended = carried_out(
        tmp_path,
        pipeline(stage("sh 'echo \"<$LOGIN_USR $LOGIN_PSW>\"'"), "environment { LOGIN = credentials('login') }"),
        credentials=CREDENTIALS,
    )
    assert ended.said("\n<ann ****>\n")


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ("withCredentials([string(credentialsId: 'gone', variable: 'X')]) { echo 'in' }", "no credential with the id"),
        ("withCredentials([string(credentialsId: 'key', variable: 'X')]) { echo 'in' }", "is of kind ssh"),
        ("archiveArtifacts 'nothing/**'", "no file matches"),
        ("junit 'nothing.xml'", "no file matches"),
        ("unstash 'nothing'", "nothing was stashed"),
        ("input 'really?'", "no answer to the input"),
        ("error 'on purpose'", "on purpose"),
        ("readFile 'nothing'", "nothing"),
    ],
)
def test_what_cannot_be_done_fails_the_build(tmp_path: Path, steps: str, complaint: str) -> None:
    ended = carried_out(tmp_path, pipeline(stage(steps)), credentials=CREDENTIALS)
    assert ended.status == 1
    assert ended.said("Finished: FAILURE")
    assert ended.said(complaint)


FAULTS = """pipeline {
tools { maven 'x' }
stages {
stage('Nothing') { }
stage('Never') {
when { expression { false } }
steps {
shh 'ls'
script { retry(2) { sleepy 3 } }
if (true) { echo 'x' }
}
}
}
post { sometimes { echo 'x' } }
}
"""


def test_every_fault_is_named_with_its_line_before_anything_runs(tmp_path: Path) -> None:
    ended = carried_out(tmp_path, FAULTS)
    assert ended.status == 2
    assert not ended.said("[Pipeline]")
    assert {line.strip() for line in ended.output.splitlines()[1:]} == {
        "line 1: 'pipeline' needs 'agent'",
        "line 2: 'tools' is not allowed in 'pipeline'",
        "line 2: unknown step 'tools'",
        "line 2: unknown step 'maven'",
        "line 4: a stage needs exactly one of 'steps', 'stages' and 'parallel'",
        "line 8: unknown step 'shh'",
        "line 9: unknown step 'sleepy'",
        "line 10: 'steps' may contain steps only; put other code into 'script'",
        "line 14: 'sometimes' is not allowed in 'post'",
        "line 14: unknown step 'sometimes'",
    }


@pytest.mark.parametrize(
    ("jenkinsfile", "complaint"),
    [
        (pipeline(""), "'stages' has no stage"),
        ("pipeline { agent any", "expecting '}'"),
        ("echo 'no pipeline'", "there is no pipeline block"),
    ],
)
def test_what_is_no_pipeline_is_refused(tmp_path: Path, jenkinsfile: str, complaint: str) -> None:
    ended = carried_out(tmp_path, jenkinsfile)
    assert ended.status == 2
    assert ended.said(complaint)


@pytest.mark.parametrize(
    "options",
    [
        ["--param", "X=1"],
        ["--number", "1", "--param", "X=1"],
        ["--only", "Gone"],
        ["--skip", "Gone"],
        ["--nonsense", "1"],
    ],
)
def test_options_that_name_nothing_are_refused(tmp_path: Path, options: list[str]) -> None:
    assert carried_out(tmp_path, pipeline(stage("echo 'x'")), *options).status == 2


def test_the_first_failure_ends_the_parallel_stages_where_fail_fast(tmp_path: Path) -> None:
    slow = stage(f"sh 'sleep 30; touch {tmp_path}/slept'", "Slow")
    quick = stage("sh 'sleep 0.3; exit 1'", "Quick")
    ended = carried_out(tmp_path, pipeline(f"stage('Both') {{\nfailFast true\nparallel {{\n{slow}{quick}}}\n}}"))
    assert ended.status == 1
    assert ended.said("aborted, because a parallel stage failed")
    assert not (tmp_path / "slept").exists()


def test_parallel_stages_all_end_without_fail_fast(tmp_path: Path) -> None:
    slow = stage("sh 'sleep 1; echo slept'", "Slow")
    both = slow + stage("sh 'exit 1'", "Quick")
    ended = carried_out(tmp_path, pipeline(f"stage('Both') {{\nparallel {{\n{both}}}\n}}"))
    assert ended.status == 1
    assert ended.said("[Slow] slept")


@pytest.mark.parametrize(
    ("condition", "options", "runs"),
    [
        ("expression { params.N == '2' }", ["--param", "N=2"], True),
        ("not { expression { params.N == '2' } }", ["--param", "N=2"], False),
        ("anyOf {\ntriggeredBy 'TimerTrigger'\nexpression { false }\n}", ["--cause", "timer"], True),
        ("allOf {\ntriggeredBy 'TimerTrigger'\nexpression { true }\n}", [], False),
        ("environment name: 'N', value: '1'", ["--number", "2"], True),
        ("environment name: 'N', value: '1'", [], False),
        ("branch 'main'", ["--multibranch", "main"], True),
        ("branch 'main'", ["--multibranch", "other"], False),
        ("branch 'main'", ["--branch", "main"], False),
    ],
)
def test_when(tmp_path: Path, condition: str, options: list[str], runs: bool) -> None:
    parameters = "parameters { string(name: 'N', defaultValue: '1') }"
    jenkinsfile = pipeline(stage("echo 'it ran'", more=f"when {{\n{condition}\n}}"), parameters)
    ended = carried_out(tmp_path, jenkinsfile, *options)
    assert ended.status == 0, ended.output
    assert ended.said("\nit ran") is runs


def test_retry_tries_again_and_no_more_than_said(tmp_path: Path) -> None:
    steps = f"""retry(3) {{ sh 'echo x >>{tmp_path}/tries; [ "$(wc -l <{tmp_path}/tries)" = 3 ]' }}
    retry(2) {{ sh 'echo y >>{tmp_path}/failing; exit 1' }}"""
    ended = carried_out(tmp_path, pipeline(stage(steps)))
    assert ended.status == 1
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    assert (tmp_path / "failing").read_text() == "y\n" * 2


def test_a_caught_error_lets_the_stage_go_on(tmp_path: Path) -> None:
    steps = "catchError(buildResult: 'UNSTABLE') { sh 'exit 1' }\necho 'went on'"
    ended = carried_out(tmp_path, pipeline(stage(steps), after=ENDINGS))
    assert ended.status == 1
    assert ended.said("\nwent on")
    assert ended.said("\nran unstable")


REPORT = """<testsuites><testsuite><testcase name="a"/><testcase name="b">{}</testcase></testsuite></testsuites>"""


@pytest.mark.parametrize(("inside", "result"), [("", "SUCCESS"), ("<failure/>", "UNSTABLE"), ("<error/>", "UNSTABLE")])
def test_junit_makes_a_build_with_failed_tests_unstable(tmp_path: Path, inside: str, result: str) -> None:
    steps = f"writeFile file: 'r/a.xml', text: '{REPORT.format(inside)}'\njunit 'r/*.xml'"
    ended = carried_out(tmp_path, pipeline(stage(steps)))
    assert ended.said(f"Finished: {result}")


def test_files_are_stashed_unstashed_and_archived_by_their_patterns(tmp_path: Path) -> None:
    steps = """dir('a') { sh 'mkdir -p b/c && touch b/c/x.txt b/y.txt z.log' }
    stash name: 'texts', includes: 'a/**/*.txt'
    deleteDir()
    unstash 'texts'
    sh 'find . -type f | sort'
    archiveArtifacts artifacts: 'a/b/*.txt'"""
    ended = carried_out(tmp_path, pipeline(stage(steps)))
    assert ended.status == 0, ended.output
    assert ended.said("\n./a/b/c/x.txt\n./a/b/y.txt\n")
    assert not ended.said("z.log\n./")
    assert [path.name for path in ended.archive.rglob("*.*")] == ["y.txt"]


def test_only_the_stage_that_is_asked_for_runs(tmp_path: Path) -> None:
    inner = f"stage('Outer') {{\nstages {{\n{stage('echo 1', 'First')}{stage('echo 2', 'Second')}}}\n}}"
    ended = carried_out(tmp_path, pipeline(stage("echo 0", "Zero") + inner), "--only", "Second")
    assert [line for line in ended.output.splitlines() if line in "012"] == ["2"]
