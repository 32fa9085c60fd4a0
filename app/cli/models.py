"""`bakeoff models`: list the versions in the model registry, and those that are refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.cli.published import figures_text
from app.cli.shelf_access import registry_of
from app.errors import ArtefactRefused

if TYPE_CHECKING:
    from app.domain.manifest import Manifest
    from app.inference.registry import ModelRegistry

_HEADINGS = ("VERSION", "ALIASES", "ESTIMATOR", "VARIANT", "TRAINED", "RUNTIME", "HOLD-OUT")
_HEADLINES = ("accuracy", "f1", "log_loss", "rmse", "r2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """List the registry; each version's signature and checksums are verified, nothing is unpickled."""
    from app.settings import Settings

    settings = Settings.from_environ()
    with registry_of(settings) as registry:
        aliases, complaint = _aliases(registry)
        entries = [_entry(registry, name, aliases) for name in registry.names()]
    if args.json:
        print(json.dumps({"versions": entries}, indent=2, ensure_ascii=False))
    elif not entries:
        print(f"No version in {settings.model_dir}. To make the first two: bakeoff train")
    else:
        print("\n".join(_table(entries)))
    if complaint:
        print(f"warning: the aliases are lost: {complaint}", file=sys.stderr)
    return 0


def _aliases(registry: ModelRegistry) -> tuple[dict[str, str], str | None]:
    """The table of aliases, or an empty one and the reason why it cannot be used."""
    try:
        return registry.aliases(), None
    except ArtefactRefused as error:
        return {}, error.message


def _entry(registry: ModelRegistry, name: str, table: Mapping[str, str]) -> dict[str, Any]:
    """A version as plain data; `refused` is the reason why it may not be served, or null."""
    aliases = sorted(alias for alias, version in table.items() if version == name)
    try:
        return {"version": name, "aliases": aliases, "refused": None, **_described(registry.verified(name).manifest)}
    except ArtefactRefused as error:
        return {"version": name, "aliases": aliases, "refused": error.message}


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "estimator": manifest.estimator,
        "variant": manifest.variant,
        "task": manifest.contract.task,
        "created_at": manifest.created_at,
        "runtime": manifest.runtime,
        "dataset": manifest.source.dataset,
        "metrics": manifest.metrics,
        "sha256": manifest.files["model.joblib"].sha256,
    }


def _table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The versions in aligned columns, the refused ones with their reasons below."""
    rows = [_HEADINGS, *(_row(entry) for entry in entries if entry["refused"] is None)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    refused = [f"{entry['version']} is refused: {entry['refused']}" for entry in entries if entry["refused"]]
    return (lines if len(rows) > 1 else []) + refused


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    holdout = entry["metrics"].get("holdout", {})
    return (
        entry["version"],
        ", ".join(entry["aliases"]) or "–",
        entry["estimator"],
        entry["variant"] or "–",
        entry["created_at"][:19],
        entry["runtime"],
        figures_text({name: holdout.get(name) for name in _HEADLINES}) or "–",
    )
