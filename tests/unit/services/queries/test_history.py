import msgspec
import pytest
from msgspec.structs import replace

from app.domain.columns import LoggedColumn, LoggedLayout
from app.errors import InvalidRequest, UnknownPrediction, UnknownVersion
from app.services.ports import RetiredVersion
from app.services.queries.history import History, Name, Place, contract_of
from app.services.queries.logged_answers import LoggedAnswer
from tests import builders
from tests.unit.services.recording.recorders import LOADED, models_of


def logged(number, **changes):
    row = LoggedAnswer(
        prediction_id=f"{number:064d}",
        served_at_us=1_763_640_000_123_456,
        version="v1",
        assignment="weighted",
        features="[5.1,null]",
        answers='{"v1":{"c":1,"p":[0.25,0.75]},"v2":{"c":0,"p":[0.5,0.5]}}',
        request_id="r-1",
        epoch=3,
        propensity=0.5,
        chosen="v1",
        latency_us=120,
    )
    return replace(row, **changes)


class Log:
    def __init__(self, *rows):
        self.rows = rows

    def page(self, limit, version, before, name):
        older = [row for row in self.rows if before is None or row.prediction_id < before.prediction_id]
        return older[:limit]

    def first(self, name):
        field = {"prediction_id": "prediction_id", "request_id": "request_id"}[name.kind]
        return next((row for row in self.rows if getattr(row, field) == name.value), None)

    def place(self, prediction_id):
        known = prediction_id in {row.prediction_id for row in self.rows}
        return Place(prediction_id, 0) if known else None

    def has_version(self, version):
        return version == "retired"


def history(*rows, loaded_models=LOADED, **keys):
    return History(Log(*rows), builders.OwnKeys(**keys), lambda: loaded_models)


def entry(loaded_models=LOADED, **changes):
    return msgspec.to_builtins(history(logged(1, **changes), loaded_models=loaded_models).page().predictions[0])


def test_what_is_archived_is_not_found_and_said_so():
    archived = History(Log(), builders.OwnKeys(), lambda: LOADED, lambda: 1_700_000_000_000_000)
    with pytest.raises(UnknownPrediction, match="rows of up to 2023-11-14T22:13:20"):
        archived.one(Name("prediction_id", "0" * 64))


def test_an_entry_reads_as_the_contract_says():
    assert entry(actual="0", reward="0.5", own_key="order-4711") == {
        "prediction_id": f"{1:064d}",
        "timestamp": "2025-11-20T12:00:00.123456Z",
        "features": {"a": 5.1, "b": None},
        "prediction": "yes",
        "confidence": 0.75,
        "model_version": "v1",
        "assignment": "weighted",
        "actual": "no",
        "reward": 0.5,
        "id": "order-4711",
        "request_id": "r-1",
        "answers": {"v1": {"prediction": "yes", "confidence": 0.75}, "v2": {"prediction": "no", "confidence": 0.5}},
        "propensity": 0.5,
        "epoch": 3,
    }


def test_what_is_not_known_is_absent():
    assert entry(answers='{"v1":{"c":0}}').keys().isdisjoint({"actual", "reward", "confidence"})


def test_a_regression_has_a_number_and_no_confidence():
    found = entry(answers='{"v1":{"v":2.5}}', actual="3.0")
    assert (found["prediction"], found["actual"], "confidence" in found) == (2.5, 3.0, False)


@pytest.mark.parametrize(("actual", "shown"), [("1", "yes"), ('"yes"', "yes"), ("7", 7)])
def test_a_label_is_shown_by_name_where_it_has_one(actual, shown):
    assert entry(actual=actual)["actual"] == shown


def test_a_version_that_is_gone_is_shown_without_names():
    found = entry(loaded_models=models_of())
    assert (found["features"], found["prediction"]) == ({"feature_1": 5.1, "feature_2": None}, 1)


def test_a_retired_version_is_shown_with_its_own_names():
    retired = {"v1": RetiredVersion(1, replace(builders.two_class_contract("a", "b"), classes=("cat", "dog")))}
    found = entry(loaded_models=replace(models_of(), retired=retired))
    assert found["prediction"] == "dog"
    assert all(not name.startswith("feature_") for name in found["features"])


