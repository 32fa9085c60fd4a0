"""What the monitor keeps no counters of is counted when somebody asks: the same figures, of the newest rows."""

import msgspec
import pytest

from app.domain.experiment import SecondaryMetric
from app.domain.log_event import OutcomeJoined
from app.errors import InvalidRequest
from app.monitor.breakdown import known_columns
from app.services.breakdown import on_demand, plan
from app.services.breakdown.on_demand import Sources
from app.services.ports import LoadedModels
from app.services.queries.breakdown import PROJECTION, Breakdowns
from app.services.queries.disagreements import Disagreements, ListedRow, Wanted
from app.services.queries.logged_answers import LoggedAnswer
from tests.unit.monitor.broken_down import CLASSES, WINDY, BrokenDown, references
from tests.unit.services.control.deciders import MemoryReports, record

RECALL = SecondaryMetric(metric="recall", positive_class="b", classes=CLASSES, class_shares=(0.5, 0.3, 0.2))
REWARD = SecondaryMetric(metric="reward", classes=CLASSES)


class Log:
    """The outcomes of a `BrokenDown`, newest first, in pages of seven."""

    def __init__(self, made, *secondary):
        events = [event for entry in made.log.entries for event in entry if isinstance(event, OutcomeJoined)]
        self.found = [(event.row, event.outcome) for event in reversed(events)]
        self.last = msgspec.structs.replace(made.log.last, secondary=secondary)
        self.read = 0

    def last_configuration(self, experiment_id):
        return self.last

    def layouts(self, ids):
        return {each: WINDY for each in ids if each == WINDY.id}

    def pages(self, experiment_id, kind):
        for start in range(0, len(self.found), 7):
            self.read += 1
            yield [each for each in self.found[start : start + 7] if each[1].kind == kind]


class Asked:
    """The use case over one experiment of 80 requests."""

    def __init__(self, *secondary, clock=lambda: 0.0, **terms):
        self.made = BrokenDown(**terms)
        self.made.random_traffic(80, seed=3)
        self.log = Log(self.made, *secondary)
        known = references()
        sources = Sources(self.log, known.features, lambda version: known_columns(known, version), clock)
        states = {f"{PROJECTION}/e1": self.made.process()}
        kept = record(terms=self.made.log.last.terms)
        self.reports = MemoryReports(records=[kept])
        self.queries = Breakdowns(lambda names: {name: states[name] for name in names}, self.reports, sources)

    def of(self, by, metric=None):
        return self.queries.of("e1", "v2", by, metric)


def figures(found):
    """The rows without what only the monitor's counters know."""
    rows = (found.all, *found.rows)
    return [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in each.items()}
        for each in map(msgspec.structs.asdict, (msgspec.structs.replace(row, requests=None) for row in rows))
    ]


@pytest.mark.parametrize("by", ["class", "feature:colour", "feature:x"])
def test_by_a_secondary_metric_it_is_what_it_would_be_if_that_metric_decided(by):
    found, decides = Asked(RECALL).of(by, "recall"), Asked(metric="recall", positive_class="b").of(by)
    assert [msgspec.structs.asdict(row) for row in (found.all, *found.rows)] == figures(decides)
    assert (found.metric, found.computed_from) == ("recall", f"all {found.all.labelled} labelled requests")
    assert found.all.requests is None


def test_the_confusion_matrices_do_not_depend_on_the_metric(monkeypatch):
    asked = Asked(RECALL)
    monkeypatch.setattr(on_demand, "MOST_OUTCOMES", 10)
    assert asked.of("class", "recall").versions == asked.of("class").versions


def test_a_feature_beyond_the_counted_ones_has_the_parts_and_figures_that_it_would_have(monkeypatch):
    every = Asked().of("feature:member")
    monkeypatch.setattr(plan, "MOST_FEATURES", 1)
    asked = Asked()
    found = asked.of("feature:member")
    assert [msgspec.structs.asdict(row) for row in (found.all, *found.rows)] == figures(every)
    assert (found.features, found.on_demand) == (("x",), ("colour", "member", "wind"))
    assert [*found.refused] == ["comment"]
    assert asked.of("feature:x").on_demand == found.on_demand


def test_at_most_so_many_rows_are_counted_the_newest_ones_and_the_answer_says_it(monkeypatch):
    monkeypatch.setattr(on_demand, "MOST_OUTCOMES", 10)
    asked = Asked(RECALL)
    found = asked.of("feature:colour", "recall")
    newest = [row for row, outcome in asked.log.found if row.counts][:10]
    assert found.computed_from == "the newest 10 labelled requests"
    assert found.all.labelled == len(newest)
    assert asked.log.read < 4


