"""Check the data, train variants, gate, publish the best as a candidate, let it in, wait for the verdict, promote it or
roll it back, notify. Each step is a command of `bakeoff` or a call of its API; docs/integrations.md has a page on it.

What it needs of Airflow:

- the connection `bakeoff_api`: host, port and, as password, the API's ADMIN_TOKEN
- the variable `bakeoff_command` (default `bakeoff`): runs the command line where the model registry is
- the variable `bakeoff_work_dir`: a folder that the command can write, for what is trained and not published yet
- the connection `bakeoff_notify` (optional): its host is the address of a webhook that takes {"text": "…"}
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Connection, Param, PokeReturnValue, Variable, dag, exceptions, get_current_context, task

log = logging.getLogger(__name__)
# How often the service is asked, and how long a failed call waits for its next try.
POKE_S = float(os.environ.get("BAKEOFF_POKE_SECONDS", "300"))
RETRY_S = float(os.environ.get("BAKEOFF_RETRY_SECONDS", "60"))
API, NOTIFY = "bakeoff_api", "bakeoff_notify"
ADD_CONNECTION = "airflow connections add bakeoff_api --conn-type http --conn-host HOST --conn-password ADMIN_TOKEN"
# No slot is held between two questions; the deadline is the run's own, so Airflow's must not come before it.
WAITING: dict[str, Any] = {"mode": "reschedule", "poke_interval": POKE_S, "timeout": timedelta(days=365), "retries": 6}


def end(kind: type[Exception], why: str) -> Exception:
    """The exception that ends the task; `notify` repeats the reason."""
    get_current_context()["ti"].xcom_push(key="why", value=why)
    return kind(why)


def bakeoff(*arguments: object) -> dict[str, Any]:
    """What a command of `bakeoff` prints with --json. A refusal fails the task at once, all else is tried again."""
    command = [*shlex.split(Variable.get("bakeoff_command", "bakeoff")), *map(str, arguments), "--json"]
    log.info("$ %s", shlex.join(command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        advice = "set the variable bakeoff_command to what runs it, such as /srv/bakeoff/.venv/bin/bakeoff"
        raise end(exceptions.AirflowFailException, f"{command[0]} cannot be run ({error.strerror}): {advice}") from None
    log.info("%s", done.stderr.strip())
    if done.returncode == 0:
        return json.loads(done.stdout)
    said = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ") or f"exit status {done.returncode}"
    kind = exceptions.AirflowFailException if done.returncode in (1, 2) else exceptions.AirflowException
    raise end(kind, f"bakeoff {arguments[0]}: {said}")


def address() -> tuple[str, str]:
    """The API's address and token."""
    try:
        found = Connection.get(API)
    except exceptions.AirflowNotFoundException:
        raise end(exceptions.AirflowFailException, f"there is no connection {API}. Add it: {ADD_CONNECTION}") from None
    host = found.host or "127.0.0.1"
    scheme = "" if "://" in host else f"{found.schema or 'http'}://"
    port = f":{found.port}" if found.port else ""
    return f"{scheme}{host}{port}", found.password or ""


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The API's answer. The task is tried again if it cannot be reached, and fails at once if it refuses."""
    url, token = address()
    headers = {"Authorization": f"Bearer {token}", "X-Actor": "airflow"}
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, sent, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise refused(f"{method} {url}{path}", error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        advice = f"see that it runs, or mend host and port of the connection {API}; then clear this task"
        raise end(exceptions.AirflowException, f"can't reach the API at {url} ({reason}): {advice}") from None


def refused(what: str, error: urllib.error.HTTPError) -> Exception:
    """What to raise for an error of the API."""
    text = error.read().decode(errors="replace")
    try:
        said = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = text[:200]
    if error.code in (401, 403):
        advice = f"put the API's ADMIN_TOKEN into the password of the connection {API}; then clear this task"
        return end(exceptions.AirflowFailException, f"{what}: {error.code}, the token is refused ({said}): {advice}")
    kind = exceptions.AirflowException if error.code >= 500 else exceptions.AirflowFailException
    return end(kind, f"{what}: {error.code}, {said}")


def keep_waiting(since: str, why: str, advice: str) -> None:
    """Go on waiting, which began at `since`, or end as skipped if the time is up."""
    until = datetime.fromisoformat(since) + timedelta(hours=get_current_context()["params"]["wait_hours"])
    said = f"{why}. Waiting since {since}, until {until.isoformat()}"
    log.info("%s", said)
    if datetime.now(UTC) >= until:
        raise end(exceptions.AirflowSkipException, f"{said}: the time is up. {advice}")


def comparison_running() -> str:
    """Why the running experiment has not ended; empty if nothing is lost when another one begins."""
    report, weights = call("GET", "/experiment"), call("GET", "/config")["weights"]
    advice, before = report["recommendation"], call("GET", "/experiments?limit=2")["experiments"][1:]
    # It only began because the one before was decided, and no challenger has had traffic since.
    idle = sum(weight > 0 for weight in weights.values()) == 1 and any(
        each["ended_by"] in ("promote", "rollback", "keep") for each in before
    )
    if not report["comparisons"] or advice["action"] == "keep" or idle:
        return ""
    return f"experiment {report['id']} is running ({advice['action']}: {advice['reason']})"


def verdict_of(begun: dict[str, str]) -> dict[str, str] | None:
    """What is to be done with the candidate: `promote`, `roll_back`, or nothing if others decided; None if not yet."""
    active, report = call("GET", "/config"), call("GET", "/experiment")
    if active["epoch"] < int(begun["epoch"]):
        return None  # another worker answered, which has a change within a second
    if active["experiment_id"] != begun["experiment"]:
        found = {each["id"]: each["ended_by"] for each in call("GET", "/experiments")["experiments"]}
        said = f"the experiment was ended by {found.get(begun['experiment'])}, not by this run"
        return {"next": "", "why": f"{said}; champion: {active['baseline']}"}
    if report["id"] != begun["experiment"]:
        return None  # the report is still of the experiment before
    advice = report["recommendation"]
    wanted = {"promote": "promote", "keep": "roll_back", "rollback": "roll_back"}.get(advice["action"])
    if wanted is None or (wanted == "promote" and advice["version"] != begun["version"]):
        return None
    return {"next": wanted, "why": advice["reason"]}


def outcome(ti: Any, run: str) -> tuple[str, bool]:
    """What the run did in one line, and whether a task of it failed."""
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run])[run]
    failed = [name for name, state in states.items() if state == "failed"]
    ended = [name for name, state in states.items() if state in ("failed", "skipped")]
    told = [said for name in ended if (said := ti.xcom_pull(task_ids=name, key="why"))]
    done = [said for name in ("promote", "roll_back") if (said := ti.xcom_pull(task_ids=name))]
    what = told or done or [(ti.xcom_pull(task_ids="wait_for_verdict") or {"why": "see the tasks' logs"})["why"]]
    return f"{run}: {f'{failed[0]} failed: ' if failed else ''}{'; '.join(what)}", bool(failed)


