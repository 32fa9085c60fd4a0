"""The rows of a page of the log, and its events in the total order: as columns, with objects made where they are taken.

Whoever works on many rows takes the columns of their blocks (`in_blocks`), or one field of all (`values_of`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast, overload

import numpy as np

from app.domain.log_columns import Block, RowOfBlock, Shared
from app.domain.log_event import Event, FeedbackReceived, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
from app.domain.log_outcomes import Outcomes, as_outcomes


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


def seqs_of(rows: Sequence[PredictionRow]) -> np.ndarray:
    """The seqs of the rows; shape (n,)."""
    if not isinstance(rows, Rows):
        return np.array([row.seq for row in rows], np.int64)
    found = np.zeros(len(rows), np.int64)
    for block, places, at in rows.parts:
        found[places] = block.seq_array[at]
    return found


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


class Joined:
    """Outcomes that joined their predictions, in order: their places among all events, and the predictions."""

    def __init__(self, outcomes: Outcomes, rows: Sequence[PredictionRow], places: np.ndarray) -> None:
        self.outcomes, self.rows, self.places = outcomes, rows, places

    @functools.cached_property
    def events(self) -> list[OutcomeJoined]:
        """The events."""
        return [*map(OutcomeJoined, self.outcomes, self.rows)]


# Which of the events one is; `Events` lists the first three by their kinds.
RECEIVED, JOINED, REST, _LOGGED = range(4)


class Events(Sequence[Event]):
    """Events in the total order: predictions that were logged (`rows`), outcomes that were `received`, outcomes that
    `joined` their predictions, and the `rest`, each in order.

    For each event that is no logged prediction, `kinds` says which of the other three it is, and `before` how many of
    the rows come before it; shape (n,) each.
    """

    def __init__(
        self,
        rows: Sequence[PredictionRow],
        received: Outcomes,
        joined: tuple[Outcomes, Sequence[PredictionRow]],
        rest: Sequence[Event],
        kinds: np.ndarray,
        before: np.ndarray,
    ) -> None:
        self.rows, self.received, self.rest = rows, received, rest
        self.places = np.arange(len(rows)) + np.searchsorted(before, np.arange(len(rows)), side="right")
        self._of_kind = [(before + np.arange(len(before)))[kinds == kind] for kind in (RECEIVED, JOINED, REST)]
        self.received_places, joined_places, self.rest_places = self._of_kind
        self.joined = Joined(*joined, joined_places)
        self.made: dict[int, Event] = {}

    @functools.cached_property
    def all(self) -> list[Event]:
        """Every event."""
        return self._some(np.arange(len(self)))

    @property
    def others(self) -> list[Event]:
        """All events that are no logged predictions."""
        return self.some(np.sort(np.concatenate(self._of_kind)))

    def some(self, places: np.ndarray) -> list[Event]:
        """The events at these places; each is one object, however often it is asked for."""
        return self.all if places.size == len(self) else self._some(places)

    def _some(self, places: np.ndarray) -> list[Event]:
        new = np.array([place for place in places.tolist() if place not in self.made], np.int64)
        if new.size:
            self._make(new)
        return [*map(self.made.__getitem__, places.tolist())]

    def _make(self, places: np.ndarray) -> None:
        of, numbers = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        for kind, own in enumerate((*self._of_kind, self.places)):
            of[own], numbers[own] = kind, np.arange(len(own))
        for kind in np.unique(of[places]).tolist():
            own = places[of[places] == kind]
            self.made.update(zip(own.tolist(), self._events(kind, numbers[own]), strict=True))

    def _events(self, kind: int, numbers: np.ndarray) -> Iterator[Event]:
        """The events of a kind with these numbers."""
        if kind == _LOGGED:
            return map(PredictionLogged, _each(self.rows, numbers))
        if kind == RECEIVED:
            return map(FeedbackReceived, self.received.take(numbers))
        if kind == JOINED:
            return map(OutcomeJoined, self.joined.outcomes.take(numbers), _each(self.joined.rows, numbers))
        return map(self.rest.__getitem__, numbers.tolist())

    def __len__(self) -> int:
        return len(self.rows) + sum(map(len, self._of_kind))

    @overload
    def __getitem__(self, place: int) -> Event: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Event]: ...

    def __getitem__(self, place: int | slice) -> Event | Sequence[Event]:
        return self.all[place]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.all)


def _each(rows: Sequence[PredictionRow], numbers: np.ndarray) -> Iterable[PredictionRow]:
    # Few are taken one by one: to go through rows makes all of their blocks.
    return rows if numbers.size == len(rows) else map(rows.__getitem__, numbers.tolist())


def events_of(events: Sequence[Event]) -> Events:
    """The events with those of each kind apart, as `in_order` gives them."""
    if isinstance(events, Events):
        return events
    rows, received, joined, rest = list[PredictionRow](), list[OutcomeRow](), list[OutcomeJoined](), list[Event]()
    kinds, before = list[int](), list[int]()
    for event in events:
        if isinstance(event, PredictionLogged):
            rows.append(event.row)
            continue
        before.append(len(rows))
        if isinstance(event, FeedbackReceived):
            received.append(event.outcome)
            kinds.append(RECEIVED)
        elif isinstance(event, OutcomeJoined):
            joined.append(event)
            kinds.append(JOINED)
        else:
            rest.append(event)
            kinds.append(REST)
    found = Events(
        rows,
        as_outcomes(received),
        (as_outcomes(each.outcome for each in joined), as_columns([each.row for each in joined])),
        rest,
        np.array(kinds, np.int64),
        np.array(before, np.int64),
    )
    found.made.update(enumerate(events))
    return found
