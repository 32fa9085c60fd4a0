"""The program's own help: every command is in it, and every example it gives can be typed."""

from __future__ import annotations

import re
import shlex

import pytest

from app.cli import COMMANDS, GROUPS, main, parser_for

EXAMPLES = [example for command in COMMANDS.values() for example in command.examples]


def printed_help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def typed(example: str) -> list[str]:
    """The program's arguments in an example, without the settings before it and the redirection after it."""
    words = shlex.split(re.sub(r" > \S+$", "", example))
    return words[words.index("bakeoff") + 1 :]


def test_the_help_lists_every_command_under_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed_help(capsys)
    assert text.startswith("usage: bakeoff ")
    assert [line for line in text.splitlines() if line in {f"{group.title}:" for group in GROUPS}] == [
        *("Train and publish:", "Serve:", "Decide:", "Look inside:", "Keep:")
    ]
    assert not [name for name in COMMANDS if not re.search(rf"^  {name} ", text, re.MULTILINE)]
    assert not [group.example for group in GROUPS if group.example not in text]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_its_examples(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = printed_help(capsys, name)
    assert text.startswith(f"usage: bakeoff {name} ")
    assert text.endswith("".join(f"\n  {example}" for example in COMMANDS[name].examples) + "\n")


@pytest.mark.parametrize("example", [*EXAMPLES, *(group.example for group in GROUPS)])
def test_an_example_can_be_typed_as_it_stands(example: str) -> None:
    words = typed(example)
    assert parser_for(words).parse_args(words).command == words[0]


def test_every_command_has_an_example() -> None:
    assert all(command.examples for command in COMMANDS.values())


@pytest.mark.parametrize(("name", "niced"), [("archive", [10]), ("doctor", [])])
def test_what_may_take_minutes_gives_way_to_a_service(
    name: str, niced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr("os.nice", given.append)
    monkeypatch.setattr(f"app.cli.{name}.run", lambda _args: 0)
    monkeypatch.setattr("sys.argv", ["bakeoff", name, *["--before=2026-11-01"][: name == "archive"]])
    assert main() == 0
    assert given == niced


def test_within_another_process_no_command_changes_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr("os.nice", given.append)
    monkeypatch.setattr("app.cli.archive.run", lambda _args: 0)
    assert main(["archive", "--before=2026-11-01"]) == 0
    assert not given
