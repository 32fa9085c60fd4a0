"""`bakeoff retire`: take versions out of service without removing them, and bring them back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.cli.access import registry_of
from app.cli.decide import user_name
from app.domain.decision import RESTORE, RETIRE, AuditNote
from app.domain.timestamps import iso_utc
from app.errors import Contradiction, InvalidRequest, StoreUnavailable
from app.settings import Settings

if TYPE_CHECKING:
    from app.domain.experiment import Configuration
    from app.inference.registry import ModelRegistry

_CHAMPION_AT_START = "it is the champion: serve it, and promote another version first (bakeoff decide promote VERSION)"
_RELOAD = "The running API follows at its next reload: POST /models/reload."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "A retired version is not loaded, and takes no traffic and no shadow evaluation. Its folder, signature and "
        "number stay, it still counts in reports and history, and labels of its predictions are accepted. Versions in "
        "use are refused with the reason: the champion, the baseline, those with traffic, and the one a rollback "
        "returns to. An experiment goes on without a version that was compared in shadow only."
    )
    add = parser.add_argument
    add("versions", nargs="*", metavar="VERSION", help="the versions to retire, or with --undo to bring back or let in")
    add("--keep", type=_count, metavar="N", help="retire all but the newest N versions and those in use")
    add("--undo", action="store_true", help="bring the versions back, or let in the candidate that waits")
    add("--note", metavar="TEXT", help="why, for the audit log")
    add("--actor", metavar="NAME", help="who decides (default: your user name)")
    add("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Retire or restore, all versions or none.

    Raises `InvalidRequest`, `UnknownVersion`, `Contradiction` for a version in use, `RegistryConflict`,
    `StoreUnavailable` and `SettingError`.
    """
    _require_one_way(args)
    settings = Settings.from_environ()
    with registry_of(settings) as registry:
        done = _restored(args, settings, registry) if args.undo else _retired(args, settings, registry)
    print(json.dumps(done, indent=2, ensure_ascii=False) if args.json else "\n".join(_lines(done)))
    return 0


def _require_one_way(args: argparse.Namespace) -> None:
    if args.keep is not None and (args.versions or args.undo):
        raise InvalidRequest("--keep chooses the versions itself: give it without names and without --undo")
    if args.undo and not args.versions:
        raise InvalidRequest("name the versions to bring back: `bakeoff models` shows which are retired")
    if args.keep is None and not args.versions:
        raise InvalidRequest("name the versions to retire, or say --keep N: `bakeoff models` lists them")
    if args.actor is not None and not (args.actor.isprintable() and 0 < len(args.actor) <= 64):
        raise InvalidRequest("--actor must be 1 to 64 printable characters")


def _retired(args: argparse.Namespace, settings: Settings, registry: ModelRegistry) -> dict[str, Any]:
    from app.clock import now_us
    from app.inference.retirement import retire, retired_versions, served_names

    at_us, actor, chosen, kept = now_us(), args.actor or user_name(), list[str](), dict[str, str]()

    def act(configuration: Configuration | None) -> Sequence[AuditNote]:
        needed = _needed(configuration, registry)
        already = {name for name, each in retired_versions(registry).items() if not each.candidate}
        wanted = _wanted(args, served_names(registry), needed)
        kept.update((name, needed[name]) for name in wanted if name in needed)
        chosen.extend(name for name in wanted if name not in needed and name not in already)
        kept.update((name, "it is retired already") for name in wanted if name in already)
        if chosen:
            retire(registry, chosen, actor, args.note, iso_utc(at_us))
        return [AuditNote(actor=actor, action=RETIRE, version=name, note=args.note) for name in chosen]

    with _audited(settings) as audited:
        audited(act, at_us)
    return {"retired": chosen, "unchanged": kept, "served": list(served_names(registry)), "next": _RELOAD}


def _wanted(args: argparse.Namespace, served: Sequence[str], needed: Mapping[str, str]) -> Sequence[str]:
    """The versions that are to be retired. Raises `Contradiction` if one that was named is in use."""
    if args.keep is not None:
        return served[: max(0, len(served) - args.keep)]
    _require_unused([name for name in args.versions if name in needed], needed)
    return list(dict.fromkeys(args.versions))


def _restored(args: argparse.Namespace, settings: Settings, registry: ModelRegistry) -> dict[str, Any]:
    from app.clock import now_us
    from app.inference.retirement import restore, retired_versions, served_names

    at_us, actor, chosen = now_us(), args.actor or user_name(), list[str]()

    def act(_configuration: Configuration | None) -> Sequence[AuditNote]:
        retired = retired_versions(registry)
        restore(registry, args.versions)
        chosen.extend(name for name in dict.fromkeys(args.versions) if name in retired)
        return [AuditNote(actor=actor, action=RESTORE, version=name, note=args.note) for name in chosen]

    with _audited(settings) as audited:
        audited(act, at_us)
    unchanged = {name: "it is not retired" for name in args.versions if name not in chosen}
    return {"restored": chosen, "unchanged": unchanged, "served": list(served_names(registry)), "next": _RELOAD}


@contextmanager
def _audited(settings: Settings) -> Iterator[Any]:
    """A function that calls `act` with the configuration in force, under the store's write lock, and audits it.

    Where nothing was ever served there is no store: then it calls `act` with None, and nothing is audited.
    """
    from app.store.configurations import DecisionTable
    from app.store.engine import Database, kind_of

    file = kind_of(settings.store_url).file
    if file is not None and not file.exists():
        yield lambda act, _at_us: act(None)
        return
    database = Database(settings.store_url)
    try:
        # In one transaction: a version that is promoted at the same moment is either refused here, or unknown there.
        yield DecisionTable(database).record
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{error.message}; it says which versions are in use and keeps the audit log, so try again when it works"
        ) from error
    finally:
        database.close()


def _needed(configuration: Configuration | None, registry: ModelRegistry) -> Mapping[str, str]:
    from app.inference.loader import CHAMPION
    from app.services.control.retirement import reasons_to_keep

    if configuration is not None:
        return reasons_to_keep(configuration)
    champion = registry.aliases().get(CHAMPION)
    return {} if champion is None else {champion: _CHAMPION_AT_START}


def _require_unused(used: Sequence[str], needed: Mapping[str, str]) -> None:
    if used:
        raise Contradiction("; ".join(f"{name} was not retired: {needed[name]}" for name in used), field="version")


def _lines(done: Mapping[str, Any]) -> Iterator[str]:
    for what in ("retired", "restored"):
        if done.get(what):
            yield f"{what.capitalize()}: {', '.join(done[what])}"
    for name, reason in done["unchanged"].items():
        yield f"{name} stays as it is: {reason}"
    if not done.get("retired") and not done.get("restored"):
        yield "Nothing was changed."
        return
    yield f"In service: {', '.join(done['served'])}"
    yield done["next"]
    if done.get("retired"):
        yield f"To bring back: bakeoff retire --undo {' '.join(done['retired'])}"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
