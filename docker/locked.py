"""Prints the part of a lock that some packages need: themselves, and what they bring in.

`python3 locked.py requirements.lock NAME ...`, or without names `<packages-api.txt`. pip takes no hashes from
constraints, so an image that needs fewer packages than the lock has gets its own. Which package brings in another is in
the comments that `uv` writes (`# via`). A dependency that they should not name would end the installation, because pip
then has no hash for it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def normalised(name: str) -> str:
    """A package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, tuple[str, set[str]]]:
    """Each package of a lock: the text that pip reads, and the packages that bring it in."""
    found = {}
    for block in re.findall(r"^[^\s#].*\n(?:[ ].*\n)*", lock, re.M):
        text = "".join(line for line in block.splitlines(keepends=True) if not line.lstrip().startswith("#"))
        brought_by = re.findall(r"^ +#(?: via)? +([A-Za-z0-9][\w.-]*)$", block, re.M)
        found[normalised(block.split("==")[0])] = (text, {normalised(name) for name in brought_by})
    return found


def part(lock: str, names: set[str]) -> str:
    """The entries of these packages and of all that they bring in. KeyError: the lock does not have a package."""
    found = entries(lock)
    if unknown := names - set(found):
        raise KeyError(", ".join(sorted(unknown)))
    needed: set[str] = set()
    more = set(names)
    while more:
        needed |= more
        more = {name for name, (_, brought_by) in found.items() if brought_by & more} - needed
    return "".join(text for name, (text, _) in found.items() if name in needed)


def main() -> None:
    """Prints the part of the lock. On standard input a comment begins with `#`."""
    named = sys.argv[2:] or re.sub(r"#.*", "", sys.stdin.read()).split()
    try:
        sys.stdout.write(part(Path(sys.argv[1]).read_text(), {normalised(name) for name in named}))
    except KeyError as error:
        sys.exit(f"locked.py: {sys.argv[1]} does not have {error.args[0]}")


if __name__ == "__main__":
    main()
