"""`bakeoff simulate`, from its arguments to its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from tests.unit.simulation.small_service import MODEL, SmallService


@pytest.fixture(autouse=True)
def _address(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", service.url)
    monkeypatch.delenv("API_TOKEN", raising=False)


def test_a_run_is_summed_up(service: SmallService, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--requests", "60", "--label-rate", "1", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["sent"], summary["answered"], summary["labels_accepted"]) == (60, 60, 60)
    assert set(summary["versions"]) == {"v1", "v2"}
    assert len(service.bodies("/predict")) == 60


def test_drift_begins_after_so_many(service: SmallService) -> None:
    arguments = ["--requests", "20", "--concurrency", "1", "--drift", "petal_length:+1000", "--after", "15"]
    assert main(["simulate", *arguments]) == 0
    moved = [body["features"][2] > 900 for body in service.bodies("/predict")]
    assert moved == [False] * 15 + [True] * 5


def test_the_token_is_sent(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "sesame")
    assert main(["simulate", "--requests", "2"]) == 0
    assert service.authorisation == {"Bearer sesame"}


def test_requests_without_an_answer_are_no_success(service: SmallService, capsys: pytest.CaptureFixture[str]) -> None:
    service.answers["/predict"] = [(500, {"error": {"code": "internal", "message": "m"}}, {})]
    assert main(["simulate", "--requests", "3"]) == 1
    assert "without a prediction 1 (internal 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((401, {"error": {"code": "unauthorized", "message": "a token is needed"}}, {}), "set API_TOKEN"),
        ((200, {"models": [], "aliases": {}}, {}), "no model is published: run `bakeoff train`"),
        (
            (200, {"models": [MODEL | {"serving": False}]}, {}),
            "none of the 1 published models is loaded: POST /models/reload loads them",
        ),
        ((404, "<html>", {}), "/models answered 404"),
        ((200, "[]", {}), "/models"),
    ],
)
def test_a_service_that_cannot_be_played_to_is_explained(
    service: SmallService, answer: tuple, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers["/models"] = [answer]
    assert main(["simulate"]) == 1
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_no_server_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    assert main(["simulate"]) == 1
    assert "can't reach the API at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--requests", "0"],
        ["--requests", "many"],
        ["--label-rate", "1.1"],
        ["--label-rate", "nan"],
        ["--rate", "0"],
        ["--noise", "-1"],
        ["--concurrency", "0"],
        ["--drift", "petal_length"],
        ["--after", "-1"],
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", *arguments])
    assert arguments[0] in capsys.readouterr().err


HEADER = "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm),species\n"
ROWS = "5.1,3.5,1.4,0.2,setosa\n7.0,3.2,4.7,1.4,versicolor\n6.3,3.3,6.0,2.5,virginica\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.csv"
    path.write_text(HEADER + ROWS)
    return path


def sent(service: SmallService) -> list[list[float]]:
    return [body["features"] for body in service.bodies("/predict")]


def test_data_from_elsewhere_that_fit_badly_leave_a_note(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(HEADER + ROWS + "5.1,3.5,1.4,,setosa\n")
    assert main(["simulate", "--requests", "3", "--data", str(file)]) == 0
    assert "classes: 1" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--data", "--replay"])
def test_a_file_is_sent_once_and_the_run_ends_and_says_so(
    service: SmallService, file: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--requests", "100", option, str(file)]) == 0
    assert sorted(sent(service)) == [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5], [7.0, 3.2, 4.7, 1.4]]
    printed = capsys.readouterr().out
    assert "sent 3 of 3 requests" in printed
    assert "once" in printed


def test_rows_that_are_sent_again_are_the_same_cases_and_it_says_so(
    service: SmallService, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        assert main(["simulate", "--data", str(file)]) == 0
        said.append(capsys.readouterr().out)
    assert len(set(service.keys[:3])) == 3
    assert sorted(service.keys[:3]) == sorted(service.keys[3:])
    assert "sent to this API before" not in said[0]
    assert "of the first 3 rows, 3 were sent to this API before" in said[1]


@pytest.mark.parametrize("options", [["--noise", "0.1"], ["--drift", "petal_length:+1sd"]])
def test_rows_that_are_changed_on_purpose_are_cases_of_their_own(
    service: SmallService, file: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--data", str(file)]) == 0
    assert main(["simulate", "--data", str(file), *options]) == 0
    assert len(set(service.keys)) == 6
    assert "before" not in capsys.readouterr().out


def test_drawn_cases_have_no_keys(service: SmallService) -> None:
    assert main(["simulate", "--requests", "3"]) == 0
    assert service.keys == []


def test_a_row_that_does_not_fit_another_version_is_sent_without_its_column(
    service: SmallService, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = [*MODEL["contract"]["features"], {"name": "colour", "kind": "categorical", "categories": ["red"]}]
    other = MODEL | {"version": "v2", "aliases": [], "contract": MODEL["contract"] | {"features": features}}
    service.models = [MODEL, other]
    file.write_text("colour," + HEADER + "red,5.1,3.5,1.4,0.2,setosa\nbleu,7.0,3.2,4.7,1.4,versicolor\n")
    assert main(["simulate", "--concurrency", "1", "--replay", str(file)]) == 0
    assert [row.get("colour") for row in sent(service)] == ["red", None]
    assert "colour" not in sent(service)[1]
    assert "does not fit: colour in 1; the first, line 3" in capsys.readouterr().out


def test_a_file_is_replayed_in_its_order(service: SmallService, file: Path) -> None:
    file.write_text(HEADER + ROWS * 20)
    assert main(["simulate", "--concurrency", "1", "--replay", str(file)]) == 0
    assert [row[0] for row in sent(service)] == [5.1, 7.0, 6.3] * 20


def test_a_file_is_not_replayed_and_drawn_from_at_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", "--replay", str(file), "--data", str(file)])
    assert "not allowed with" in capsys.readouterr().err


def test_the_same_seed_sends_the_same_cases_and_no_seed_others(service: SmallService) -> None:
    for seed in (["--seed", "1"], ["--seed", "1"], []):
        assert main(["simulate", "--requests", "20", "--concurrency", "1", *seed]) == 0
    rows = sent(service)
    assert rows[:20] == rows[20:40]
    assert rows[:20] != rows[40:]


@pytest.mark.parametrize(("options", "kind"), [([], None), (["--synthetic"], "synthetic")])
def test_traffic_is_marked_as_synthetic_only_where_that_is_asked(
    service: SmallService, options: list[str], kind: str | None
) -> None:
    assert main(["simulate", "--requests", "3", *options]) == 0
    assert kind in service.kinds
    assert ("synthetic" in service.kinds) is (kind is not None)


@pytest.mark.parametrize(
    ("exogenous", "options", "is_said"),
    [(False, [], True), (True, [], False), (False, ["--synthetic"], False), (False, ["--label-rate", "0"], False)],
)
def test_it_says_how_to_declare_that_labels_do_not_depend_on_the_answers(
    service: SmallService,
    exogenous: bool,
    options: list[str],
    is_said: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.exogenous = exogenous
    assert main(["simulate", "--requests", "3", *options]) == 0
    assert ("LABELS_EXOGENOUS=true" in capsys.readouterr().out) is is_said
