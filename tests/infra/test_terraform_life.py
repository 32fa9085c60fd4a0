"""The module from its first apply to its end, against a stand-in for AWS (which ignores rights and encryption)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.terraform_runs import aws_stand_in, module_copy, terraform, variables

pytestmark = pytest.mark.e2e
ARGUMENTS = ["-no-color", *variables(ui_cidrs='["203.0.113.0/24"]', elastic_ip="true")]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The module's folder after an apply, and the URL of the stand-in."""
    module = module_copy(tmp_path_factory.mktemp("terraform"))
    with aws_stand_in() as url:
        result = terraform(module, "apply", "-auto-approve", *ARGUMENTS, AWS_ENDPOINT_URL=url)
        assert result.returncode == 0, result.stderr
        yield module, url


def test_the_outputs_say_where_things_are(applied: tuple[Path, str]) -> None:
    module, _ = applied
    outputs = {name: entry["value"] for name, entry in json.loads(terraform(module, "output", "-json").stdout).items()}
    assert outputs["api_url"].startswith("http://")
    assert outputs["connect"].endswith(outputs["instance_id"])
    assert outputs["backup_bucket"].startswith("bakeoff-backups-")


def test_a_second_plan_finds_nothing_to_change(applied: tuple[Path, str]) -> None:
    module, url = applied
    result = terraform(module, "plan", "-detailed-exitcode", *ARGUMENTS, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stdout


def test_a_new_release_does_not_touch_the_running_host(applied: tuple[Path, str]) -> None:
    module, url = applied
    newer = variables(release_url="https://releases.example.com/bakeoff-2.0.tar.gz")
    result = terraform(module, "plan", "-detailed-exitcode", *ARGUMENTS, *newer, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stdout


def test_it_can_be_destroyed(applied: tuple[Path, str]) -> None:
    module, url = applied
    result = terraform(module, "destroy", "-auto-approve", *ARGUMENTS, AWS_ENDPOINT_URL=url)
    assert result.returncode == 0, result.stderr
    assert terraform(module, "state", "list").stdout == ""
