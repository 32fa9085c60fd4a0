"""`bakeoff feedback` against an API in memory; what the real one answers is in tests/web and tests/e2e."""

import csv
import io
import json

import pandas as pd
import pytest

from app.cli import feedback, main
from app.cli.access import ApiRefused
from app.errors import Unavailable

ROWS = 10_000


def refused(status, message="no"):
    error = ApiRefused(message)
    error.status = status
    return error


class Api:
    """Knows the predictions `known`; `most` rows a call; `failures` are raised first."""

    def __init__(self):
        self.known, self.told, self.most, self.failures, self.calls = set(), {}, 100_000, [], []

    def ask(self, url, path, token=None, csv=None):
        if path == "/models":
            return {"models": [{"aliases": []}, {"aliases": ["champion"], "contract": {"target": "species"}}]}
        assert path == "/feedback?partial=true"
        if self.failures:
            raise self.failures.pop(0)
        header, *rows = self._read(csv)
        if len(rows) > self.most:
            raise refused(413)
        self.calls.append(header)
        items = [self._told(*row[:2]) for row in rows]
        statuses = [item["status"] for item in items]
        return {"accepted": statuses.count("accepted"), "duplicates": statuses.count("duplicate"), "items": items}

    def _read(self, body):
        return list(csv.reader(io.StringIO(body.decode())))

    def _told(self, name, value):
        if name not in self.known:
            return {"status": "unknown", "message": f"no prediction has the id {name!r}"}
        before = self.told.setdefault(name, None)
        self.told[name] = before or value
        if before is None:
            return {"status": "accepted"}
        return {"status": "duplicate"} if before == value else {"status": "contradicts", "message": "recorded as x"}


@pytest.fixture
def api(monkeypatch):
    api = Api()
    monkeypatch.setattr(feedback, "ask", api.ask)
    monkeypatch.setattr(feedback, "_PAUSE_S", 0)
    return api


@pytest.fixture
def labels(tmp_path):
    def write(*lines):
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


