"""The rows of a page of the log, and its events in the total order: as columns, with objects made where they are taken.

Whoever works on many rows takes the columns of their blocks (`in_blocks`), or one field of all (`values_of`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast, overload

import numpy as np

from app.domain.log_columns import Block, RowOfBlock, Shared
from app.domain.log_event import (
    Event,
    FeedbackReceived,
    LogPage,
    OutcomeCorrected,
    OutcomeJoined,
    Place,
    PredictionLogged,
    PredictionRow,
    place_of_correction,
    place_of_heartbeat,
    place_of_outcome,
)


class Rows(Sequence[PredictionRow]):
    """Rows of blocks, in some order, which become objects only where they are taken one by one.

    For each row, `of` is the number of its block among `blocks`, and `at` its place there; shape (n,) each.
    """

    def __init__(self, blocks: Sequence[Block], of: np.ndarray, at: np.ndarray) -> None:
        self.blocks, self.of, self.at = blocks, of, at

    def __len__(self) -> int:
        return len(self.of)

    @overload
    def __getitem__(self, place: int) -> PredictionRow: ...

    @overload
    def __getitem__(self, place: slice) -> Rows: ...

    def __getitem__(self, place: int | slice) -> PredictionRow | Rows:
        """The row at a place, or some of the rows."""
        if isinstance(place, slice):
            return Rows(self.blocks, self.of[place], self.at[place])
        # It has all that a `PredictionRow` has, and is no struct, whose fields would have to be made for every row.
        return cast("PredictionRow", self.blocks[self.of[place]].row(int(self.at[place])))

    def __iter__(self) -> Iterator[PredictionRow]:
        rows = [block.rows for block in self.blocks]
        for of, at in zip(self.of.tolist(), self.at.tolist(), strict=True):
            yield cast("PredictionRow", rows[of][at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: np.ndarray) -> Rows:
        """The rows at these places."""
        return Rows(self.blocks, self.of[places], self.at[places])

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The rows by block."""
        found = [np.flatnonzero(self.of == number) for number in range(len(self.blocks))]
        pairs = zip(self.blocks, found, strict=True)
        return [Part(block, places, self.at[places]) for block, places in pairs if places.size]


def as_rows(blocks: Sequence[Block]) -> Rows:
    """The rows of all blocks in the order of their seqs."""
    sizes = [len(block.seqs) for block in blocks]
    order = np.argsort(np.array([seq for block in blocks for seq in block.seqs], np.int64), kind="stable")
    at = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, np.int64)
    return Rows(blocks, np.repeat(np.arange(len(blocks)), sizes)[order], at[order])


def values_of(rows: Sequence[PredictionRow], name: str) -> list[Any]:
    """A field of every row: `seq`, `prediction_id` or another one."""
    if not isinstance(rows, Rows):
        return [getattr(row, name) for row in rows]
    columns = [block.column(name) for block in rows.blocks]
    return [columns[of][at] for of, at in zip(rows.of.tolist(), rows.at.tolist(), strict=True)]


def those(rows: Sequence[PredictionRow], wanted: Callable[[Shared], bool]) -> np.ndarray:
    """The places of the rows that are wanted by fields which all rows of a block share; ascending."""
    if not isinstance(rows, Rows):
        return np.array([place for place, row in enumerate(rows) if wanted(cast("Shared", row))], np.int64)
    return np.flatnonzero(np.array([wanted(block.shared) for block in rows.blocks], bool)[rows.of])


def taken(rows: Sequence[PredictionRow], places: np.ndarray) -> Sequence[PredictionRow]:
    """The rows at these places."""
    if places.size == len(rows):  # of ascending places, these are all
        return rows
    return rows.take(places) if isinstance(rows, Rows) else [rows[place] for place in places.tolist()]


def layouts_in(rows: Sequence[PredictionRow]) -> set[int]:
    """The ids of the layouts of the rows."""
    parts, alone = in_blocks(rows)
    found = {part.block.shared.layout for part in parts} | {rows[place].layout for place in alone}
    return {layout for layout in found if layout is not None}


def epochs_in(rows: Sequence[PredictionRow]) -> set[int]:
    """The config revisions of the rows."""
    parts, alone = in_blocks(rows)
    return {part.block.shared.epoch for part in parts} | {rows[place].epoch for place in alone}


def as_columns(rows: list[PredictionRow]) -> Sequence[PredictionRow]:
    """The rows as `Rows`, where all are of blocks; else as they are."""
    if not all(isinstance(row, RowOfBlock) for row in rows):
        return rows
    own = cast("list[RowOfBlock]", rows)
    blocks = {id(row.block): row.block for row in own}
    numbers = {key: number for number, key in enumerate(blocks)}
    of = np.array([numbers[id(row.block)] for row in own], np.int64)
    return Rows([*blocks.values()], of, np.array([row.at for row in own], np.int64))


class Part(NamedTuple):
    """Some rows of a block: their places among the rows that were given, and in the block; shape (n,) each."""

    block: Block
    places: np.ndarray
    at: np.ndarray

    def column(self, place: int) -> Sequence[Any]:
        """The values of a feature: an array of float64 (NaN for null), or a list of texts."""
        numbers = place
        for text, values in self.block.texts:
            if text == place:
                return [values[at] for at in self.at.tolist()]
            numbers -= text < place
        return cast("Sequence[Any]", self.block.numbers[self.at, numbers])


