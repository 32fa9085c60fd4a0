"""What the guard tests look at: the project's own files, by kind."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_OURS = {".git", ".venv", "__pycache__", "models", "data", "logs", "node_modules"}
_CACHES = re.compile(r"\..*_cache|\.hypothesis")


def files(*patterns: str) -> list[Path]:
    """The project's files that fit one of the glob patterns, sorted; no caches, no artefacts."""
    found = {path for pattern in patterns for path in ROOT.rglob(pattern) if path.is_file() and _is_ours(path)}
    return sorted(found)


def _is_ours(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return not _NOT_OURS.intersection(parts) and not any(_CACHES.fullmatch(part) for part in parts)


def name(path: Path) -> str:
    """The file's path from the repository's top: a readable test id."""
    return str(path.relative_to(ROOT))


def scripts() -> list[Path]:
    """Every shell script, whether or not its name ends in .sh."""
    return [*files("*.sh"), ROOT / ".ci" / "run"]


def example_settings() -> dict[str, str]:
    """The variables of .env.example with their values."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
