"""`--code DIR`: which files are taken, and which folders are refused."""

import pytest

from app.errors import DataRefused
from app.training.sources.code_folder import code_files


def folder(tmp_path, **sources):
    for name, source in sources.items():
        path = tmp_path / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path


def test_modules_and_packages_are_taken_and_nothing_else(tmp_path):
    folder(tmp_path, features="x = 1", shop__in__models="", shop__in____init__="", __pycache____in__old="", a__in__b="")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "my-script.py").write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hook.py").write_text("")
    (tmp_path / "linked.py").symlink_to(tmp_path / "features.py")
    assert sorted(code_files(tmp_path)) == [
        *("code-a.b.py", "code-features.py", "code-shop.__init__.py", "code-shop.models.py")
    ]


@pytest.mark.parametrize("name", ["json", "numpy", "app", "sklearn"])
def test_a_module_that_would_hide_an_installed_one_is_refused_by_name(tmp_path, name):
    with pytest.raises(DataRefused, match=f"{name} in .* has the name of an installed module: rename it"):
        code_files(folder(tmp_path, **{name: ""}))


def test_a_folder_that_is_on_the_path_already_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(code_files(folder(tmp_path, our_own_features=""))) == ["code-our_own_features.py"]


def test_a_source_that_is_not_python_is_refused_with_its_name(tmp_path):
    with pytest.raises(DataRefused, match=r"features.py is not Python"):
        code_files(folder(tmp_path, features="print 'hello'"))


def test_a_folder_with_too_much_is_refused(tmp_path):
    with pytest.raises(DataRefused, match="more than 200 modules"):
        code_files(folder(tmp_path, **{f"m{n}": "" for n in range(201)}))


def test_a_folder_without_modules_or_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataRefused, match="no Python module"):
        code_files(tmp_path)
    with pytest.raises(DataRefused, match="there is no folder"):
        code_files(tmp_path / "none")
