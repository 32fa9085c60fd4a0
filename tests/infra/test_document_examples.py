"""The reader of the documents' examples sees what it must: a check that cannot fail would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.documents import differences, examples, fits

DOCUMENT = """# Title
```sh
curl one
```
```json
{"a": 1}
```
text
```sh
curl two
```
text
```json
{"not": "its answer"}
```
"""


def test_an_answer_belongs_to_the_command_right_above_it(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(DOCUMENT)
    found = [(example.line, example.command, example.shown) for example in examples(path)]
    assert found == [(2, "curl one\n", '{"a": 1}\n'), (9, "curl two\n", None)]


@pytest.mark.parametrize(
    ("shown", "real"),
    [({"a": 1, "b": "x"}, {"b": "y", "a": 2.5}), ([{"a": None}], [{"a": None}, {"b": 1}]), ([], [1])],
)
def test_answers_of_one_shape_agree(shown: object, real: object) -> None:
    assert differences(shown, real) == []


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ([{"a": 1}], [{"b": 1}]),
        (True, 1),
        ({"a": {}}, {"a": []}),
    ],
)
def test_answers_of_different_shapes_do_not(shown: object, real: object) -> None:
    assert differences(shown, real)


@pytest.mark.parametrize(
    ("shown", "real", "agree"),
    [("a … c\n", "a b c", True), ("… c", "a\nb c\n", True), ("a.c", "abc", False), ("a", "a b", False)],
)
def test_an_ellipsis_stands_for_anything(shown: str, real: str, agree: bool) -> None:
    assert fits(shown, real) is agree