@pytest.fixture
def called(capsys):
    def call(*words):
        status = main(["feedback", *words, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else err

    return call


def orders(count):
    return [f"order-{number},setosa" for number in range(count)]


def test_a_file_is_sent_in_batches_and_all_of_it_is_accepted(api, labels, called):
    api.known = {f"order-{number}" for number in range(ROWS)}
    status, report = called(labels("id,actual", *orders(ROWS)))
    assert (status, report["accepted"], report["refused"]) == (0, ROWS, [])
    assert api.calls == [["id", "actual"]] * (ROWS // feedback.ROWS_PER_CALL)


def test_a_file_that_is_sent_again_is_known_and_fine(api, labels, called):
    api.known = {f"order-{number}" for number in range(5)}
    path = labels("id,actual", *orders(5))
    called(path)
    status, report = called(path)
    assert (status, report["accepted"], report["duplicates"]) == (0, 0, 5)


def test_thirty_percent_unknown_and_a_broken_line_are_reported_by_line(api, labels, called):
    api.known = {f"order-{number}" for number in range(ROWS) if number % 10 >= 3}
    lines = orders(ROWS)
    lines[6998] += ",and more"  # line 7000, an order that is known
    status, report = called(labels("id,actual", *lines))
    assert (status, report["accepted"]) == (1, 6999)
    by_line = {each["line"]: each for each in report["refused"]}
    assert len(by_line) == 3001
    assert by_line[7000] == {"line": 7000, "status": "invalid", "message": "3 fields where the header has 2"}
    assert (by_line[2]["status"], by_line[2]["message"]) == ("unknown", "no prediction has the id 'order-0'")
    assert [*by_line] == sorted(by_line)


def test_a_contradiction_and_a_duplicate_within_the_file(api, labels, called):
    api.known = {"a"}
    status, report = called(labels("id,actual", "a,x", "a,x", "a,y"))
    assert (status, report["accepted"], report["duplicates"]) == (1, 1, 1)
    assert report["refused"] == [{"line": 4, "status": "contradicts", "message": "recorded as x"}]


@pytest.mark.parametrize(
    ("header", "words", "sent"),
    [
        ("prediction_id,actual", [], ["prediction_id", "actual"]),
        ("order,truth", ["--key", "order", "--label", "truth"], ["id", "actual"]),
        ("order,truth", ["--prediction-id", "order", "--label", "truth"], ["prediction_id", "actual"]),
        ("prediction_id,truth", ["--key", "prediction_id", "--label", "truth"], ["prediction_id", "actual"]),
        ("id,species", [], ["id", "actual"]),
        ("id,profit", ["--reward", "profit"], ["id", "reward"]),
        ("id,reward", [], ["id", "reward"]),
    ],
)
def test_columns_are_those_that_are_named_or_that_have_the_known_names(api, labels, called, header, words, sent):
    api.known = {"a"}
    assert called(labels(header, "a,1"), *words)[0] == 0
    assert api.calls == [sent]


@pytest.mark.parametrize(
    ("header", "words", "message"),
    [
        ("order,actual", [], "has no column prediction_id or id: give --key COLUMN; its columns are order, actual"),
        ("id,truth", [], "has no column actual or reward: give --label COLUMN"),
        ("id,actual", ["--label", "x"], "has no column 'x' for --label"),
        ("id,actual", ["--key", "actual"], "one column is given twice"),
    ],
)
def test_a_file_without_the_columns_is_refused_with_those_it_has(api, labels, called, header, words, message):
    status, error = called(labels(header, "a,1"), *words)
    assert status == 1
    assert message in error


def test_rows_without_a_label_are_left_out_and_counted(api, labels, called):
    api.known = {"a", "b"}
    status, report = called(labels("id,actual", "a,x", "b,", "c, "))
    assert (status, report["accepted"], report["without_label"]) == (0, 1, 2)


def test_a_parquet_file_is_read_too(api, tmp_path, called):
    api.known = {"a"}
    pd.DataFrame({"id": ["a"], "actual": [True]}).to_parquet(tmp_path / "labels.parquet")
    assert called(str(tmp_path / "labels.parquet"))[0] == 0
    assert api.told == {"a": "true"}


def test_batches_shrink_to_what_the_api_takes(api, labels, called):
    api.known, api.most = {f"order-{number}" for number in range(100)}, 30
    assert called(labels("id,actual", *orders(100)))[1]["accepted"] == 100
    assert len(api.calls) == 4


def test_an_overloaded_api_is_asked_again(api, labels, called):
    api.known, api.failures = {"a"}, [refused(503), Unavailable("down")]
    assert called(labels("id,actual", "a,x"))[0] == 0


def test_what_was_accepted_before_the_api_went_away_is_said(api, labels, capsys, monkeypatch):
    monkeypatch.setattr(feedback, "ROWS_PER_CALL", 2)
    api.known = {f"order-{number}" for number in range(4)}
    told = api.ask

    def once(*words, **options):
        if api.calls:
            raise Unavailable("can't reach the API")
        return told(*words, **options)

    monkeypatch.setattr(feedback, "ask", once)
    assert main(["feedback", labels("id,actual", *orders(4))]) == 1
    error = capsys.readouterr().err
    assert "2 outcomes accepted" in error
    assert "run the command again" in error
    assert "error: can't reach the API" in error


def test_ctrl_c_reports_what_was_sent(api, labels, capsys):
    api.failures = [KeyboardInterrupt()]
    assert main(["feedback", labels("id,actual", "a,x")]) == 130
    assert "0 outcomes accepted" in capsys.readouterr().out


def test_the_text_shows_the_first_lines_and_counts_the_rest(api, labels, capsys):
    assert main(["feedback", labels("id,actual", *orders(30))]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.endswith("30 rows; 0 outcomes accepted, 0 known already, 30 lines not accepted (30 unknown)")
    assert lines[0] == "line 2: unknown: no prediction has the id 'order-0'"
    assert lines[-1] == "… and 10 more lines: --json lists all"


def test_a_file_that_is_no_table_is_refused(api, tmp_path, called):
    assert "there is no file" in called(str(tmp_path / "nothing.csv"))[1]


def test_a_file_of_corrections_is_sent_as_the_administrator(api, labels, monkeypatch, capsys):
    sent = []

    def ask(url, path, token=None, headers=None, csv=None):
        sent.append((path, token, headers))
        return {"accepted": 1, "duplicates": 0, "corrected": 1, "items": [{"status": "accepted"}]}

    monkeypatch.setattr(feedback, "ask", ask)
    monkeypatch.setenv("ADMIN_TOKEN", "a-token-of-an-administrator")
    assert main(["feedback", labels("id,actual", "k1,setosa"), "--correct", "--actor", "ann"]) == 0
    path = "/feedback?partial=true&correct=true"
    assert sent == [(path, "a-token-of-an-administrator", {"X-Actor": b"ann"})]
    assert "1 of them replaced another" in capsys.readouterr().out


def test_corrections_without_the_administrators_token_say_what_to_set(api, labels, monkeypatch, capsys):
    monkeypatch.delenv("ADMIN_TOKEN", raising=False)
    assert main(["feedback", labels("id,actual", "k1,setosa"), "--correct"]) != 0
    assert "ADMIN_TOKEN" in capsys.readouterr().err
    assert api.calls == []
