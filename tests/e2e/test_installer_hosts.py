"""The installer on hosts: a fresh Debian 12, and one with dnf or yum and the packages of Amazon Linux and of RHEL."""

import subprocess

import pytest

from tests.e2e.cloud_host import FOLDER, CloudHost

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
COMPOSE = "/srv/compose/docker-compose"
SERVER = "systemd-run -q -d --unit web python3 -m http.server -d /srv/compose --bind 127.0.0.1 8000"
PLUGINS = "/usr/local/lib/docker"
UNREACHABLE = {"COMPOSE_URL": "http://127.0.0.1:9/docker-compose", "COMPOSE_SHA256": "0" * 64}
WRONG = {"COMPOSE_URL": "http://127.0.0.1:8000/docker-compose", "COMPOSE_SHA256": "0" * 64}
ROCKY = """printf 'ID="rocky"\nPRETTY_NAME="Rocky Linux 9"\n' >/etc/os-release
sed -i s,/amazon,/rhel, /etc/yum.repos.d/amazonlinux.repo
mv /usr/bin/dnf /usr/bin/yum"""


@pytest.fixture(scope="module", autouse=True)
def _engine():
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        pytest.skip("no Docker engine answers: .ci/engine starts one")


def a_host(kind):
    host = CloudHost(kind)
    try:
        yield host
    finally:
        host.stop()


@pytest.fixture(scope="module")
def debian(_engine):
    """A Debian host on which the installer has run."""
    for host in a_host("plain"):
        result = host.install("--yes")
        assert result.returncode == 0, result.stderr
        assert "  - installed the packages: docker.io docker-compose" in result.stdout
        yield host


@pytest.fixture(scope="module")
def fresh_amazon(_engine):
    for host in a_host("dnf"):
        host.run(SERVER)
        yield host


@pytest.fixture
def right(fresh_amazon):
    """The address and the true checksum of a Compose plugin."""
    checksum = fresh_amazon.run(f"sha256sum {COMPOSE}").stdout.split()[0]
    return {**WRONG, "COMPOSE_SHA256": checksum}


@pytest.fixture
def without_compose(fresh_amazon):
    """An Amazon Linux host on which only Compose is missing."""
    fresh_amazon.install("--yes", "--host-only", **UNREACHABLE)
    assert fresh_amazon.works(f"rm -rf {PLUGINS}; docker --version")
    return fresh_amazon


@pytest.fixture
def amazon(fresh_amazon, right):
    """An Amazon Linux host on which the installer has run."""
    result = fresh_amazon.install("--yes", **right)
    assert result.returncode == 0, result.stderr
    return fresh_amazon


@pytest.fixture(scope="module")
def rocky(_engine):
    for host in a_host("dnf"):
        host.run(ROCKY)
        yield host


def test_a_fresh_debian_runs_containers(debian):
    assert debian.runs_containers()
    assert debian.works("docker-compose version")
    assert debian.works("systemctl is-enabled docker")


def test_a_fresh_debian_gets_the_packages_of_the_clone(debian):
    assert debian.works(f"{FOLDER}/.venv/bin/python -c 'import packaging'")


def test_a_second_run_on_debian_changes_nothing(debian):
    before = debian.run("stat -c %y /var/lib/dpkg/status /var/cache/apt/pkgcache.bin").stdout
    result = debian.install("--yes")
    assert result.stdout == "Docker and Compose are installed.\nNothing was changed on this host.\n"
    assert debian.run("stat -c %y /var/lib/dpkg/status /var/cache/apt/pkgcache.bin").stdout == before


def test_a_user_with_sudo_may_use_docker_from_the_next_login_on(debian):
    debian.run("useradd -m ann; echo 'ann ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ann")
    debian.run(f"cp -r {FOLDER} ~ann/clone; chown -R ann ~ann/clone")
    result = debian.run("su - ann -c 'cd clone && ./install.sh --yes --host-only'")
    assert "added ann to the group docker" in result.stdout, result.stderr
    assert debian.works("su - ann -c 'docker ps'")


def test_a_user_without_sudo_learns_what_root_must_do(debian):
    debian.run(f"useradd -m bob; cp -r {FOLDER} ~bob/clone; chown -R bob ~bob/clone")
    result = debian.run("su - bob -c 'cd clone && ./install.sh --yes --host-only'")
    assert result.returncode == 1
    assert "as root: usermod -aG docker bob" in result.stdout


def test_a_compose_that_cannot_be_reached_is_reported_with_what_was_done(fresh_amazon):
    fresh_amazon.run(f"dnf remove -y docker; rm -rf {PLUGINS}")
    result = fresh_amazon.install("--yes", "--host-only", **UNREACHABLE)
    assert result.returncode == 1
    assert "cannot be reached (network, proxy or certificates)" in result.stderr
    assert "  - installed the packages: docker" in result.stdout


def test_a_compose_with_a_wrong_checksum_is_not_installed(without_compose):
    result = without_compose.install("--yes", "--host-only", **WRONG)
    assert result.returncode == 1
    assert "is not the file that was meant, and was not installed" in result.stderr
    assert not without_compose.works(f"test -e {PLUGINS}")


def test_a_full_disk_leaves_no_half_a_compose(without_compose, right):
    without_compose.run(f"mkdir {PLUGINS} && mount -t tmpfs -o size=1m tmpfs {PLUGINS}")
    result = without_compose.install("--yes", "--host-only", **right)
    left = without_compose.run(f"find {PLUGINS} -type f; umount {PLUGINS}").stdout
    assert result.returncode == 1
    assert "the disk is full" in result.stderr
    assert left == ""


def test_amazon_linux_gets_compose_as_a_plugin(amazon):
    assert amazon.works("docker compose version")
    assert amazon.run(f"stat -c %a {PLUGINS} {PLUGINS}/cli-plugins/docker-compose").stdout == "755\n755\n"


def test_amazon_linux_gets_a_python_that_makes_the_environment(amazon):
    assert amazon.works("rpm -q python3.11 || dnf -q list --installed python3.11")
    assert amazon.works(f"{FOLDER}/.venv/bin/python -c 'import packaging'")


def test_a_second_run_on_amazon_linux_changes_nothing(amazon):
    result = amazon.install("--yes")
    assert result.stdout == "Docker and Compose are installed.\nNothing was changed on this host.\n"


def test_amazon_linux_runs_containers_after_a_reboot_too(amazon):
    assert amazon.runs_containers()
    amazon.reboot()
    assert amazon.runs_containers()


def test_dockers_repository_is_added_by_yum_only_with_a_yes(rocky):
    repository = {"DOCKER_REPO_URL": "file:///srv/rpm/docker-ce.repo"}
    assert rocky.install("--host-only", **repository).returncode == 1
    assert not rocky.works("test -e /etc/yum.repos.d/docker-ce.repo")
    result = rocky.install("--yes", "--host-only", **repository)
    assert result.returncode == 0, result.stderr
    assert "  - installed the packages: docker-ce docker-compose-plugin" in result.stdout
    assert rocky.works("docker info && docker compose version")
