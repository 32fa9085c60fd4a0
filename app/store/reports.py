"""The monitor's reports in the store: written by the monitor, read by the api, which computes none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.experiment import Configuration, ExperimentTerms, SecondaryMetric
from app.domain.log_event import Cursor
from app.domain.monitor_state import PROJECTIONS, ExperimentSummary, LogTotals, MonitorSnapshot, StoredReport
from app.domain.report import ExperimentReport, MetricReport, MonitorLag, SplitRevision, TimelinePoint, VariantReport
from app.domain.timestamps import iso_utc
from app.scoring.table import METRICS
from app.services.queries.experiments import ExperimentRecord
from app.store.engine import Database
from app.store.kinds import MONITORING, READING
from app.store.packing import TIME_LENGTH
from app.store.statements import CURSOR, HEARTBEAT, REPORTS, STATES, metrics_name, report_name, statements


class ReportTable:
    """Reports as the monitor writes them. Every call raises `StoreUnavailable` where the store cannot be used.

    `space` is a prefix of all names, as in `ProjectionStore`; `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int], space: str = "") -> None:
        self._database = database
        self._now_us = now_us
        self._space = space

    def stale_reports(self) -> dict[str, Cursor]:
        """The experiments whose report is missing or older than their state, with the state's cursor."""
        names = {"states": self._space + STATES, "reports": self._space + REPORTS}
        with self._database.begin(READING) as connection:
            return {row[0]: Cursor(*row[1:]) for row in _execute(connection, "stale_reports", **names)}

    def put_report(self, experiment_id: str, of: Cursor, body: str) -> None:
        """Replace the report of an experiment by one (JSON) that was made of the state at cursor `of`."""
        self._put(report_name(experiment_id), of, body)

    def heartbeat(self) -> None:
        """Record that by now all of the log has been processed."""
        self._put(HEARTBEAT, Cursor(), "{}")

    def _put(self, name: str, place: Cursor, body: str) -> None:
        values = {"name": self._space + name, "body": body, "at_us": self._now_us()}
        values |= msgspec.structs.asdict(place)
        with self._database.begin(MONITORING) as connection:
            connection.execute(text(statements("monitor")["put_state"]), values)


class MonitorReads:
    """The api's view of the monitor. Every call raises `StoreUnavailable` where the store cannot be read.

    `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    def report(self, experiment_id: str | None = None) -> StoredReport | None:
        """The report of an experiment (None: of the newest one); None before the monitor has made it."""
        with self._database.begin(READING) as connection:
            chosen = _summary(connection, experiment_id)
            report = None if chosen is None else _report(connection, chosen)
            return None if report is None else StoredReport(report, self._age_s(connection), self._lag(connection))

    def timeline(self, experiment_id: str | None = None, points: int = 200) -> list[TimelinePoint]:
        """Up to `points` points of each comparison's timeline, evenly spaced, with the first and the last of it."""
        with self._database.begin(READING) as connection:
            chosen = _summary(connection, experiment_id)
            if chosen is None:
                return []
            rows = _execute(connection, "points", experiment_id=chosen.id)
        return [_point(row) for timeline in _by_challenger(rows) for row in thinned(timeline, points)]

    def snapshot(self) -> MonitorSnapshot:
        """The derived state that becomes metrics, read in one transaction."""
        with self._database.begin(READING) as connection:
            row = _execute(connection, "row", name=CURSOR)
            totals = msgspec.json.decode(row[0].body, type=LogTotals) if row else LogTotals()
            chosen = _summary(connection, None)
            report = None if chosen is None else _report(connection, chosen)
            age_s, lag = self._age_s(connection), self._lag(connection)
        return MonitorSnapshot(feedback=totals.feedback_by_version(), report=report, age_s=age_s, lag=lag)

    def age_s(self) -> float | None:
        """Seconds since the monitor last had processed all of the log; None where it never has."""
        with self._database.begin(READING) as connection:
            return self._age_s(connection)

    def lag(self) -> MonitorLag:
        """How far the projection that is furthest behind is behind the log."""
        with self._database.begin(READING) as connection:
            return self._lag(connection)

    def _lag(self, connection: Connection) -> MonitorLag:
        done = _execute(connection, "furthest_behind", names=msgspec.json.encode(PROJECTIONS).decode())[0]
        # One that has not begun has no row.
        begun = done.projections == len(PROJECTIONS)
        after = {"predictions": done.predictions if begun else 0, "outcomes": done.outcomes if begun else 0}
        last = _execute(connection, "last_rows")[0]
        rows = max(0, last.predictions - after["predictions"]) + max(0, last.outcomes - after["outcomes"])
        oldest = _execute(connection, "oldest_waiting", **after)[0] if rows else (None, None, None)
        packed = None if oldest[1] is None else int.from_bytes(oldest[1][:TIME_LENGTH])
        times = [each for each in (oldest[0], packed, oldest[2]) if each is not None]
        return MonitorLag(rows, max(0, self._now_us() - min(times)) / 1e6 if times else 0.0)

    def _age_s(self, connection: Connection) -> float | None:
        row = _execute(connection, "row", name=HEARTBEAT)
        # The monitor's host may have another clock, or this one was set back: an age is never negative.
        return max(0, self._now_us() - row[0].updated_at_us) / 1e6 if row else None


