"""The documents: links lead somewhere, every document is reachable, every decision is indexed, the README is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.repository import ROOT, files, name

DOCUMENTS = files("*.md")
DECISIONS = [path for path in files("docs/adr/*.md") if path.name != "README.md"]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


def links(document: Path) -> list[str]:
    """Link targets outside code."""
    return _LINK.findall(_CODE.sub("", document.read_text()))


def anchors(document: Path) -> set[str]:
    """The anchors that a renderer makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", document.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_inside_the_repository_resolve(document: Path) -> None:
    for link in links(document):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{name(document)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(document)} links to {link}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, front = set(), [ROOT / "README.md"]
    while front:
        document = front.pop()
        if document in reached or document.suffix != ".md":
            continue
        reached.add(document)
        front += [(document.parent / link.partition("#")[0]).resolve() for link in links(document) if ":" not in link]
    assert set(DOCUMENTS) - reached == set()


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs/glossary.md").read_text(), re.M)
    assert terms == sorted(terms, key=str.casefold)


def test_the_index_lists_every_decision_by_its_title() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    for path in DECISIONS:
        title = path.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)[-1]
        assert f"]({path.name})" in index, path.name
        assert title in index, f"{path.name}: {title}"


@pytest.mark.parametrize("decision", DECISIONS, ids=name)
def test_a_decision_is_numbered_and_fits_a_page(decision: Path) -> None:
    number = decision.name[:4]
    assert re.match(rf"# (ADR )?0*{int(number)}[.:] ", decision.read_text()), "begin with '# N. Title'"
    assert len(decision.read_text().split()) <= 900


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(numbers) == len(set(numbers))
