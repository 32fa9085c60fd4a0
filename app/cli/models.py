"""`bakeoff models`: list the versions in the model registry, and those that are refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from app.cli.access import registry_of
from app.cli.published import figures_text
from app.cli.table import table_lines, terminal_width
from app.domain.manifest import Manifest
from app.errors import ArtefactRefused
from app.inference.registry import ModelRegistry
from app.inference.retirement import Retirement, retired_versions
from app.services.queries.models import reference_entry
from app.settings import Settings

_HEADINGS = ("VERSION", "ALIASES", "ESTIMATOR", "VARIANT", "TRAINED", "RUNTIME", "HOLD-OUT")
_HEADLINES = ("accuracy", "f1", "log_loss", "rmse", "r2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """List the versions, each with its signature and checksums verified; unpickles nothing. Raises `SettingError`."""
    settings = Settings.from_environ()
    with registry_of(settings) as registry:
        aliases, unreadable = _aliases(registry)
        retired, unknown = _retired(registry)
        entries = [_entry(registry, name, aliases, retired.get(name)) for name in registry.names()]
    if args.json:
        print(json.dumps({"versions": entries}, indent=2, ensure_ascii=False))
    elif not entries:
        print(f"No version in {settings.registry}. To make the first two: bakeoff train")
    else:
        print("\n".join(_lines(entries)))
    if unreadable:
        # The API can repair the file, because the store's configuration says which version is champion.
        print(f"warning: no aliases are shown: {unreadable}; start the API: it writes that file again", file=sys.stderr)
    if unknown:
        advice = "restore it from a backup, or remove it and retire the versions again"
        print(f"warning: no version is shown as retired: {unknown}; {advice}", file=sys.stderr)
    return 0


def _retired(registry: ModelRegistry) -> tuple[Mapping[str, Retirement], str | None]:
    """The retired versions by name; none, and the reason, if their table is damaged."""
    try:
        return retired_versions(registry), None
    except ArtefactRefused as error:
        return {}, error.message


def _aliases(registry: ModelRegistry) -> tuple[dict[str, str], str | None]:
    """The version of each alias; none, and the reason, if the file of aliases is damaged."""
    try:
        return registry.aliases(), None
    except ArtefactRefused as error:
        return {}, error.message


def _entry(
    registry: ModelRegistry, name: str, table: Mapping[str, str], retirement: Retirement | None
) -> dict[str, Any]:
    """A version as plain data: `refused` is why it may not be served, `retired` who retired it, `candidate` who
    published it to wait; else None."""
    aliases = sorted(alias for alias, version in table.items() if version == name)
    entered = None if retirement is None else {"at": retirement.at, "by": retirement.by, "note": retirement.note}
    waits = retirement is not None and retirement.candidate
    state = {"retired": None if waits else entered, "candidate": entered if waits else None}
    try:
        manifest, history = registry.verified(name).manifest, registry.reference_history(name)
        reference = msgspec.to_builtins(reference_entry(manifest, history))
        return {
            "version": name,
            "aliases": aliases,
            "refused": None,
            **state,
            **_described(manifest),
            "reference": reference,
        }
    except ArtefactRefused as error:
        return {"version": name, "aliases": aliases, "refused": error.message, **state}


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "estimator": manifest.estimator,
        "variant": manifest.variant,
        "task": manifest.contract.task,
        "created_at": manifest.created_at,
        "runtime": manifest.runtime,
        "dataset": manifest.source.dataset,
        "metrics": manifest.metrics,
        "sha256": manifest.model_sha256,
    }


def _lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the versions that can be served, then the refused ones with their reasons."""
    rows = [_row(entry) for entry in entries if entry["refused"] is None]
    table = table_lines(rows, _HEADINGS, width=terminal_width()) if rows else []
    refused = [f"{entry['version']} is refused: {entry['refused']}" for entry in entries if entry["refused"]]
    return [*table, *refused, *(line for entry in entries for line in _reference_lines(entry))]


def _reference_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """A line for a reference that the version got later, and one for each that does not count."""
    reference = entry.get("reference")
    if reference is None:
        return
    if reference["number"]:
        yield (
            f"{entry['version']} is compared with reference {reference['number']} ({reference['rows']} rows of "
            f"{reference['dataset']}) since {reference['since'][:19]}Z"
        )
    yield from (f"a reference of {entry['version']} is refused: {reason}" for reason in reference["refused"])


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    holdout = entry["metrics"].get("holdout", {})
    return (
        entry["version"] + (" (candidate)" if entry["candidate"] else " (retired)" if entry["retired"] else ""),
        ", ".join(entry["aliases"]) or "–",
        entry["estimator"],
        entry["variant"] or "–",
        entry["created_at"][:19],
        entry["runtime"],
        figures_text({name: holdout.get(name) for name in _HEADLINES}) or "–",
    )