def thinned(rows: Sequence[Any], points: int) -> list[Any]:
    """Up to `points` of `rows`, evenly spaced, with the first and the last (the last alone where `points` is 1)."""
    if len(rows) <= points:
        return list(rows)
    if points < 2:
        return list(rows[-1:])[:points]
    return [rows[round(place * (len(rows) - 1) / (points - 1))] for place in range(points)]


def _summary(connection: Connection, experiment_id: str | None) -> ExperimentSummary | None:
    summaries = [ExperimentSummary(*row) for row in _execute(connection, "experiments")]
    return next((each for each in summaries if experiment_id in (None, each.id)), None)


def _report(connection: Connection, summary: ExperimentSummary) -> ExperimentReport | None:
    """The stored report, with the parts that change without a new report: start, end, state and weights."""
    row = _execute(connection, "row", name=report_name(summary.id))
    if not row:
        return None
    report = msgspec.json.decode(row[0].body, type=ExperimentReport)
    last = _last(connection, summary.id)
    weights = {} if last is None else last.weights
    return msgspec.structs.replace(
        report,
        started=iso_utc(summary.started_at_us),
        ended=None if summary.ended_at_us is None else iso_utc(summary.ended_at_us),
        state="running" if summary.ended_at_us is None else "ended",
        variants=tuple(_weighted(variant, weights) for variant in report.variants),
        metrics=_metrics(connection, last),
    )


def _weighted(variant: VariantReport, weights: Mapping[str, float]) -> VariantReport:
    return msgspec.structs.replace(variant, weight=weights.get(variant.version, 0.0))


def _last(connection: Connection, experiment_id: str) -> Configuration | None:
    rows = _execute(connection, "last_configuration", experiment_id=experiment_id)
    if not rows:
        return None
    # The body was written before the store numbered the row.
    return msgspec.structs.replace(msgspec.json.decode(rows[0].body, type=Configuration), epoch=rows[0].epoch)


def _metrics(connection: Connection, last: Configuration | None) -> tuple[MetricReport, ...]:
    """The reports of the secondary metrics that the experiment's last configuration names, in its order."""
    if last is None or not last.secondary:
        return ()
    rows = _execute(connection, "row", name=metrics_name(last.experiment_id))
    made = msgspec.json.decode(rows[0].body, type=list[MetricReport]) if rows else []
    known = {each.metric: each for each in made}
    return tuple(known.get(each.metric) or _not_begun(each, last) for each in last.secondary)


def _not_begun(metric: SecondaryMetric, last: Configuration) -> MetricReport:
    found = METRICS[metric.metric]
    described = found.described(metric.terms(last.terms))
    return MetricReport(metric=metric.metric, described=described, higher_is_better=found.higher_is_better)


def _by_challenger(rows: Sequence[Any]) -> list[list[Any]]:
    timelines: dict[str, list[Any]] = {}
    for row in rows:
        timelines.setdefault(row.challenger, []).append(row)
    return list(timelines.values())


def _point(row: Any) -> TimelinePoint:
    return msgspec.json.decode(row.body, type=TimelinePoint)


def _execute(connection: Connection, statement: str, /, **parameters: object) -> Sequence[Any]:
    return connection.execute(text(statements("monitor", connection.dialect.name)[statement]), parameters).all()


class _Body(msgspec.Struct):
    terms: ExperimentTerms
    versions: tuple[str, ...] = ()
    champion: str | None = None


class _Split(msgspec.Struct, frozen=True):
    weights: dict[str, float]


class ExperimentTable:
    """The table `experiments`, with the monitor's last report of each.

    Every call raises `StoreUnavailable` where the store cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, limit: int) -> list[ExperimentRecord]:
        """The newest `limit` experiments, newest first."""
        return self._select("newest", limit=limit)

    def find(self, experiment_id: str) -> ExperimentRecord | None:
        """The experiment with that id; None where there never was one."""
        found = self._select("of_id", id=experiment_id)
        return found[0] if found else None

    def splits(self, experiment_id: str) -> list[SplitRevision]:
        """The config revisions of that experiment whose split differs from the one before, oldest first."""
        with self._database.begin(READING) as connection:
            query = text(statements("config")["of_experiment"])
            rows = connection.execute(query, {"experiment_id": experiment_id}).all()
        found: list[SplitRevision] = []
        for row in rows:
            weights = msgspec.json.decode(row.body, type=_Split).weights
            if not found or weights != found[-1].weights:
                at = iso_utc(row.created_at_us)
                found.append(SplitRevision(epoch=row.epoch, at=at, source=row.source, weights=weights))
        return found

    def _select(self, which: str, **parameters: object) -> list[ExperimentRecord]:
        named = statements("experiments")
        query = text(f"{named['experiments']} {named[which]}")
        with self._database.begin(READING) as connection:
            rows = connection.execute(query, {"reports": REPORTS, **parameters}).all()
            return [_record(connection, row) for row in rows]


def _record(connection: Connection, row: Any) -> ExperimentRecord:
    last = _last(connection, row.id)
    body = msgspec.json.decode(row.body, type=_Body)
    return ExperimentRecord(
        id=row.id,
        ordinal=row.ordinal,
        started_at_us=row.started_at_us,
        ended_at_us=row.ended_at_us,
        ended_by=row.ended_by,
        terms=body.terms,
        versions=body.versions,
        champion=body.champion,
        report=msgspec.json.decode(row.report, type=ExperimentReport) if row.report else None,
        metrics=_metrics(connection, last),
        # Perhaps a release without some of the terms has written its last row, after a downgrade.
        last=None if last is None else msgspec.structs.replace(last, terms=body.terms),
    )
