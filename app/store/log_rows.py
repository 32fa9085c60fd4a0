"""The log as exports read it: decoded rows of a part of it, in the order of their commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, text

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.domain.log_event import EVERY
from app.errors import Contradiction
from app.services.export.rows import Answer, LogOutcome, LogRow, Position, RowCount, RowForm, Selection
from app.store.archive.marks import last_mark
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.event_rows import between_ids
from app.store.forms import StoredRow
from app.store.kinds import READING
from app.store.layouts import LayoutReads
from app.store.logged import LoggedRows, span_of_numbers
from app.store.statements import statements

_LISTS = msgspec.json.Decoder(list[list[Any]])
_ANSWERS = msgspec.json.Decoder(list[dict[str, Answer]])
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_NUMBER = msgspec.json.Decoder(int | float)
_NUMBERS = msgspec.json.Decoder(list[int | float])
_Row = dict[str, Any]
# What is known of predictions: a field of `LogRow`, and its value by the prediction's seq.
Known = dict[str, dict[int, Any]]
_NONE: _Row = dict.fromkeys(("actual", "actual_at_us", "reward", "reward_at_us"))
# Whether an outcome or a correction holds for a prediction with this seq.
_Holds = Callable[[Any, int], bool]


class LogRows:
    """Reads the log for exports. Each call is one short read, and raises `StoreUnavailable`.

    `counts`, `rows` and `news` raise `Contradiction` where rows that they would give have gone to the archive.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = LayoutReads(database)
        self._events = EventLog(database)
        self._rows = LoggedRows()

    def ends(self) -> tuple[int, Position]:
        """The seq of the first prediction, and the position of the log's end."""
        with self._database.begin(READING) as connection:
            first, last = span_of_numbers(connection)
            ends = connection.execute(text(statements("log")["ends"])).one()
        return first or 1, Position(last, ends.outcomes, ends.corrections)

    def begin(self) -> Position:
        """The position behind what is archived, which is the beginning where nothing is."""
        with self._database.begin(READING) as connection:
            return _archived(connection)

    def counts(self, after: int, until: int, selection: Selection) -> list[RowCount]:
        """The forms of the selected rows with seqs above `after` and up to `until`, and how many have each."""
        with self._database.begin(READING) as connection:
            _require_predictions(connection, after)
            found = self._rows.counts(connection, after, until, selection)
        layouts = self._known_layouts(layout for _, layout, _, _ in found)
        return [
            RowCount(RowForm(version, None if layout is None else layouts[layout]), epoch, number)
            for version, layout, epoch, number in found
        ]

    def rows(self, after: int, until: int, end: Position, selection: Selection) -> list[LogRow]:
        """The selected rows with seqs above `after` and up to `until`, with their outcomes as of `end`."""
        with self._database.begin(READING) as connection:
            _require_predictions(connection, after)
            return self.of(connection, self._rows.selected(connection, after, until, selection), end)

    def of(self, connection: Connection, rows: Sequence[StoredRow], end: Position) -> list[LogRow]:
        """These rows with their outcomes as of `end`."""
        seqs = {row.prediction_id: row.seq for row in rows}
        known = _known(_of_ids(connection, "of_ids", seqs), seqs, lambda outcome, _: outcome.seq <= end.outcomes)
        corrected = _corrections(connection, seqs, lambda each, _: each.seq <= end.corrections)
        return _corrected(self._decoded(rows, known, _experiments(connection, {row.epoch for row in rows})), corrected)

    def known(self, connection: Connection, seqs: Mapping[str, int], end: Position) -> tuple[Known, set[int]]:
        """The outcomes of predictions as of `end`, and the seqs of those before which one was written.

        `seqs` are those of the predictions, by id.
        """
        known: Known = {}
        follow_outcome: set[int] = set()
        kinds: dict[str, tuple[list[int], list[str], list[int]]] = {"actual": ([], [], []), "reward": ([], [], [])}
        # Unpacked: rows of the database take ten times as long to find a column by its name.
        for outcome_seq, prediction_id, kind, outcome, received_at_us, seen in _near(connection, seqs):
            seq = seqs.get(prediction_id)
            if seq is None:
                continue
            if seen < seq:
                follow_outcome.add(seq)
            if outcome_seq <= end.outcomes:
                own, texts, times = kinds[kind]
                own.append(seq)
                texts.append(outcome)
                times.append(received_at_us)
        for kind, (own, texts, times) in kinds.items():
            numbers = _NUMBERS.decode(f"[{','.join(texts)}]")
            known[kind] = dict(zip(own, numbers if kind == "actual" else map(float, numbers), strict=True))
            known[f"{kind}_at_us"] = dict(zip(own, times, strict=True))
        corrected = _corrections(connection, seqs, lambda each, _: each.seq <= end.corrections)
        for prediction_id, values in corrected.items():
            for name, value in values.items():
                known.setdefault(name, {})[seqs[prediction_id]] = value
        return known, follow_outcome

    def experiments_of(self, connection: Connection, epochs: set[int]) -> Mapping[int, str]:
        """The ids of the experiments of these config revisions."""
        return _experiments(connection, epochs)

    def layouts(self, ids: Iterable[int | None]) -> Mapping[int, LoggedLayout]:
        """The layouts with these ids; one that is not known has no columns."""
        return self._known_layouts(ids)

    def news(self, after: Position, limit: int) -> tuple[list[LogRow], list[LogOutcome]]:
        """Up to `limit` predictions, outcomes and corrections each after a position, of one snapshot.

        A prediction has those of its outcomes that were written before it.
        """
        named = statements("log")
        with self._database.begin(READING) as connection:
            _require_all(connection, after)
            rows = self._rows.after(connection, after.predictions, EVERY, limit)
            seqs = {row.prediction_id: row.seq for row in rows}
            known = _known(_of_ids(connection, "of_ids", seqs), seqs, _came_first)
            early = _corrections(connection, seqs, _came_first)
            experiments = _experiments(connection, {row.epoch for row in rows})
            values = {"after": after.outcomes, "limit": limit}
            outcomes = connection.execute(text(named["outcomes"]), values).all()
            values = {"after": after.corrections, "limit": limit}
            corrections = connection.execute(text(named["corrections"]), values).all()
        new = _corrected(self._decoded(rows, known, experiments), early)
        return new, [_outcome(row) for row in (*outcomes, *corrections)]

    def configurations(self, epochs: Iterable[int]) -> Mapping[int, Configuration]:
        """The configurations of these revisions, by revision; unknown ones are left out."""
        return self._events.configurations(epochs)

    def experiments(self) -> list[str]:
        """The ids of all experiments, newest first."""
        return [each.id for each in self._events.experiments()]

    def _known_layouts(self, ids: Iterable[int | None]) -> Mapping[int, LoggedLayout]:
        wanted = {each for each in ids if each is not None}
        known = self._layouts.layouts(wanted) if wanted else {}
        # A layout that is not there has no names; the contract of the version would give wrong ones.
        return {each: known.get(each, LoggedLayout(each, ())) for each in wanted}

    def _decoded(
        self, rows: Sequence[StoredRow], known: Mapping[str, _Row], experiments: Mapping[int, str]
    ) -> list[LogRow]:
        """What the rows hold, with what is known of them: by prediction id, and by config revision."""
        if not rows:
            return []
        features = _LISTS.decode(f"[{','.join([row.features for row in rows])}]")
        answers = _ANSWERS.decode(f"[{','.join([row.answers for row in rows])}]")
        layouts = self._known_layouts({row.layout for row in rows})
        return [
            LogRow(
                row.seq,
                row.prediction_id,
                row.served_at_us,
                row.request_id,
                row.epoch,
                experiments.get(row.epoch),
                row.version,
                row.chosen,
                row.assignment,
                row.propensity,
                row.counts,
                row.synthetic,
                row.user_hash,
                row.latency_us,
                row.own_key,
                **(known.get(row.prediction_id) or _NONE),
                features=values,
                answers=given,
                failed=() if row.failed is None else _NAMES.decode(row.failed),
                lacking=() if row.lacking is None else _NAMES.decode(row.lacking),
                layout=None if row.layout is None else layouts[row.layout],
            )
            for row, values, given in zip(rows, features, answers, strict=True)
        ]


