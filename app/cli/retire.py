"""`bakeoff retire`: take versions out of service without removing them, and bring them back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from app.cli.access import registry_of
from app.cli.decide import user_name
from app.domain.decision import RESTORE, RETIRE, AuditNote
from app.domain.timestamps import iso_utc
from app.errors import Contradiction, InvalidRequest, StoreUnavailable, Unavailable
from app.settings import Settings

if TYPE_CHECKING:
    from app.domain.experiment import Configuration
    from app.inference.registry import ModelRegistry
    from app.inference.retirement import Retirement

_CHAMPION_AT_START = "it is the champion: serve it, and promote another version first (bakeoff decide promote VERSION)"
_NOT_DECIDED = "it says which versions are in use and which are retired, so try again when it works"
_IN_STORE = "The store has it, and every API follows at its next reload"
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
    `Unavailable` where the registry cannot be written, `StoreUnavailable` and `SettingError`.
    """
    _require_one_way(args)
    settings = Settings.from_environ()
    with registry_of(settings, changes=True) as registry:
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
    from app.inference.loader import CHAMPION
    from app.inference.retirement import RetiredTable, TableChange

    audit, done, unchanged = _Audit.of(args, RETIRE), TableChange((), ()), dict[str, str]()
    # The registry is read before the transaction and written after it: during it no host can write to the store, and
    # S3 may answer slowly.
    with registry.storage.writing():
        table, champion = RetiredTable(registry), registry.aliases().get(CHAMPION)

        def act(configuration: Configuration | None) -> Sequence[str]:
            nonlocal done
            needed = _needed(configuration, champion)

            def choose(retired: Mapping[str, Retirement]) -> Sequence[str]:
                wanted = _wanted(args, table.served(retired), needed)
                already = [name for name in wanted if name in retired and not retired[name].candidate]
                unchanged.update((name, needed[name]) for name in wanted if name in needed)
                unchanged.update((name, "it is retired already") for name in already)
                return [name for name in wanted if name not in unchanged]

            done = table.retire(choose, knows_champion=configuration is not None)
            return done.changed

        with _registry_errors(settings, decided=audit.carry_out(settings, act) and bool(done.changed)):
            table.write(retired=done.changed, by=audit.actor, note=args.note, at=iso_utc(audit.at_us))
        # Only then: a crash in between leaves an alias of a version that is not loaded, which nothing needs.
        _free_aliases(registry, done.changed)
    return {"retired": done.changed, "unchanged": unchanged, "served": done.served, "next": _RELOAD}


def _wanted(args: argparse.Namespace, served: Sequence[str], needed: Mapping[str, str]) -> Sequence[str]:
    """The versions that are to be retired. Raises `Contradiction` if one that was named is in use."""
    if args.keep is not None:
        return served[: max(0, len(served) - args.keep)]
    _require_unused([name for name in args.versions if name in needed], needed)
    return list(dict.fromkeys(args.versions))


def _restored(args: argparse.Namespace, settings: Settings, registry: ModelRegistry) -> dict[str, Any]:
    from app.inference.retirement import RetiredTable, TableChange

    audit, done = _Audit.of(args, RESTORE), TableChange((), ())
    with registry.storage.writing():
        table = RetiredTable(registry)

        def act(_configuration: Configuration | None) -> Sequence[str]:
            nonlocal done
            done = table.restore(args.versions)
            return done.changed

        with _registry_errors(settings, decided=audit.carry_out(settings, act) and bool(done.changed)):
            table.write(restored=args.versions, by=audit.actor, note=args.note, at=iso_utc(audit.at_us))
    unchanged = {name: "it is not retired" for name in args.versions if name not in done.changed}
    return {"restored": done.changed, "unchanged": unchanged, "served": done.served, "next": _RELOAD}


def _free_aliases(registry: ModelRegistry, versions: Collection[str]) -> None:
    try:
        registry.unpoint(versions)
    except OSError as error:
        reason = error.strerror or error
        print(f"aliases that name {', '.join(versions)} stay, which does no harm: {reason}", file=sys.stderr)


class _Audit(NamedTuple):
    """What the audit log says of a change: who made it, when (µs since 1970), why, and which kind it is."""

    actor: str
    at_us: int
    note: str | None
    action: str

    @classmethod
    def of(cls, args: argparse.Namespace, action: str) -> _Audit:
        from app.clock import now_us

        return cls(args.actor or user_name(), now_us(), args.note, action)

    def carry_out(self, settings: Settings, act: Callable[[Configuration | None], Sequence[str]]) -> bool:
        """Call `act`, which returns the versions that change, and write their entries; whether there is a store.

        It is called with the configuration in force, under the store's write lock. The entries decide: a table that
        could not be written after them is older, and the newer of the two counts. Where nothing was ever served there
        is no store: then `act` is called with None, and nothing is audited. Raises `StoreUnavailable`.
        """
        from app.store.configurations import DecisionTable
        from app.store.engine import Database, kind_of

        def noted(configuration: Configuration | None) -> list[AuditNote]:
            changed = act(configuration)
            return [AuditNote(actor=self.actor, action=self.action, version=name, note=self.note) for name in changed]

        file = kind_of(settings.store_url).file
        if file is not None and not file.exists():
            noted(None)
            return False
        # In one transaction: a version that is promoted at the same moment is either refused here, or unknown there.
        with closing(Database(settings.store_url)) as database:
            try:
                DecisionTable(database).record(noted, self.at_us)
            except StoreUnavailable as error:
                raise StoreUnavailable(f"{error.message}; {_NOT_DECIDED}") from error
        return True


@contextmanager
def _registry_errors(settings: Settings, *, decided: bool) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the model registry at {error.filename or settings.registry} could not be changed: "
            f"{error.strerror or error}. {_IN_STORE if decided else 'Nothing was changed'}; try again when it works"
        ) from error


def _needed(configuration: Configuration | None, champion: str | None) -> Mapping[str, str]:
    from app.services.control.retirement import reasons_to_keep

    if configuration is not None:
        return reasons_to_keep(configuration)
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
