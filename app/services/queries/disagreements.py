"""`GET /experiment/{id}/disagreements`: the rows that the baseline and a challenger answered differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.breakdown import CLASS
from app.domain.contract import FeatureContract
from app.domain.disagreement import WON, Won
from app.domain.prediction_id import ID_LENGTH, SHORT_LENGTH
from app.errors import InvalidRequest
from app.services.breakdown.on_demand import BUDGET_S
from app.services.pages import LARGEST_PAGE, require_number
from app.services.ports import LoadedModels
from app.services.queries.breakdown import Part
from app.services.queries.experiments import ExperimentLog, ExperimentRecord, found_in
from app.services.queries.history import contract_of
from app.services.queries.logged_answers import LoggedAnswer, VersionAnswer, detail_of

_BEFORE = re.compile(rf"[A-Za-z0-9_-]{{{SHORT_LENGTH}}}|[A-Za-z0-9_-]{{{ID_LENGTH}}}")


class ListedRow(msgspec.Struct, frozen=True):
    """A disagreement with its row of the log, and how often a row with these features is among them, counted so far."""

    row: LoggedAnswer
    won: Won
    came: int


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A request that the two versions answered differently; what is unknown is absent.

    `answers` are those of the two versions; a version that gave none is absent. `won` says whose answer was right.
    `came`: how often a row with the same features is among the disagreements, counted up to 100.
    """

    prediction_id: str
    id: str | UnsetType = UNSET
    timestamp: str
    won: Won
    actual: str | float | int | UnsetType = UNSET
    features: Mapping[str, float | str | None]
    answers: Mapping[str, VersionAnswer]
    model_version: str
    came: int


class DisagreementPage(msgspec.Struct, frozen=True, kw_only=True):
    """Disagreements, newest first. `next` is the `before` of the next page, null on the last one.

    `margin` is the distance from which two numbers are listed, null for classes.
    """

    experiment: str
    baseline: str
    challenger: str
    margin: float | None
    disagreements: tuple[Disagreement, ...]
    next: str | None


