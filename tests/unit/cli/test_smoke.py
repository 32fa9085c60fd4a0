"""The smoke test against servers that answer wrongly."""

import msgspec
import pytest

from app.cli import main
from app.domain.known_answers import KnownAnswer, KnownAnswers, complaint
from app.simulation.smoke import Smoke, SmokeCheck
from app.store.keys import load_or_create
from app.tokens import Tokens
from tests.unit.cli.small_api import small_api

ANSWER = KnownAnswer((5.1, 3.5), "setosa", {"setosa": 0.9, "virginica": 0.1})
KNOWN = [KnownAnswers("v1", (ANSWER,))]
RIGHT = {"model_version": "v1", "prediction": "setosa", "probabilities": {"setosa": 0.9, "virginica": 0.1}}
WRONG = {
    "another class": {**RIGHT, "prediction": "virginica"},
    "no prediction": {"model_version": "v1"},
    "other probabilities": {**RIGHT, "probabilities": {"setosa": 0.8, "virginica": 0.2}},
    "probabilities of other classes": {**RIGHT, "probabilities": {"setosa": 1.0}},
    "no probabilities": {"model_version": "v1", "prediction": "setosa"},
    "a probability that is none": {**RIGHT, "probabilities": {"setosa": None, "virginica": 0.1}},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_a_complaint(given):
    assert complaint(ANSWER, given, 1e-4)


def test_a_right_answer_is_none():
    assert complaint(ANSWER, {**RIGHT, "probabilities": {"setosa": 0.90004, "virginica": 0.09996}}, 1e-4) is None


@pytest.mark.parametrize(("given", "right"), [(200.01, True), (200.03, False), (float("nan"), False), ("200", False)])
def test_numbers_are_compared_relative_to_their_size(given, right):
    assert (complaint(KnownAnswer((1.0,), 200.0), {"prediction": given}, 1e-4) is None) is right


@pytest.fixture
def smoke(tmp_path, monkeypatch, capsys):
    """The failed checks by name, and the exit status, of a run against answers by path."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    file = tmp_path / "answers.json"
    file.write_bytes(msgspec.json.encode(KNOWN))

    def run(answers):
        with small_api() as api:
            api.answers.update(dict.fromkeys(("/feedback", "/metrics", "/openapi.json", "/health"), (404, b"{}")))
            api.answers.update({"/predict": (404, b"{}"), "/predict/batch": (404, b"{}")})
            for path, body in answers.items():
                api.answer(path, body)
            status = main(["smoke", api.url, "--answers", str(file), "--json"])
        checks = msgspec.json.decode(capsys.readouterr().out)["checks"]
        return {check["name"]: check["complaints"] for check in checks if check["complaints"]}, status

    return run


def test_a_server_without_any_call_fails_every_check(smoke):
    failed, status = smoke({})
    assert (len(failed), status) == (8, 1)


def test_a_right_answer_passes_its_check_and_the_others_still_fail(smoke):
    failed, status = smoke({"/predict": RIGHT})
    assert "v1: 1 known answers" not in failed
    assert "bad requests are refused" in failed
    assert status == 1


def test_another_version_than_the_forced_one_is_a_failure(smoke):
    failed, _ = smoke({"/predict": {**RIGHT, "model_version": "v2"}})
    assert "'v2' answered instead of 'v1'" in failed["v1: 1 known answers"][0]


def test_a_short_batch_is_a_failure(smoke):
    failed, _ = smoke({"/predict/batch": {"model_version": "v1", "predictions": []}})
    assert failed["v1: the same as a batch"] == ["1 rows were sent and 0 answered"]


def test_a_listener_without_metrics_is_quoted(smoke):
    failed, _ = smoke({})
    assert failed["metrics"] == ["404: {}"]


def test_a_version_that_is_not_loaded_is_a_failure(smoke):
    failed, _ = smoke({"/health": {"status": "degraded", "store": "ok", "models": {}}})
    assert failed["health"] == ["v1: not loaded"]


REFUSED = "the store cannot be used: database is locked"
LOCKED = {"status": "degraded", "store": REFUSED, "models": {"v1": {"loaded": True}}}


def test_a_store_that_is_locked_for_a_moment_is_asked_for_again(monkeypatch):
    with small_api() as api:
        api.answer("/health", LOCKED)
        monkeypatch.setattr("time.sleep", lambda _: api.answer("/health", {**LOCKED, "store": "ok"}))
        assert next(Smoke(api.url, Tokens(), KNOWN).run()) == SmokeCheck("health")
        assert len(api.asked) == 2


def test_a_store_that_stays_locked_is_a_failure():
    with small_api() as api:
        api.answer("/health", LOCKED)
        (complaint,) = next(Smoke(api.url, Tokens(), KNOWN, store_s=0.0).run()).complaints
    assert complaint == f"200 'degraded', store: '{REFUSED}'"


def test_without_a_server_every_check_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "answers.json").write_bytes(msgspec.json.encode(KNOWN))
    assert main(["smoke", "http://127.0.0.1:9", "--answers", str(tmp_path / "answers.json")]) == 1
    assert "ConnectionError" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"version": "v1", "answers": []}]'])
def test_a_file_without_known_answers_is_refused(tmp_path, monkeypatch, capsys, text):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "answers.json").write_text(text)
    assert main(["smoke", "http://127.0.0.1:9", "--answers", str(tmp_path / "answers.json")]) == 1
    assert "known answers" in capsys.readouterr().err


def test_without_a_key_there_are_no_known_answers_and_no_key_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert main(["smoke", "http://127.0.0.1:9"]) == 1
    assert "--answers" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_of_answers_is_not_called_empty(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert main(["smoke", "http://127.0.0.1:9", "--answers", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.json'} cannot be read: No such file or directory\n"


@pytest.mark.parametrize(("folders", "found"), [([], "there is no version"), (["v1"], "every version is refused")])
def test_a_registry_without_versions_differs_from_one_of_refused_versions(
    tmp_path, monkeypatch, capsys, folders, found
):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    load_or_create(tmp_path / "data")
    for name in folders:
        (tmp_path / "models" / name).mkdir(parents=True)
    assert main(["smoke", "http://127.0.0.1:9"]) == 1
    *warnings, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {found} in {tmp_path / 'models'}")
    assert (f"is {tmp_path / 'data' / 'keys' / 'deployment.key'} the deployment's key?" in error) == bool(folders)
    assert [warning.split()[1] for warning in warnings] == folders
