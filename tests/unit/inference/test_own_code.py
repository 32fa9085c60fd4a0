"""Modules of a version's own: each version has its own ones, also where another has the same names."""

import sys
import threading

import pytest

from app.inference.own_code import code_of, file_name


def code(**sources):
    return code_of({file_name(name.replace("__of__", ".")): source.encode() for name, source in sources.items()})


def imported(own, name):
    with own.importable():
        __import__(name)
        return sys.modules[name]


def test_two_versions_with_modules_of_one_name_have_each_its_own():
    first, second = code(features="WHO = 'first'"), code(features="WHO = 'second'")
    assert (imported(first, "features").WHO, imported(second, "features").WHO) == ("first", "second")
    assert imported(first, "features").WHO == "first"


def test_a_module_is_made_once_and_is_not_left_behind():
    own = code(features="X = []")
    assert imported(own, "features") is imported(own, "features")
    assert "features" not in sys.modules
    assert own not in sys.meta_path


def test_packages_and_relative_imports_work():
    own = code(
        pkg__of____init__="from .sub import two",
        pkg__of__sub="from . import base\ntwo = base.one + 1",
        pkg__of__base="one = 1",
    )
    assert imported(own, "pkg").two == 2
    assert imported(code(space__of__deep="y = 3"), "space.deep").y == 3


def test_an_import_inside_a_function_finds_the_modules_of_its_version():
    own = [code(a="def late():\n    import b\n    from b import v\n    return b.v + v", b=f"v = {n}") for n in (1, 2)]
    calls = [imported(each, "a").late for each in own]
    assert [call() for call in calls] == [2, 4]
    assert [call() for call in calls] == [2, 4]


def test_threads_that_import_at_once_do_not_mix_versions():
    own = [code(a="import b\ndef late():\n    import c\n    return b.v, c.v", b=f"v={n}", c=f"v={n}") for n in range(8)]
    calls = [imported(each, "a").late for each in own]
    answers = [None] * len(calls)

    def ask(number):
        answers[number] = calls[number]()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(n, n) for n in range(8)]


def test_a_module_that_fails_leaves_nothing_behind():
    own = code(broken="import sys\nraise RuntimeError('no')")
    with pytest.raises(RuntimeError, match="no"):
        imported(own, "broken")
    assert "broken" not in sys.modules
    assert own not in sys.meta_path


def test_what_was_imported_under_the_name_before_is_there_again(monkeypatch):
    before = type(sys)("features")
    monkeypatch.setitem(sys.modules, "features", before)
    assert imported(code(features="X = 1"), "features").X == 1
    assert sys.modules["features"] is before


def test_the_packages_that_sources_import_are_known():
    own = code(
        a="import numpy as np\nfrom lightgbm.sklearn import X\nfrom . import b\ndef f():\n    import late.module"
    )
    assert own.imported() == {"numpy", "lightgbm", "late"}