def _archived(connection: Connection) -> Position:
    """The seqs up to which predictions and outcomes are archived; 0 where none are."""
    mark = last_mark(connection)
    return Position() if mark is None else Position(mark.predictions, mark.outcomes)


def _require_predictions(connection: Connection, after: int) -> None:
    """Raise `Contradiction` where predictions behind the seq `after` are archived and no longer in the log."""
    until = _archived(connection).predictions
    if until > after and (span_of_numbers(connection)[0] or EVERY) > after + 1:
        raise Contradiction(
            f"predictions up to seq {until:,} were moved to the archive before they were read, so this export lacks "
            "them: export again, or read them from the archive"
        )


def _require_all(connection: Connection, after: Position) -> None:
    """Raise `Contradiction` where lines behind the position are archived and no longer in the log."""
    until = _archived(connection)
    gone = until.predictions > after.predictions and (span_of_numbers(connection)[0] or EVERY) > after.predictions + 1
    if not gone and until.outcomes > after.outcomes:
        first = connection.execute(text(statements("archive")["ends"])).one().first_outcome or EVERY
        gone = first > after.outcomes + 1
    if gone:
        behind = Position(*map(max, after, until))
        raise Contradiction(
            f"lines behind {after} were moved to the archive before they were read: read predictions up to seq "
            f"{until.predictions:,} and outcomes up to {until.outcomes:,} from the archive, then go on with "
            f"--after {behind}"
        )


