"""Releases replaced, refused and put back under load: no request fails, and a bad one never gets into service."""

import shutil
import subprocess

import pytest
import requests

from tests.e2e.api_process import ROW
from tests.e2e.deployed import another_release, deployed
from tests.e2e.kept_alive import light_load
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

AS_ROOT = "USER 0\nRUN {}\nUSER 10001:10001"
BROKEN = {
    "exits at start": ('CMD ["python", "-c", "raise SystemExit(\'no good\')"]', "did not stay up", "no good"),
    "never becomes healthy": (
        AS_ROOT.format("echo 'raise SystemExit(1)' > docker/healthcheck.py"),
        "did not become healthy",
        "Booting worker",
    ),
    "answers wrongly": (
        AS_ROOT.format("sed -i 's/return round(probability, DECIMALS) if/return 0.5 if/' app/domain/prediction.py"),
        "failed the smoke test",
        "is 0.5 instead of",
    ),
}


@pytest.fixture(scope="module")
def service(stack_images, tmp_path_factory):
    if shutil.which("docker") is None:
        pytest.skip("no Docker here: deploying was not checked")
    with deployed(tmp_path_factory.mktemp("opt"), stack_images) as stack:
        yield stack


def running(service):
    images = subprocess.run(["docker", "inspect", "-f", "{{ .Config.Image }}", *service.containers("api")],
                            capture_output=True, text=True, check=True)  # fmt: skip
    return images.stdout.split()


def test_a_release_is_replaced_and_rolled_back_without_a_failed_request(service, stack_images):
    with another_release(stack_images) as other, light_load(service.port) as clients:
        assert service.script("deploy.sh", "local", "--tag", other)[0] == 0
        assert running(service) == [f"bakeoff-api:{other}"]
        assert f"BAKEOFF_TAG={other}\n" in (service.folder / ".env").read_text()
        assert service.script("rollback.sh", "--no-backup")[0] == 0
        assert running(service) == [f"bakeoff-api:{stack_images}"]
    assert [client.wrong for client in clients] == [[]] * 4
    assert all(client.answered > 100 for client in clients)


@pytest.mark.parametrize(("lines", "verdict", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_release_never_gets_into_service(service, stack_images, lines, verdict, reason):
    before = service.containers("api"), service.containers("monitor")
    with another_release(stack_images, lines) as other, light_load(service.port) as clients:
        patience = "12" if "healthy" in verdict else "60"
        status, said = service.script("deploy.sh", "local", "--tag", other, "--no-backup", HEALTHY_SECONDS=patience)
    assert status == 1
    assert verdict in said
    assert reason in said
    assert f"{other} was NOT deployed; {stack_images} keeps serving" in said
    assert [client.wrong for client in clients] == [[]] * 4
    assert (service.containers("api"), service.containers("monitor")) == before


def test_what_fails_after_the_new_api_has_taken_over_is_put_back(service, stack_images):
    before = service.containers("api")
    monitor_dies = AS_ROOT.format("echo 'raise SystemExit(\"no monitor\")' > app/cli/monitor.py")
    with another_release(stack_images, monitor_dies) as other, light_load(service.port) as clients:
        status, said = service.script("deploy.sh", "local", "--tag", other, "--no-backup", HEALTHY_SECONDS="40")
    assert (status, service.containers("api")) == (1, before)
    assert "no monitor" in said
    assert [client.wrong for client in clients] == [[]] * 4
    assert requests.get(f"{service.url}/health/ready", timeout=10).ok


def test_a_deployment_that_is_interrupted_is_put_back(service, stack_images):
    before = service.containers("api")
    with another_release(stack_images) as other:
        process = service.start("deploy.sh", "local", "--tag", other, "--no-backup")
        for line in process.stdout:
            if line.startswith("Draining"):
                break
        process.terminate()
        said = process.stdout.read()
        assert process.wait(120) != 0
    assert "NOT deployed" in said
    assert service.containers("api") == before
    assert requests.get(f"{service.url}/health/ready", timeout=10).ok


def test_two_deployments_at_once_are_refused(service, stack_images):
    with (service.folder / ".deploy.lock").open("w") as file:
        holder = subprocess.Popen(["flock", str(service.folder / ".deploy.lock"), "sleep", "60"])
        try:
            eventually(lambda: subprocess.run(["flock", "-n", file.name, "true"]).returncode != 0)
            status, said = service.script("deploy.sh", "local", "--tag", stack_images)
        finally:
            holder.terminate()
            holder.wait()
    assert (status, "another deployment" in said) == (1, True)


def test_the_smoke_test_asks_from_outside_what_the_shelf_promises(service):
    status, said = service.script("smoke.sh", service.url)
    assert status == 0, said
    assert said.count("known answers") == 2


def test_state_is_put_back_into_the_volumes(service):
    known = requests.post(f"{service.url}/predict", json=ROW, timeout=10).json()["prediction_id"]
    requests.get(f"{service.url}/predictions/history", timeout=10)
    backup = service.folder / "b.tar.gz"
    assert service.script("backup.sh", str(backup))[0] == 0
    assert backup.stat().st_mode & 0o777 == 0o600
    later = requests.post(f"{service.url}/predict", json=ROW, timeout=10).json()["prediction_id"]
    status, said = service.script("restore.sh", str(backup))
    assert (status, "--force" in said) == (1, True)
    status, said = service.script("restore.sh", str(backup), "--force")
    assert status == 0, said
    feedback = requests.post(f"{service.url}/feedback", json={"prediction_id": known, "actual": "setosa"}, timeout=10)
    assert feedback.json() == {"accepted": 1, "duplicates": 0}
    page = requests.get(f"{service.url}/predictions/history", params={"limit": 1}, timeout=10).json()["predictions"]
    assert [row["prediction_id"] for row in page] == [known] != [later]
