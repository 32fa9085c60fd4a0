"""The stack with the profile `postgres`: it counts, and its backup goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.api_process import ROW
from tests.stack import Stack, output, running
from tests.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
SETTINGS = {
    "COMPOSE_PROFILES": "postgres",
    "DATABASE_URL": "postgresql://bakeoff@postgres/bakeoff",
    "POSTGRES_PASSWORD": "word-of-the-stack",
}


@pytest.fixture(scope="module")
def stack(stack_images: str) -> Iterator[Stack]:
    if not output("docker", "images", "-q", "postgres:15-bookworm"):
        pytest.skip("there is no image postgres:15-bookworm (.ci/images makes a stand-in): the profile was not started")
    with running(stack_images, **SETTINGS) as started:
        yield started


def serve(stack: Stack, count: int) -> list[str]:
    """The ids of `count` labelled predictions. Rejected feedback is sent again, as the answer says: after a
    restart of the database, a worker may be half a second behind the one that said it was ready."""
    ids = [requests.post(f"{stack.api}/predict", json=ROW, timeout=10).json()["prediction_id"] for _ in range(count)]
    feedback = {"feedback": [{"prediction_id": one, "actual": "setosa"} for one in ids]}

    def accepted() -> int:
        answer = requests.post(f"{stack.api}/feedback", json=feedback, timeout=10)
        assert answer.status_code in (200, 503), answer.text
        return answer.json().get("accepted", 0)

    assert eventually(accepted) == count
    return ids


def labelled(stack: Stack) -> int:
    variants = requests.get(f"{stack.api}/experiment", timeout=10).json().get("variants", [])
    return sum(variant["labelled"] for variant in variants)


def in_database(stack: Stack, query: str) -> str:
    command = ["psql", "-h", "127.0.0.1", "-U", "bakeoff", "-d", "bakeoff", "-Atqc", query]
    return output("docker", "exec", stack.container("postgres"), *command)


def test_predictions_and_feedback_are_counted_in_the_database(stack: Stack) -> None:
    serve(stack, 5)
    assert eventually(lambda: labelled(stack) >= 5)
    assert int(in_database(stack, "SELECT count(*) FROM feedback")) >= 5
    assert stack.python("api", "-c", "import os; print([n for n in os.listdir('/data') if 'sqlite' in n])") == "[]"


def test_the_database_is_published_nowhere_and_wants_its_password(stack: Stack) -> None:
    assert output("docker", "port", stack.container("postgres")) == ""
    program = "import psycopg\ntry: psycopg.connect('postgresql://bakeoff:wrong@postgres/bakeoff')\n"
    program += "except psycopg.OperationalError as error: print('password authentication failed' in str(error))"
    assert stack.python("api", "-c", program) == "True"


def test_no_memory_limit_is_near(stack: Stack) -> None:
    used = output("docker", "stats", "--no-stream", "--format", "{{.MemPerc}}", stack.container("postgres"))
    assert float(used.replace("%", "")) < 75


def test_no_log_has_the_password(stack: Stack) -> None:
    for service in ("api", "monitor", "postgres"):
        assert SETTINGS["POSTGRES_PASSWORD"] not in output("docker", "logs", stack.container(service))


def test_the_database_restarted_costs_no_prediction_and_is_used_again(stack: Stack) -> None:
    output("docker", "restart", stack.container("postgres"))
    before = labelled(stack)
    eventually(lambda: requests.get(f"{stack.api}/health/ready", timeout=10).status_code == 200)
    serve(stack, 3)
    assert eventually(lambda: labelled(stack) >= before + 3)


def test_a_backup_goes_back_with_every_label(stack: Stack, stack_images: str, tmp_path: Path) -> None:
    """The last test of the module: it stops the api for a moment."""
    environment = {**SETTINGS, "COMPOSE_PROJECT_NAME": stack.project, "BAKEOFF_TAG": stack_images}
    serve(stack, 4)
    before = int(in_database(stack, "SELECT count(*) FROM feedback"))
    backup = str(tmp_path / "b.tar.gz")
    output("docker/backup.sh", backup, **environment)
    serve(stack, 2)
    output("docker/restore.sh", backup, "--force", **environment)
    assert int(in_database(stack, "SELECT count(*) FROM feedback")) == before
    eventually(lambda: requests.get(f"{stack.api}/health/ready", timeout=10).status_code == 200)
    serve(stack, 1)
    assert int(in_database(stack, "SELECT count(*) FROM feedback")) == before + 1
