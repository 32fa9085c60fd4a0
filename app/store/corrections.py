"""Corrections of outcomes: rows of their own, behind the outcomes of a transaction, and entries of the audit log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, text

from app.domain.decision import CORRECT, Change
from app.domain.outcome import Outcome
from app.store.statements import statements
from app.tables.counts import counted

# An audit entry lists so many of the outcomes that one call replaced; `corrections` has all of them.
_LISTED = 20


class Correction(NamedTuple):
    """An outcome that takes the place of one whose recorded text is `replaced`."""

    outcome: Outcome
    replaced: str


class _Audited(NamedTuple):
    """What an audit entry of corrections is of."""

    actor: str
    experiment_id: str | None


def append_corrections(connection: Connection, corrections: Sequence[Correction], at_us: int, seen: int) -> None:
    """Write the corrections and the audit entries, one for each actor and experiment.

    `at_us` is the time (µs since 1970), `seen` the number of the last prediction in the log.
    """
    experiments = _experiments(connection, {each.outcome.fact.epoch for each in corrections})
    parts: dict[_Audited, list[Correction]] = {}
    for correction in corrections:
        parts.setdefault(_entry_of(correction.outcome, experiments), []).append(correction)
    entries = {part: _audited(connection, part, own, at_us) for part, own in parts.items()}
    place = {"outcomes_seen": number_of(connection, "outcomes_seen")}
    place["heartbeats_seen"] = number_of(connection, "heartbeats_seen")
    rows = [
        {
            "prediction_id": outcome.prediction_id,
            "kind": outcome.kind,
            "replaced": replaced,
            "outcome": canonical(outcome),
            "corrected_at_us": at_us,
            "actor": outcome.corrected_by,
            "decision": entries[_entry_of(outcome, experiments)],
            "predictions_seen": seen,
            **place,
        }
        for outcome, replaced in corrections
    ]
    connection.execute(text(statements("feedback")["append_correction"]), rows)


def _entry_of(outcome: Outcome, experiments: Mapping[int, str]) -> _Audited:
    return _Audited(outcome.corrected_by or "", experiments.get(outcome.fact.epoch))


def _experiments(connection: Connection, epochs: Collection[int]) -> dict[int, str]:
    """The experiments of these config revisions; none of a revision that is not known."""
    query = text(statements("feedback", connection.dialect.name)["experiments"])
    rows = connection.execute(query, {"epochs": msgspec.json.encode(sorted(epochs)).decode()})
    return {row.epoch: row.experiment_id for row in rows}


def _audited(connection: Connection, part: _Audited, corrections: Sequence[Correction], at_us: int) -> int:
    """The number of the audit entry of these corrections."""
    changes: dict[str, Change] = {}
    for outcome, replaced in corrections:
        name = f"{outcome.kind} of {outcome.prediction_id}"
        # Of several corrections of one outcome in one call, the entry has the first value and the last.
        before = changes[name].before if name in changes else outcome.named(msgspec.json.decode(replaced))
        changes[name] = Change(before, outcome.named(outcome.value))
    replaced_now = {name: change for name, change in changes.items() if change.before != change.after}
    row = {"at_us": at_us, "actor": part.actor, "action": CORRECT, "experiment_id": part.experiment_id}
    row |= dict.fromkeys(("version", "epoch", "evidence"))
    row["note"] = _note(len(replaced_now), len(changes) - len(replaced_now))
    row["changes"] = msgspec.json.encode(dict(islice(replaced_now.items(), _LISTED))).decode()
    return int(connection.execute(text(statements("decisions")["append"]), row).scalar_one())


def _note(replaced: int, put_back: int) -> str:
    note = f"{counted(replaced, 'outcome')} replaced"
    if put_back:
        note += f", {put_back:,} replaced and put back"
    if replaced > _LISTED:
        note += f"; the first {_LISTED} are listed, and the history of each prediction has its own"
    return note


def number_of(connection: Connection, statement: str) -> int:
    """What a statement of `feedback.sql` counts."""
    return int(connection.execute(text(statements("feedback", connection.dialect.name)[statement])).scalar_one())


def canonical(outcome: Outcome) -> str:
    """The text by which the log has an outcome."""
    return _text_of(outcome.value)


@lru_cache(1024, typed=True)  # a class id comes thousands of times, and is asked for twice each time
def _text_of(value: int | float) -> str:
    return msgspec.json.encode(value).decode()