class DisagreementReads(Protocol):
    """The store's side. Raises `StoreUnavailable`."""

    def page(
        self,
        experiment_id: str,
        challenger: str,
        limit: int,
        won: Won | None = None,
        label: str | None = None,
        before: str | None = None,
    ) -> list[ListedRow]: ...

    def margin(self, experiment_id: str, challenger: str) -> float | None: ...


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for, as the query gives it."""

    challenger: str | None = None
    won: str | None = None
    true_class: str | None = None
    by: str | None = None
    level: str | None = None
    limit: int = 100
    before: str | None = None


_Page = Callable[..., list[ListedRow]]
_Found = tuple[list[ListedRow], str | None]


class Disagreements:
    """The use case. `loaded_models` returns the loaded models, for names; `part` a part of a breakdown by a feature;
    `clock` is monotonic seconds.
    """

    def __init__(
        self,
        reads: DisagreementReads,
        log: ExperimentLog,
        loaded_models: Callable[[], LoadedModels],
        part: Callable[[str, str, str], Part],
        clock: Callable[[], float],
    ) -> None:
        self._reads = reads
        self._log = log
        self._loaded_models = loaded_models
        self._part = part
        self._clock = clock

    def page(self, experiment_id: str, wanted: Wanted) -> DisagreementPage:
        """One page of them. Raises `InvalidRequest`, `UnknownExperiment` and `StoreUnavailable`."""
        require_number("limit", wanted.limit, LARGEST_PAGE)
        if wanted.before is not None and not _BEFORE.fullmatch(wanted.before):
            raise InvalidRequest("before must be a prediction id: the `next` of the previous page", field="before")
        record = found_in(self._log, experiment_id)
        models = self._loaded_models()
        baseline, challenger = record.pair(wanted.challenger)
        contract = contract_of(models, baseline)
        part = self._asked_part(record.id, wanted)
        wanted = _by_class(wanted)
        label = None if wanted.true_class is None else _label(wanted, record, contract)
        read = partial(self._reads.page, experiment_id, challenger)
        known = _won(wanted.won), label
        rows, following = _newest(read, known, wanted) if part is None else self._of_part(read, known, wanted, part)
        return DisagreementPage(
            experiment=record.id,
            baseline=baseline,
            challenger=challenger,
            margin=self._reads.margin(experiment_id, challenger),
            disagreements=tuple(_entry(each, (baseline, challenger), models) for each in rows),
            next=following,
        )

    def _asked_part(self, experiment_id: str, wanted: Wanted) -> Part | None:
        """The part of a feature that is asked for; None where none is."""
        if (wanted.by is None) != (wanted.level is None):
            raise InvalidRequest(
                "by and level go together: by=feature:NAME and level, as a breakdown has them", field="by"
            )
        if wanted.by is None or wanted.level is None or wanted.by == CLASS:
            return None
        return self._part(experiment_id, wanted.by, wanted.level)

    def _of_part(self, read: _Page, known: tuple[Won | None, str | None], wanted: Wanted, part: Part) -> _Found:
        """The newest rows of a part, of as many as can be read in the time, and where the next page begins."""
        found: list[ListedRow] = []
        deadline_s, before = self._clock() + BUDGET_S, wanted.before
        while rows := read(LARGEST_PAGE, *known, before):
            before = rows[-1].row.prediction_id
            held = part.holds([each.row for each in rows])
            found += [each for each, holds in zip(rows, held, strict=True) if holds]
            if len(found) > wanted.limit:
                return found[: wanted.limit], found[wanted.limit - 1].row.prediction_id
            if self._clock() >= deadline_s:
                return found, before
        return found, None


def _newest(read: _Page, known: tuple[Won | None, str | None], wanted: Wanted) -> _Found:
    # One more than asked for shows whether another page follows.
    rows = read(wanted.limit + 1, *known, wanted.before)
    return rows[: wanted.limit], rows[wanted.limit - 1].row.prediction_id if len(rows) > wanted.limit else None


def _by_class(wanted: Wanted) -> Wanted:
    """What is asked for, with a part by class as the class that it is."""
    if wanted.by != CLASS:
        return wanted
    if wanted.true_class is not None:
        raise InvalidRequest("give class, or by=class with level, not both", field="class")
    return msgspec.structs.replace(wanted, true_class=wanted.level)


def _won(given: str | None) -> Won | None:
    won = next((each for each in WON if each == given), None)
    if given is not None and won is None:
        raise InvalidRequest(f"won must be one of {', '.join(WON)}", field="won")
    return won


def _label(wanted: Wanted, record: ExperimentRecord, contract: FeatureContract | None) -> str:
    """The JSON of a true class as the log has it."""
    classes = record.terms.classes or (contract.classes if contract is not None else ())
    if not classes:
        raise InvalidRequest("class is for classes: this experiment's labels are numbers", field="class")
    if wanted.won == "unlabelled":
        raise InvalidRequest("an unlabelled row has no true class: leave out class or won", field="class")
    if wanted.true_class not in classes:
        shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
        raise InvalidRequest(f"no class {(wanted.true_class or '')[:64]!r}; classes: {shown}", field="class")
    return str(classes.index(wanted.true_class))


def _entry(listed: ListedRow, versions: tuple[str, str], models: LoadedModels) -> Disagreement:
    detail = detail_of(listed.row, contract_of(models, listed.row.version))
    return Disagreement(
        prediction_id=detail.prediction_id,
        id=detail.id,
        timestamp=detail.timestamp,
        won=listed.won,
        actual=detail.actual,
        features=detail.features,
        answers={version: detail.answers[version] for version in versions if version in detail.answers},
        model_version=detail.model_version,
        came=listed.came,
    )