def send(text: str) -> None:
    """Post the text to the webhook, where the connection for it exists."""
    try:
        url = Connection.get(NOTIFY).host or ""
    except exceptions.AirflowNotFoundException:
        return
    body = json.dumps({"text": f"Bakeoff: {text}"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


def data() -> list[object]:
    """The options that name the data, and the seed of their split."""
    params = get_current_context()["params"]
    target = ["--target", params["target"]] if params["target"] else []
    return ["--dataset", params["dataset"], *target, "--seed", params["seed"]]


def require_token() -> None:
    """Change nothing, which takes the token: a wrong one fails before anything is trained, or let in."""
    call("PATCH", "/config", {})


@task
def validate() -> None:
    require_token()
    found = bakeoff("train", "--check", *data())
    log.info("%s", json.dumps(found["data_report"], indent=2))


@task
def train_variants() -> str:
    context = get_current_context()
    work = Variable.get("bakeoff_work_dir", f"{os.environ.get('AIRFLOW_HOME', Path.home() / 'airflow')}/bakeoff")
    folder = f"{work}/{''.join(c if c.isalnum() else '_' for c in context['run_id'])}"
    variants = context["params"]["variants"]
    option = "--variants" if "," in variants or variants == "all" else "--variant"
    trained = bakeoff("train", "--to", folder, *data(), option, variants)
    log.info("%s", json.dumps(trained.get("comparison"), indent=2))
    return folder


@task
def gate(folder: str) -> dict[str, Any]:
    return bakeoff("publish", folder, "--dry-run", *shlex.split(get_current_context()["params"]["gate"]))


def was_served(version: str) -> bool:
    """Whether the service has or had the version: a candidate, or one that no reload brought in yet, was not served."""
    [state] = [each for each in bakeoff("models")["versions"] if each["version"] == version]
    return not state["candidate"] and (bool(state["retired"]) or version in call("GET", "/health")["models"])


@task
def publish_candidate(folder: str) -> dict[str, str]:
    published = bakeoff("publish", folder, "--candidate", *shlex.split(get_current_context()["params"]["gate"]))
    known = published.get("unchanged")
    # It may be of a try or a run before this one, which ended before it was served.
    if known and was_served(known):
        raise end(exceptions.AirflowSkipException, f"the model is the same as {known}, so there is nothing to try")
    version = known or published["versions"][0]["version"]
    return {"version": version, "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}"}


@task.sensor(**WAITING)
def wait_for_running_experiment(candidate: dict[str, str]) -> bool:
    running = "" if get_current_context()["params"]["let_in_now"] else comparison_running()
    if running:
        advice = f"{candidate['version']} stays a candidate: decide on the experiment, or run with let_in_now"
        keep_waiting(candidate["since"], running, advice)
    return not running


@task
def let_in(candidate: dict[str, str]) -> dict[str, str]:
    params, version = get_current_context()["params"], candidate["version"]
    require_token()
    bakeoff("retire", "--undo", version, "--actor", "airflow", "--note", "the candidate is let in")
    call("POST", "/models/reload", {})
    before = call("GET", "/config")
    terms = {"alpha": params["alpha"], "equivalence_margin": params["margin"]}
    changed = {name: value for name, value in terms.items() if value is not None and before[name] != value}
    body: dict[str, Any] = {**changed, **({"new_experiment": True} if changed else {})}
    if params["share"]:
        body["weights"] = {before["baseline"]: 1 - params["share"], version: params["share"]}
    after = call("PATCH", "/config", {**body, "note": f"retrained: {version}"}) if body else before
    return {
        "version": version,
        "experiment": after["experiment_id"],
        "epoch": str(after["epoch"]),
        "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}",
    }


@task.sensor(**WAITING)
def wait_for_verdict(begun: dict[str, str]) -> PokeReturnValue:
    found = verdict_of(begun)
    if found is None:
        reason = call("GET", "/experiment")["recommendation"]["reason"]
        advice = "The experiment goes on: decide with bakeoff decide, or run again with more wait_hours"
        keep_waiting(begun["since"], f"{begun['version']} is undecided: {reason}", advice)
    return PokeReturnValue(is_done=found is not None, xcom_value=found)


@task.branch
def decide(verdict: dict[str, str]) -> str | None:
    log.info("%s: %s", verdict["next"] or "nothing to do", verdict["why"])
    return verdict["next"] or None


@task
def promote(begun: dict[str, str], verdict: dict[str, str]) -> str:
    # A try before this one may have done it, and lost the answer.
    if call("GET", "/config")["baseline"] != begun["version"]:
        body = {"action": "promote", "version": begun["version"], "note": verdict["why"][:500]}
        call("POST", "/experiment/decision", body)
    return f"{begun['version']} is champion: {verdict['why']}"


@task
def roll_back(begun: dict[str, str], verdict: dict[str, str]) -> str:
    # Not the decision `rollback`, which is for a version that is champion already.
    if call("GET", "/config")["experiment_id"] == begun["experiment"]:
        call("POST", "/experiment/decision", {"action": "keep", "note": verdict["why"][:500]})
    bakeoff("retire", begun["version"], "--actor", "airflow", "--note", "it was tried and rolled back")
    call("POST", "/models/reload", {})
    return f"{begun['version']} was rolled back: {verdict['why']}"


@task(trigger_rule="all_done")
def notify() -> None:
    context = get_current_context()
    text, failed = outcome(context["ti"], context["run_id"])
    log.info("%s", text)
    send(text)
    if failed:
        # The last task decides the state of the run.
        raise exceptions.AirflowFailException(text)


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["bakeoff"],
    default_args={"retries": 3, "retry_delay": timedelta(seconds=RETRY_S)},
    params={
        "dataset": Param("iris", type="string", description="a data set or file, as bakeoff train --dataset takes it"),
        "target": Param("", type="string", description="the column to predict; a file needs it"),
        "variants": Param("all", type="string", description="of training.toml: all or NAME,NAME are compared, or NAME"),
        "seed": Param(42, type="integer", minimum=0),
        "gate": Param("--min-accuracy 0.9", type="string", description="--min-accuracy SHARE, or --min-r2 R2"),
        "share": Param(0.1, type="number", minimum=0, maximum=1, description="the candidate's share; 0: shadow alone"),
        "alpha": Param(0.01, type="number", exclusiveMinimum=0, exclusiveMaximum=1, description="error rate"),
        "margin": Param(0.01, type=["number", "null"], minimum=0, description="smaller differences are none"),
        "wait_hours": Param(336, type="number", minimum=0, description="how long to wait for each experiment"),
        "let_in_now": Param(False, type="boolean", description="end the running experiment for the candidate"),
    },
    doc_md=__doc__,
)
def bakeoff_retraining() -> None:
    """The tasks, in their order."""
    checked, folder = validate(), train_variants()
    checked >> folder
    candidate = publish_candidate(folder)
    gate(folder) >> candidate
    begun = let_in(candidate)
    wait_for_running_experiment(candidate) >> begun
    verdict = wait_for_verdict(begun)
    ends = [promote(begun, verdict), roll_back(begun, verdict)]
    decide(verdict) >> ends >> notify()


retraining = bakeoff_retraining()