def test_reading_ends_when_the_time_is_up():
    now = iter(range(100))
    asked = Asked(RECALL, clock=lambda: next(now))
    found = asked.of("feature:colour", "recall")
    assert asked.log.read == 2
    assert "the newest" in found.computed_from


def test_rewards_are_counted_by_the_version_that_served():
    found = Asked(REWARD).of("feature:colour", "reward")
    assert (found.all.labelled, found.computed_from) == (0, "all 0 rewards")


@pytest.mark.parametrize(
    ("by", "metric", "field", "said"),
    [
        ("class", "brier", "metric", "no metric 'brier' in this experiment: one of accuracy, recall, reward"),
        ("class", "reward", "by", "rewards do not say the true class"),
        ("feature:rain", "recall", "by", "no feature rain"),
        ("feature:comment", "recall", "by", "is text or a date"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_read(by, metric, field, said):
    asked = Asked(RECALL, REWARD)
    with pytest.raises(InvalidRequest, match=said) as refused:
        asked.of(by, metric)
    assert (refused.value.field, asked.log.read) == (field, 0)


class Listed:
    """Every request of an experiment as a disagreement, newest first, at most seven a read."""

    def __init__(self, asked, clock=lambda: 0.0):
        known = {None: None, WINDY.id: WINDY}
        logged = (
            LoggedAnswer(f"{row.seq:064}", 0, row.version, "", row.features, row.answers, layout=known[row.layout])
            for row in reversed(asked.made.requests())
        )
        self.rows = [ListedRow(each, "failed", 1) for each in logged]
        models = LoadedModels({}, None, (), {})
        self.queries = Disagreements(self, asked.reports, lambda: models, asked.queries.part, clock)

    def page(self, experiment, challenger, limit, won, label, before):
        older = [each for each in self.rows if before is None or each.row.prediction_id < before]
        return older[: min(limit, 7)]

    def margin(self, *_):
        return None

    def ids(self, limit=1000, **wanted):
        """The ids on all pages."""
        found, before = [], None
        while before is not None or not found:
            page = self.queries.page("e1", Wanted(**wanted, limit=limit, before=before))
            found += [each.prediction_id for each in page.disagreements]
            before = page.next
            if before is None:
                return found
        return found


@pytest.mark.parametrize("most", [12, 1])
@pytest.mark.parametrize("by", ["feature:colour", "feature:x", "feature:member", "feature:wind"])
def test_disagreements_of_a_part_are_as_many_as_the_breakdown_counts(by, most, monkeypatch):
    counted = Asked().of(by)
    monkeypatch.setattr(plan, "MOST_FEATURES", most)
    listed = Listed(Asked())
    found = {row.level: listed.ids(by=by, level=row.level) for row in counted.rows}
    assert {level: len(ids) for level, ids in found.items()} == {row.level: row.requests for row in counted.rows}
    assert all(listed.ids(limit=2, by=by, level=level) == ids for level, ids in found.items())


def test_a_page_of_a_part_ends_when_the_time_is_up_and_the_next_goes_on():
    now = iter(range(1000))
    asked = Asked()
    slow, fast = Listed(asked, lambda: next(now)), Listed(asked)
    wanted = {"by": "feature:colour", "level": "red"}
    page = slow.queries.page("e1", Wanted(**wanted))
    assert page.next == slow.rows[13].row.prediction_id
    assert slow.ids(**wanted) == fast.ids(**wanted)


@pytest.mark.parametrize(
    ("wanted", "field", "said"),
    [
        ({"by": "feature:colour"}, "by", "by and level go together"),
        ({"level": "red"}, "by", "by and level go together"),
        ({"by": "feature:colour", "level": "pink"}, "level", "there are: red, green, blue, \\(other\\), \\(missing\\)"),
        ({"by": "feature:nothing", "level": "red"}, "by", "no feature nothing"),
        ({"by": "class", "level": "z"}, "class", "no class 'z'"),
        ({"by": "class", "level": "a", "true_class": "b"}, "class", "not both"),
    ],
)
def test_a_part_that_is_not_there_is_refused(wanted, field, said):
    with pytest.raises(InvalidRequest, match=said) as refused:
        Listed(Asked()).queries.page("e1", Wanted(**wanted))
    assert refused.value.field == field
