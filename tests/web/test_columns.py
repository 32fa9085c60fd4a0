"""Two versions that read different columns, through the endpoint: API.md, "Columns"."""

import msgspec
import pytest

from app.domain.contract import Feature, FeatureContract
from tests import builders
from tests.web import fakes

RIDES = FeatureContract(
    task="classification",
    target="late",
    features=(Feature(name="hour"), Feature(name="city", kind="categorical", categories=("Oslo", "Bergen"))),
    classes=("no", "yes"),
)
WINDY = msgspec.structs.replace(RIDES, features=(Feature(name="wind_speed", nullable=True), *reversed(RIDES.features)))
OTHERS = msgspec.structs.replace(RIDES, classes=("early", "late"))
PLAIN = {"hour": 7, "city": "Oslo"}
FULL = {**PLAIN, "wind_speed": 3.5}


class Remembers(fakes.ConstantRuntime):
    """Keeps the rows that it was asked."""

    def __init__(self, class_id):
        super().__init__(class_id, (0.5, 0.5))
        self.asked = []

    def predict(self, rows):
        self.asked += rows.tolist()
        return super().predict(rows)


@pytest.fixture
def rides(serve):
    """A client, its services, and the runtimes of v1, of v2 (reads wind_speed too) and of v3 (other classes)."""

    def make(**weights):
        runtimes = {"v1": Remembers(0), "v2": Remembers(1), "v3": Remembers(0)}
        versions = [
            fakes.loaded(name, ordinal, contract, runtimes[name])
            for ordinal, (name, contract) in enumerate((("v1", RIDES), ("v2", WINDY), ("v3", OTHERS)), 1)
        ]
        models = builders.loaded_models(*versions, aliases={"champion": "v1"}).led_by("v1")
        return *serve(models, weights=weights or {"v1": 0.5, "v2": 0.5}), runtimes

    return make


def test_without_the_column_of_the_new_version_requests_go_on_as_before(rides):
    client, services, runtimes = rides(v1=0.0, v2=1.0)
    for body in (PLAIN, {"features": PLAIN}, {"features": [7, "Oslo"]}):
        answer = client.post("/predict", json=body)
        assert (answer.status_code, answer.get_json()["model_version"]) == (200, "v1")
        assert answer.get_json()["assignment"] == "weighted"
    assert runtimes["v1"].asked == [[7.0, "Oslo"]] * 3
    assert {exposure.propensity for exposure in services.recorder.exposures} == {1.0}
    assert {exposure.layout.lacking_text for exposure in services.recorder.exposures} == {'["v2"]'}


def test_with_it_the_split_decides_and_each_version_gets_its_own_order(rides):
    client, services, runtimes = rides(v1=0.0, v2=1.0)
    assert client.post("/predict", json=FULL).get_json()["model_version"] == "v2"
    assert runtimes["v2"].asked == [[3.5, "Oslo", 7.0]]
    assert services.recorder.exposures[0].rows.tolist() == [[7.0, "Oslo", 3.5]]


def test_null_is_sent_and_not_the_same_as_absent(rides):
    client, _, runtimes = rides(v1=0.0, v2=1.0)
    assert client.post("/predict", json={**PLAIN, "wind_speed": None}).get_json()["model_version"] == "v2"
    assert [str(value) for value in runtimes["v2"].asked[0]] == ["nan", "Oslo", "7.0"]


@pytest.mark.parametrize("body", [PLAIN, {"features": [7, "Oslo"]}])
def test_forcing_a_version_without_its_column_names_the_column(rides, body):
    client, _, _ = rides()
    refused = client.post("/predict", json=body, headers={"X-Model-Version": "v2"})
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, "wind_speed")
    assert client.post("/predict", json=FULL, headers={"X-Model-Version": "v2"}).status_code == 200


def test_a_version_of_other_classes_is_asked_only_when_it_is_forced(rides):
    client, _, runtimes = rides()
    assert client.post("/predict", json=PLAIN, headers={"X-Model-Version": "v3"}).get_json()["prediction"] == "early"
    for _ in range(5):
        client.post("/predict", json=FULL)
    assert len(runtimes["v3"].asked) == 1
    excluded = client.get("/models").get_json()["excluded"]
    assert excluded == {"v3": "names its classes differently: early, late where v1 has no, yes"}


def test_an_unknown_name_is_refused_with_the_names_of_the_union(rides):
    client, _, _ = rides()
    error = client.post("/predict", json={**PLAIN, "wind": 1}).get_json()["error"]
    assert error["message"] == "unknown feature 'wind'; known are hour, city, wind_speed"


def test_a_batch_in_which_one_row_lacks_the_column_is_answered_without_the_new_version(rides):
    client, _, runtimes = rides(v1=0.0, v2=1.0)
    answer = client.post("/predict/batch", json={"instances": [FULL, PLAIN]}).get_json()
    assert (answer["model_version"], answer["count"]) == ("v1", 2)
    assert client.post("/predict/batch", json={"instances": [FULL, FULL]}).get_json()["model_version"] == "v2"
    assert runtimes["v2"].asked == [[3.5, "Oslo", 7.0]] * 2


def test_the_columns_of_a_new_champion_are_required_from_the_decision_on(rides):
    client, services, _ = rides()
    decided = msgspec.structs.replace(services.live.configuration, champion="v2", weights={"v1": 0.0, "v2": 1.0})
    services.live.configure(decided)
    refused = client.post("/predict", json=PLAIN)
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, "wind_speed")
    by_array = client.post("/predict", json={"features": [3.5, "Oslo", 7]})
    assert by_array.get_json()["model_version"] == "v2"


def test_the_description_has_the_union_and_follows_a_decision(rides):
    client, services, _ = rides()

    def row_by_name():
        return client.get("/openapi.json").get_json()["components"]["schemas"]["Row"]["anyOf"][1]

    assert [*row_by_name()["properties"]] == ["hour", "city", "wind_speed"]
    assert row_by_name()["required"] == ["hour", "city"]
    services.live.configure(msgspec.structs.replace(services.live.configuration, champion="v2"))
    assert row_by_name()["required"] == ["wind_speed", "city", "hour"]


def test_where_no_version_that_can_answer_has_weight_the_champion_answers(rides):
    client, _, runtimes = rides(v1=0.0, v2=1.0)
    runtimes["v2"].predict = fakes.FailingRuntime().predict
    answer = client.post("/predict", json=FULL).get_json()
    assert (answer["model_version"], answer["assignment"]) == ("v1", "fallback")
    assert runtimes["v1"].asked == [[7.0, "Oslo"]]
