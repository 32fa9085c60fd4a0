"""A stream of the log: in the order of commits, and exact from any line on, whatever the portions."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.services.export import follow
from app.services.export.follow import Follower, in_order
from app.services.export.rows import Answer, LogOutcome, LogRow, Position, position_of

CONTRACTS = {"v1": FeatureContract("classification", "y", (Feature(name="a"),), ("no", "yes"))}

BEGINNING = Position()


def row(seq, version="v1"):
    return LogRow(
        seq=seq,
        prediction_id=f"p{seq}",
        served_at_us=seq,
        request_id="r",
        epoch=1,
        experiment_id="e",
        version=version,
        chosen="v1",
        assignment="weighted",
        propensity=0.5,
        counts=True,
        synthetic=False,
        user_hash=0,
        latency_us=1000,
        own_key=None,
        actual=None,
        actual_at_us=None,
        reward=None,
        reward_at_us=None,
        features=[1.0],
        answers={version: Answer(c=1)},
        failed=(),
        lacking=(),
        layout=None,
    )


def outcome(seq, seen):
    return LogOutcome(seq, seen, f"p{seq}", "actual", 1, 9, 1, 1, "e", True, 0)


def correction(seq, seen, outcomes_seen):
    return LogOutcome(seq, seen, "p1", "actual", 0, 9, 1, 1, "e", True, 0, outcomes_seen, 11)


class Log:
    """A log of the given lines; `Follower` asks it for news only."""

    def __init__(self, *lines):
        self.lines = list(lines)

    def news(self, after, limit):
        rows = [line for line in self.lines if isinstance(line, LogRow) and line.seq > after.predictions]
        told = [line for line in self.lines if isinstance(line, LogOutcome)]
        outcomes = [line for line in told if line.corrected_at_us is None and line.seq > after.outcomes]
        corrections = [line for line in told if line.corrected_at_us is not None and line.seq > after.corrections]
        return rows[:limit], [*outcomes[:limit], *corrections[:limit]]


def stream(log, after=BEGINNING, **options):
    """All lines after a position."""
    out = io.BytesIO()
    follower = Follower(log, CONTRACTS, {1: "v1"}, out, after, **{"as_csv": False, **options})
    while follower.step():
        pass
    return out.getvalue().decode().splitlines()


def seqs(lines):
    return [json.loads(line)["seq"] for line in lines]


LOG = Log(outcome(1, 0), row(1), row(2), outcome(2, 2), correction(1, 2, 2), outcome(3, 2), row(3), correction(2, 3, 3))


def test_lines_come_in_the_order_of_their_commits():
    assert seqs(stream(LOG)) == ["0-1", "1-1", "2-1", "2-2", "2-2-1", "2-3-1", "3-3-1", "3-3-2"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_whatever_line_was_the_last_the_rest_follows_it_once(monkeypatch, limit):
    whole = stream(LOG)
    monkeypatch.setattr(follow, "_LIMIT", limit)
    for read in range(len(whole) + 1):
        after = position_of(json.loads(whole[read - 1])["seq"]) if read else Position()
        assert stream(LOG, after) == whole[read:]


@given(st.lists(st.sampled_from("poc"), max_size=12), st.integers(1, 4))
def test_no_portion_has_a_line_before_one_that_was_not_read(kinds, limit):
    lines, seen = [], dict.fromkeys("poc", 0)
    for kind in kinds:
        seen[kind] += 1
        made = {"p": lambda: row(seen["p"]), "o": lambda: outcome(seen["o"], seen["p"])}
        lines.append(made.get(kind, lambda: correction(seen["c"], seen["p"], seen["o"]))())
    rows, others = Log(*lines).news(Position(), limit)
    found = in_order(rows, others, limit)
    assert found == lines[: len(found)]
    assert bool(found) == bool(lines)


def test_an_outcome_has_its_own_kind_its_label_and_its_time():
    line = json.loads(stream(LOG)[0])
    assert (line["kind"], line["prediction_id"], line["actual"]) == ("outcome", "p1", "yes")
    assert line["actual_time"] == "1970-01-01T00:00:00.000009Z"
    assert "feature.a" not in line


def test_a_correction_has_the_new_value_and_both_times():
    line = json.loads(stream(LOG)[4])
    assert (line["kind"], line["prediction_id"], line["actual"]) == ("correction", "p1", "no")
    assert [line[f"actual_{name}"][-5:] for name in ("time", "corrected_time")] == ["0009Z", "0011Z"]


def test_csv_has_one_header_and_stops_where_a_row_needs_another(monkeypatch):
    assert [line.split(",")[0] for line in stream(LOG, as_csv=True)][:2] == ['"seq"', '"0-1"']
    monkeypatch.setattr(follow, "_LIMIT", 1)
    with pytest.raises(DataRefused, match="--after 1-0"):
        stream(Log(row(1), row(2, version="v9")), as_csv=True)


def test_json_lines_go_on_with_a_version_that_was_published_meanwhile():
    assert "status.v9" in json.loads(stream(Log(row(1), row(2, version="v9")))[1])


@pytest.mark.parametrize(
    ("text", "position"), [("0", Position()), ("12-3", Position(12, 3)), ("12-3-1", Position(12, 3, 1))]
)
def test_a_position_is_read(text, position):
    assert position_of(text) == position
