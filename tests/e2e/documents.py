"""The commands of the documents and what is promised of them.

A fenced `sh` block is a command that a reader can copy. A `json` block right after it is the answer: the same keys and
kinds of values. A `text` block right after it is the output, in which `…` stands for anything. Nothing else is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

KINDS_OF_BLOCKS = {"sh", "json", "text", "mermaid", "toml", "promql"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Example(NamedTuple):
    """A command of a document, with the answer (`json`) or output (`text`) that is shown for it, or None."""

    document: str
    line: int
    command: str
    kind: str | None
    shown: str | None

    @property
    def title(self) -> str:
        """Where it stands: a readable test id."""
        return f"{self.document}:{self.line}"


def blocks(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, kind and text of every fenced block."""
    text = path.read_text()
    for match in _FENCE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1], match[2]


def examples(path: Path) -> list[Example]:
    """The commands of one document, in order."""
    found: list[Example] = []
    text = path.read_text()
    previous_end, previous_kind = 0, ""
    for match in _FENCE.finditer(text):
        kind, content = match[1], match[2]
        if kind == "sh":
            found.append(Example(path.name, text.count("\n", 0, match.start()) + 1, content, None, None))
        elif previous_kind == "sh" and not text[previous_end : match.start()].strip():
            found[-1] = found[-1]._replace(kind=kind, shown=content)
        previous_end, previous_kind = match.end(), kind
    return found


def differences(shown: Any, real: Any, where: str = "answer") -> list[str]:
    """Where a real JSON answer differs in shape from the one that is shown; lists are compared by their first item."""
    if isinstance(shown, dict) and isinstance(real, dict):
        odd = [f"{where}: {key} is on one side only" for key in sorted(shown.keys() ^ real.keys())]
        return odd + [
            d for key in shown.keys() & real.keys() for d in differences(shown[key], real[key], f"{where}.{key}")
        ]
    if isinstance(shown, list) and isinstance(real, list):
        return differences(shown[0], real[0], f"{where}[0]") if shown and real else []
    return [] if _kind(shown) == _kind(real) else [f"{where}: shown {shown!r}, is {real!r}"]


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def fits(shown: str, real: str) -> bool:
    """Whether an output is the one that is shown, in which `…` stands for anything, also for several lines."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, real.strip(), re.S) is not None