def test_pages_follow_each_other_to_the_end():
    log = history(*[logged(number) for number in (5, 4, 3, 2, 1)])
    seen, before = [], None
    while True:
        page = log.page(2, before=before)
        seen += [int(each.prediction_id) for each in page.predictions]
        if (before := page.next) is None:
            break
    assert seen == [5, 4, 3, 2, 1]


def test_a_page_that_holds_all_has_no_next():
    assert history(logged(2), logged(1)).page(2).next is None


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(limit):
    with pytest.raises(InvalidRequest) as refusal:
        history().page(limit)
    assert refusal.value.field == "limit"


@pytest.mark.parametrize("before", ["", "short", "é" * 64, "0" * 65])
def test_a_before_that_is_no_prediction_id_is_refused(before):
    with pytest.raises(InvalidRequest) as refusal:
        history(logged(1)).page(before=before)
    assert refusal.value.field == "before"


def test_a_before_that_is_not_in_the_log_is_not_found():
    with pytest.raises(UnknownPrediction) as refusal:
        history(logged(1)).page(before="x" * 64)
    assert refusal.value.field == "before"


@pytest.mark.parametrize("version", ["v1", "retired"])
def test_a_version_that_serves_or_served_may_be_asked_for(version):
    assert history().page(version=version).predictions == ()


@pytest.mark.parametrize(("version", "error"), [("v9", UnknownVersion), ("V 1", InvalidRequest), ("", InvalidRequest)])
def test_any_other_version_is_refused(version, error):
    with pytest.raises(error):
        history().page(version=version)


def test_features_have_the_names_of_the_rows_own_layout():
    layout = LoggedLayout(7, (LoggedColumn("b"), LoggedColumn("wind_speed", "Wind speed (m/s)"), LoggedColumn("a")))
    found = entry(layout=layout, features="[null,3.5,5.1]")
    assert found["features"] == {"b": None, "wind_speed": 3.5, "a": 5.1}


def test_features_of_a_layout_that_is_not_known_are_numbered():
    assert entry(layout=LoggedLayout(7, ()))["features"] == {"feature_1": 5.1, "feature_2": None}


DETAILED = {"user_hash": 17, "experiment_id": "e-1", "failed": '["v3"]', "actual": "0", "actual_at_us": 1_000_000}


def test_a_single_prediction_has_everything_that_is_known():
    found = msgspec.to_builtins(history(logged(1, **DETAILED)).one(Name("prediction_id", f"{1:064d}")))
    assert found["answers"]["v2"] == {"prediction": "no", "confidence": 0.5, "probabilities": {"no": 0.5, "yes": 0.5}}
    assert (found["user"], found["experiment"], found["failed"]) == ("000000000011", "e-1", ("v3",))
    assert found["outcomes"] == ({"kind": "actual", "value": "no", "received": "1970-01-01T00:00:01.000000Z"},)
    assert (found["chosen"], found["counts"], found["latency_ms"]) == ("v1", True, 0.12)


def test_a_prediction_is_found_by_the_key_that_is_bound_to_it_and_by_its_request():
    log = history(logged(1), logged(2, request_id="r-2"), **{"order-1": f"{2:064d}"})
    assert log.one(Name("own_key", "order-1")).prediction_id == f"{2:064d}"
    assert log.one(Name("request_id", "r-1")).prediction_id == f"{1:064d}"


@pytest.mark.parametrize(
    "name", [Name("own_key", "x"), Name("request_id", "x"), Name("prediction_id", "x"), Name("prediction_id", "9" * 64)]
)
def test_a_name_that_no_prediction_has_is_unknown(name):
    with pytest.raises(UnknownPrediction, match="the log has no prediction"):
        history(logged(1)).one(name)


def test_a_version_that_was_retired_elsewhere_has_the_names_of_the_reference():
    contract = next(iter(LOADED.versions.values())).contract
    absent = RetiredVersion(ordinal=0, contract=replace(contract, classes=()))
    retired = replace(LOADED, retired={"v9": absent})
    assert contract_of(retired, "v9") == contract_of(LOADED, "v9")
    assert contract_of(retired, "v9").classes
