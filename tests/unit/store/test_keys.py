import stat
import subprocess
import sys

import pytest

from app.errors import SettingError
from app.store.keys import FILE_NAME, load_or_create

RACER = """
import pathlib, sys
from app.store.keys import load_or_create
print(load_or_create(pathlib.Path(sys.argv[1])).salt.hex())
"""


def test_keys_are_made_once_and_then_kept(tmp_path):
    first = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == first
    assert [len(first.registry), len(first.predictions), len(first.salt)] == [32, 32, 16]


def test_keys_of_two_deployments_and_of_two_purposes_differ(tmp_path):
    one, other = load_or_create(tmp_path / "one"), load_or_create(tmp_path / "other")
    assert len({one.registry, one.predictions, other.registry, other.predictions}) == 4


def test_only_the_owner_may_read_the_key(tmp_path):
    load_or_create(tmp_path)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / FILE_NAME).stat().st_mode) == 0o600


def test_nothing_but_the_key_is_left_behind(tmp_path):
    load_or_create(tmp_path)
    assert [file.name for file in (tmp_path / "keys").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"short", b"zz" * 32, b"ab" * 31, b"\xff" * 64, b"ab" * 33])
def test_a_file_that_is_no_key_is_refused_and_left_as_it_is(tmp_path, content):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / FILE_NAME).write_bytes(content)
    with pytest.raises(SettingError, match=r"DATA_DIR: .*deployment\.key is not a key file"):
        load_or_create(tmp_path)
    assert (tmp_path / "keys" / FILE_NAME).read_bytes() == content


def test_a_folder_that_cannot_be_made_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingError, match="DATA_DIR"):
        load_or_create(tmp_path / "file")


def test_racing_processes_agree_on_one_key(tmp_path):
    racers = [subprocess.Popen([sys.executable, "-c", RACER, tmp_path], stdout=subprocess.PIPE) for _ in range(6)]
    assert len({racer.communicate()[0] for racer in racers}) == 1
    assert all(racer.returncode == 0 for racer in racers)


def test_keys_do_not_show_in_logs(tmp_path):
    keys = load_or_create(tmp_path)
    assert "\\x" not in repr(keys)
    assert keys.registry.hex() not in f"{keys} {keys!r}"