def _known(outcomes: Iterable[Any], seqs: Mapping[str, int], holds: _Holds) -> dict[str, _Row]:
    """The outcomes that hold, by prediction id."""
    found: dict[str, _Row] = {}
    for each in outcomes:
        if holds(each, seqs[each.prediction_id]):
            own = found.setdefault(each.prediction_id, dict(_NONE))
            own.update({each.kind: _value(each), f"{each.kind}_at_us": each.received_at_us})
    return found


def _corrections(connection: Connection, seqs: Mapping[str, int], holds: _Holds) -> dict[str, _Row]:
    """What the corrections that hold say last, by prediction id."""
    if connection.execute(text(statements("log")["any_correction"])).first() is None:
        return {}
    found: dict[str, _Row] = {}
    for each in _of_ids(connection, "corrections_of_ids", seqs):
        if holds(each, seqs[each.prediction_id]):
            own = found.setdefault(each.prediction_id, {})
            own.update({each.kind: _value(each), f"{each.kind}_corrected_at_us": each.corrected_at_us})
    return found


def _value(row: Any) -> int | float:
    """The outcome in a row of outcomes or corrections: rewards are numbers with a point."""
    number = _NUMBER.decode(row.outcome)
    return number if row.kind == "actual" else float(number)


def _came_first(row: Any, seq: int) -> bool:
    """Whether a row was written before the prediction with this seq, which it is of."""
    return bool(row.predictions_seen < seq)


def _near(connection: Connection, ids: Collection[str]) -> Sequence[Any]:
    """The outcomes of predictions with these ids, and of others."""
    if not ids:
        return ()
    found = between_ids(connection, statements("log")["between_ids"], ids)
    return _of_ids(connection, "of_ids", ids) if found is None else found


def _of_ids(connection: Connection, statement: str, ids: Iterable[str]) -> Sequence[Any]:
    query = text(statements("log", connection.dialect.name)[statement])
    return connection.execute(query, {"ids": msgspec.json.encode([*ids]).decode()}).all()


def _experiments(connection: Connection, epochs: set[int]) -> dict[int, str]:
    query = text(statements("predictions", connection.dialect.name)["experiments"])
    values = {"epochs": msgspec.json.encode(sorted(epochs)).decode()}
    return {row.epoch: row.experiment_id for row in connection.execute(query, values)}


def _corrected(rows: list[LogRow], corrections: Mapping[str, _Row]) -> list[LogRow]:
    """The rows with the last value of each outcome that was corrected."""
    if not corrections:
        return rows
    changed = ((row, corrections.get(row.prediction_id)) for row in rows)
    return [replace(row, **values) if values else row for row, values in changed]


def _outcome(row: Any) -> LogOutcome:
    seq, seen, prediction_id, kind, value, at_us, ordinal, epoch, experiment, counts, user_hash, *corrected = row
    number = _NUMBER.decode(value)
    return LogOutcome(
        seq, seen, prediction_id, kind, number, at_us, ordinal, epoch, experiment, bool(counts), user_hash, *corrected
    )
