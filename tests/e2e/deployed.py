"""A stack that docker/deploy.sh put into service, in a folder of its own as /opt/bakeoff is on a host."""

import secrets
import shutil
import subprocess
from contextlib import contextmanager

from tests.e2e.api_process import free_port
from tests.stack import ROOT, clean_environment


class Deployed:
    """`script` runs one of docker/; the stack answers on `port`."""

    def __init__(self, folder, compose):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.project = f"bakeoff-test-{secrets.token_hex(4)}"
        self.env = {**clean_environment(), "COMPOSE_PROJECT_NAME": self.project, "COMPOSE_COMMAND": compose}
        shutil.copytree(ROOT / "docker", folder / "docker", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "docker-compose.yml", folder)
        ports = {name: free_port() for name in ("UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")}
        settings = {"API_PORT": self.port, "WEB_CONCURRENCY": 2, **ports}
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def start(self, name, *words, **environment):
        """Run docker/NAME and do not wait."""
        return subprocess.Popen(
            [str(self.folder / "docker" / name), *words],
            env={**self.env, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def script(self, name, *words, **environment):
        """The exit status and the words of docker/NAME."""
        process = self.start(name, *words, **environment)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def containers(self, service):
        """The ids of the running containers of a service."""
        labels = (f"project={self.project}", f"service={service}", "oneoff=False")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        found = subprocess.run(["docker", "ps", "-q", *filters], capture_output=True, text=True, check=True)
        return sorted(found.stdout.split())

    def remove(self):
        """Containers, network and volumes."""
        words = f'source "{self.folder}/docker/lib.sh" && compose down --volumes --remove-orphans --timeout 5'
        subprocess.run(["bash", "-c", words], env=self.env, capture_output=True, check=True, timeout=300)


@contextmanager
def deployed(folder, tag, compose="docker compose"):
    """Put into service, and removed at the end."""
    stack = Deployed(folder, compose)
    try:
        status, said = stack.script("deploy.sh", "local", "--tag", tag)
        assert status == 0, said
        yield stack
    finally:
        stack.remove()


@contextmanager
def another_release(tag, lines=""):
    """The tag of images made of `tag`'s by these lines of a Dockerfile; removed at the end."""
    other = f"{tag}-{secrets.token_hex(4)}"
    dockerfile = f"FROM bakeoff-api:{tag}\nLABEL release={other}\n{lines}\n"
    build = ["docker", "build", "-q", "-t", f"bakeoff-api:{other}", "-"]
    subprocess.run(build, input=dockerfile, text=True, check=True, capture_output=True)
    subprocess.run(["docker", "tag", f"bakeoff-ui:{tag}", f"bakeoff-ui:{other}"], check=True)
    try:
        yield other
    finally:
        subprocess.run(["docker", "rmi", f"bakeoff-api:{other}", f"bakeoff-ui:{other}"], capture_output=True)