def in_blocks(rows: Sequence[object]) -> tuple[list[Part], list[int]]:
    """The rows by block, and the places of those that are in none."""
    if isinstance(rows, Rows):
        return rows.parts, []
    places: dict[int, tuple[Block, list[int], list[int]]] = {}
    alone: list[int] = []
    for place, row in enumerate(rows):
        if isinstance(row, RowOfBlock):
            block = row.block
            known = places.get(id(block)) or places.setdefault(id(block), (block, [], []))
            known[1].append(place)
            known[2].append(row.at)
        else:
            alone.append(place)
    return [Part(block, np.array(given), np.array(at)) for block, given, at in places.values()], alone


class Joined(NamedTuple):
    """Outcomes that joined their predictions: the events, their places among all events, and the predictions."""

    events: list[OutcomeJoined]
    places: np.ndarray
    rows: Sequence[PredictionRow]


class Events(Sequence[Event]):
    """Events in the total order: `rows` are those of the predictions that were logged, `others` are all other events.

    `before`, shape (len(others),): how many of the `rows` come before each of the others.
    """

    def __init__(self, rows: Sequence[PredictionRow], others: Sequence[Event], before: np.ndarray) -> None:
        self.rows, self.others, self.before = rows, others, before
        self._logged: dict[int, PredictionLogged] = {}

    @functools.cached_property
    def all(self) -> list[Event]:
        """Every event."""
        if not len(self.others):
            return [*map(PredictionLogged, self.rows)]
        found = cast("list[Event]", [None] * len(self))
        for place, row in zip(self.places.tolist(), self.rows, strict=True):
            found[place] = PredictionLogged(row)
        for place, event in zip(self.other_places.tolist(), self.others, strict=True):
            found[place] = event
        return found

    @functools.cached_property
    def joined(self) -> Joined:
        """The outcomes that joined their predictions."""
        found = [(place, event) for place, event in enumerate(self.others) if isinstance(event, OutcomeJoined)]
        events = [event for _, event in found]
        places = self.other_places[np.array([place for place, _ in found], np.int64)]
        return Joined(events, places, as_columns([event.row for event in events]))

    @property
    def places(self) -> np.ndarray:
        """The places of the predictions among all events."""
        numbers = np.arange(len(self.rows))
        return numbers + np.searchsorted(self.before, numbers, side="right")

    @property
    def other_places(self) -> np.ndarray:
        """The places of the other events among all."""
        places: np.ndarray = self.before + np.arange(len(self.others))
        return places

    def some(self, places: np.ndarray) -> list[Event]:
        """The events at these places; each is one object, however often it is asked for."""
        if places.size == len(self):
            return self.all
        if "all" in self.__dict__:
            return [self.all[place] for place in places.tolist()]
        is_other = np.zeros(len(self), bool)
        is_other[self.other_places] = True
        others = np.cumsum(is_other)
        found = list[Event]()
        for place, other, before in zip(
            places.tolist(), is_other[places].tolist(), others[places].tolist(), strict=True
        ):
            if other:
                found.append(self.others[before - 1])
            else:
                known = self._logged.get(place)
                found.append(known or self._logged.setdefault(place, PredictionLogged(self.rows[place - before])))
        return found

    def __len__(self) -> int:
        return len(self.rows) + len(self.others)

    @overload
    def __getitem__(self, place: int) -> Event: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Event]: ...

    def __getitem__(self, place: int | slice) -> Event | Sequence[Event]:
        return self.all[place]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.all)


def events_of(events: Sequence[Event]) -> Events:
    """The events with their predictions apart, as `in_order` gives them."""
    if isinstance(events, Events):
        return events
    rows, others, before = list[PredictionRow](), list[Event](), list[int]()
    for event in events:
        if isinstance(event, PredictionLogged):
            rows.append(event.row)
        else:
            others.append(event)
            before.append(len(rows))
    found = Events(rows, others, np.array(before, np.int64))
    found.all = [*events]
    return found


def in_order(page: LogPage) -> Events:
    """The page's events in the total order; an outcome joins its prediction after the later of the two."""
    keyed: list[tuple[Place, list[Event]]] = [(place_of_heartbeat(beat), [beat]) for beat in page.heartbeats]
    if page.early:
        rows = dict(zip(values_of(page.predictions, "prediction_id"), page.predictions, strict=True))
        for outcome in page.early:
            row = rows[outcome.prediction_id]
            # Behind the prediction, and before all that was written after it.
            keyed.append(((row.seq, 0, outcome.seq, 0, 0), [OutcomeJoined(outcome, row)]))
    for outcome in page.outcomes:
        known = page.rows.get(outcome.prediction_id)
        # Only if the prediction came first: otherwise the prediction's own event joins them, and this would be twice.
        follows = known is not None and known.seq <= outcome.predictions_seen and outcome.seq not in page.unjoined
        keyed.append((place_of_outcome(outcome), [FeedbackReceived(outcome)]))
        if known is not None and follows:
            keyed[-1][1].append(OutcomeJoined(outcome, known))
    for correction in page.corrections:
        outcome = page.corrected[correction.prediction_id, correction.kind]
        known = page.rows.get(correction.prediction_id)
        joined = known if known is not None and known.seq <= correction.predictions_seen else None
        if outcome.seq in page.unjoined:
            joined = None
        keyed.append((place_of_correction(correction), [OutcomeCorrected(correction, outcome, joined)]))
    keyed.sort(key=itemgetter(0))
    seqs = np.array(values_of(page.predictions, "seq"), np.int64)
    after = [place[0] for place, events in keyed for _ in events]
    others = [event for _, events in keyed for event in events]
    return Events(page.predictions, others, np.searchsorted(seqs, np.array(after, np.int64), side="right"))
