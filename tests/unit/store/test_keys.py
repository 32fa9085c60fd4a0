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


def test_a_named_file_gives_the_keys_that_the_same_secret_gives_in_data_dir(tmp_path):
    made = load_or_create(tmp_path / "data")
    named = (tmp_path / "data" / "keys" / FILE_NAME).rename(tmp_path / "secret")
    assert load_or_create(tmp_path / "other", named) == made
    assert not (tmp_path / "other").exists()


def test_a_named_file_that_is_missing_is_never_made(tmp_path):
    with pytest.raises(SettingError, match=r"DEPLOYMENT_KEY_FILE: .*secret does not exist: mount the secret there"):
        load_or_create(tmp_path, tmp_path / "secret")
    assert [*tmp_path.iterdir()] == []


def test_a_named_file_that_is_a_folder_as_docker_makes_of_a_missing_one_names_the_variable(tmp_path):
    with pytest.raises(SettingError, match=r"DEPLOYMENT_KEY_FILE: .*cannot be read .*directory"):
        load_or_create(tmp_path, tmp_path)


def test_a_named_file_that_every_user_may_write_is_refused(tmp_path):
    named = tmp_path / "secret"
    named.write_text("ab" * 32)
    named.chmod(0o644)
    assert load_or_create(tmp_path, named)
    named.chmod(0o666)
    with pytest.raises(SettingError, match=r"DEPLOYMENT_KEY_FILE: every user may write to .*chmod 400"):
        load_or_create(tmp_path, named)


def test_the_fingerprint_tells_keys_apart_and_is_none_of_them(tmp_path):
    one, other = load_or_create(tmp_path / "one"), load_or_create(tmp_path / "other")
    assert one.fingerprint != other.fingerprint == load_or_create(tmp_path / "other").fingerprint
    assert len(one.fingerprint) == 32
    secret = (tmp_path / "one" / "keys" / FILE_NAME).read_text().strip()
    hidden = [secret, *(key.hex() for key in (one.registry, one.predictions, one.salt, one.erased))]
    assert not any(one.fingerprint in key or key in one.fingerprint for key in hidden)
