import io

import msgspec
import pytest

from app.domain.prediction_id import read_marks
from app.web.prediction import answer_predict_batch
from tests import builders
from tests.web import fakes

ROW = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(fakes.IRIS.names, ROW, strict=True))


@pytest.mark.parametrize("body", [{"features": ROW}, {"features": NAMED}, NAMED, {**NAMED, "user_id": "u-17"}])
def test_each_form_of_a_row_is_answered_the_same(serve, body):
    client, services = serve()
    assert client.post("/predict", json=body).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [ROW]


def test_an_answer_has_every_field_of_the_contract(client):
    answer = client.post("/predict", json={"features": ROW})
    body = answer.get_json()
    assert {key: body[key] for key in ("prediction", "class_id", "confidence", "probabilities")} == {
        "prediction": "setosa",
        "class_id": 0,
        "confidence": 0.98,
        "probabilities": {"setosa": 0.98, "versicolor": 0.02, "virginica": 0.0},
    }
    assert (body["model_version"], body["assignment"], len(body["prediction_id"])) == ("v1", "weighted", 64)
    assert body["latency_ms"] >= 0
    assert body["timestamp"].endswith("Z")


def test_the_answer_names_its_version_and_request_in_headers(client):
    headers = client.post("/predict", json={"features": ROW}, headers={"X-Request-Id": "mine"}).headers
    assert (headers["X-Model-Version"], headers["X-Request-Id"]) == ("v1", "mine")
    assert headers["Content-Type"] == "application/json"


def test_a_forced_version_answers_and_does_not_count(serve):
    client, services = serve()
    body = client.post("/predict", json={"features": ROW}, headers={"X-Model-Version": "v2"}).get_json()
    assert (body["model_version"], body["assignment"], body["prediction"]) == ("v2", "forced", "versicolor")
    assert not services.recorder.exposures[0].counts


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_the_body_is_read_as_json_whatever_it_is_called(client, content_type):
    answer = client.post("/predict", data=msgspec.json.encode({"features": ROW}), content_type=content_type)
    assert answer.status_code == 200


def test_a_user_in_the_body_goes_before_one_in_the_header(serve):
    client, services = serve()
    for body, headers in (
        ({"features": ROW, "user_id": "ann"}, {"X-User-Id": "bob"}),
        ({"features": ROW, "user_id": "ann"}, {}),
        ({"features": ROW}, {"X-User-Id": "ann"}),
        ({"features": ROW}, {}),
    ):
        client.post("/predict", json=body, headers=headers)
    hashes = [exposure.user_hash for exposure in services.recorder.exposures]
    assert hashes[0] == hashes[1] == hashes[2] != 0
    assert hashes[3] == 0


def test_a_user_outside_ascii_is_the_same_in_header_and_body(serve):
    client, services = serve()
    client.post("/predict", json={"features": ROW, "user_id": "Zoë"})
    client.post("/predict", json={"features": ROW}, headers={"X-User-Id": "Zoë".encode().decode("latin-1")})
    first, second = services.recorder.exposures
    assert first.user_hash == second.user_hash


@pytest.mark.parametrize(("header", "synthetic"), [("synthetic", True), ("real", False), (None, False)])
def test_load_tests_are_marked(serve, header, synthetic):
    client, services = serve()
    client.post("/predict", json={"features": ROW}, headers={"X-Traffic-Kind": header} if header else {})
    exposure = services.recorder.exposures[0]
    assert (exposure.synthetic, exposure.counts) == (synthetic, not synthetic)
    marks = read_marks(exposure.prediction_ids[0])
    assert (marks.synthetic, marks.randomised) == (synthetic, not synthetic)


def test_another_version_answers_for_one_that_fails(serve):
    client, _ = serve(fakes.loaded_models(v1=fakes.FailingRuntime(), v2=fakes.ConstantRuntime(1)))
    body = client.post("/predict", json={"features": ROW}).get_json()
    assert (body["model_version"], body["assignment"]) == ("v2", "fallback")


@pytest.mark.parametrize("headers", [{}, {"X-Model-Version": "v1"}])
def test_where_no_version_can_answer_it_says_503_and_when_to_retry(serve, headers):
    client, services = serve(fakes.loaded_models(v1=fakes.FailingRuntime()))
    answer = client.post("/predict", json={"features": ROW}, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "out of order" not in answer.text
    assert services.metrics.reasons == [answer.get_json()["error"]["code"]]


def test_without_a_model_it_says_what_to_run(serve):
    client, _ = serve(fakes.loaded_models())
    answer = client.post("/predict", json={"features": ROW})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "not_ready")
    assert "bakeoff train" in answer.get_json()["error"]["message"]


def test_a_model_without_probabilities_leaves_them_out(serve):
    client, _ = serve(fakes.loaded_models(v1=fakes.ConstantRuntime(2, None)))
    body = client.post("/predict", json={"features": ROW}).get_json()
    assert (body["prediction"], body["class_id"]) == ("virginica", 2)
    assert not {"confidence", "probabilities"} & set(body)


@pytest.mark.parametrize("features", [[120.5, "Oslo"], {"area": None, "city": "Bergen"}])
def test_a_regression_answers_a_number_and_no_class(serve, features):
    client, _ = serve(fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=42.5)))
    body = client.post("/predict", json={"features": features}).get_json()
    assert body["prediction"] == 42.5
    assert not {"class_id", "confidence", "probabilities"} & set(body)


@pytest.mark.parametrize(
    ("body", "row"),
    [
        ({"features": {"user_id": 7, "features": 1}}, [7, 1]),
        ({"features": [7, 1]}, [7, 1]),
        ({"user_id": 7, "features": 1}, [7, 1]),
    ],
)
def test_features_may_be_called_like_the_options(serve, body, row):
    client, services = serve(fakes.loaded_models(fakes.ACCOUNTS, v1=fakes.ConstantRuntime(0, (1.0, 0.0))))
    assert client.post("/predict", json=body, headers={"X-User-Id": "ann"}).status_code == 200
    (exposure,) = services.recorder.exposures
    assert exposure.rows.tolist() == [row]
    assert exposure.assignment == "sticky"


@pytest.mark.parametrize("body", [{"features": ROW, "id": "order-1"}, {**NAMED, "id": "order-1"}])
def test_the_caller_s_own_key_is_recorded_and_not_part_of_the_answer(serve, body):
    client, services = serve()
    plain = client.post("/predict", json={"features": ROW}).get_json()
    assert set(client.post("/predict", json=body).get_json()) == set(plain)
    client.post("/predict", json={"features": ROW}, headers={"X-Prediction-Key": "order-1"})
    assert [exposure.keys for exposure in services.recorder.exposures] == [(), ("order-1",), ("order-1",)]


@pytest.mark.parametrize("body", [{"id": 17, "weight": 2}, {"features": {"id": 17, "weight": 2}}])
def test_where_a_feature_is_called_id_the_key_is_in_the_header(serve, body):
    client, services = serve(fakes.loaded_models(fakes.ORDERS, v1=fakes.ConstantRuntime(0, (1.0, 0.0))))
    assert client.post("/predict", json=body, headers={"X-Prediction-Key": "order-1"}).status_code == 200
    (exposure,) = services.recorder.exposures
    assert (exposure.rows.tolist(), exposure.keys) == ([[17, 2]], ("order-1",))
    refused = client.post("/predict", json={"features": [17, 2], "id": "order-1"})
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (400, "id")


def test_a_key_outside_ascii_is_the_same_in_header_and_body(serve):
    client, services = serve()
    client.post(
        "/predict", json={"features": ROW, "id": "Zoë"}, headers={"X-Prediction-Key": "Zoë".encode().decode("latin-1")}
    )
    assert services.recorder.exposures[0].keys == ("Zoë",)


def test_a_batch_records_a_key_for_each_row(serve):
    client, services = serve()
    body = client.post("/predict/batch", json={"instances": [ROW, NAMED], "ids": ["a", "b"]}).get_json()
    assert body["count"] == 2
    assert services.recorder.exposures[0].keys == ("a", "b")


@pytest.mark.parametrize("key", ["instances", "features"])
def test_a_batch_is_answered_in_order_by_one_version(client, key):
    body = client.post("/predict/batch", json={key: [ROW, NAMED], "user_id": "ann"}).get_json()
    assert set(body) == {"predictions", "count", "model_version", "assignment", "latency_ms", "timestamp"}
    assert (body["count"], body["model_version"]) == (2, "v1")
    assert set(body["predictions"][0]) == {"prediction_id", "prediction", "class_id", "confidence", "probabilities"}
    assert body["predictions"][0]["prediction_id"] < body["predictions"][1]["prediction_id"]


@pytest.mark.parametrize(
    ("contract", "runtime", "row", "keys"),
    [
        (fakes.HOUSES, fakes.ConstantRuntime(value=42.5), [1.0, "Oslo"], {"prediction_id", "prediction"}),
        (fakes.IRIS, fakes.ConstantRuntime(1, None), ROW, {"prediction_id", "prediction", "class_id"}),
    ],
)
def test_a_batch_leaves_out_what_the_model_does_not_have(serve, contract, runtime, row, keys):
    client, _ = serve(fakes.loaded_models(contract, v1=runtime))
    body = client.post("/predict/batch", json={"instances": [row, row]}).get_json()
    assert [set(item) for item in body["predictions"]] == [keys, keys]


@pytest.mark.parametrize("classes", [("setosa", "versicolor"), ('6" pot', "a\\b"), ("été", "no\ntes")])
@pytest.mark.parametrize("shares", [(0.25, 0.75), (0.123456789, 0.876543211), (1.0, 0.0), (1 - 1e-9, 1e-9)])
def test_a_row_is_answered_alike_alone_and_in_a_batch(serve, classes, shares):
    contract = msgspec.structs.replace(fakes.IRIS, classes=classes)
    client, _ = serve(fakes.loaded_models(contract, v1=fakes.ConstantRuntime(0, shares)))
    alone = client.post("/predict", json={"features": ROW}).get_json()
    batch = client.post("/predict/batch", json={"instances": [ROW, ROW]}).get_json()
    for item in batch["predictions"]:
        assert {**item, "prediction_id": ""} == {**{name: alone[name] for name in item}, "prediction_id": ""}
        assert [*item["probabilities"]] == [*classes]


def test_ten_thousand_rows_are_one_batch(client):
    body = client.post("/predict/batch", json={"instances": [ROW] * 10_000}).get_json()
    ids = [item["prediction_id"] for item in body["predictions"]]
    assert body["count"] == len(ids) == 10_000
    assert ids == sorted({*ids})
    assert [*body][:2] == ["predictions", "count"]


def test_the_rows_of_a_large_batch_are_recorded_in_order_with_their_keys_and_answers(serve):
    client, services = serve()
    rows, keys = [[number, 3.5, 1.4, 0.2] for number in range(9000)], [f"order-{number}" for number in range(9000)]
    answer = client.post("/predict/batch", json={"instances": rows, "ids": keys}).get_json()
    [exposure] = services.recorder.exposures
    assert (exposure.rows.tolist(), [*exposure.keys]) == (rows, keys)
    assert [one["prediction_id"] for one in answer["predictions"]] == [*exposure.prediction_ids]


@pytest.mark.parametrize("wrong", [[5.1, 3.5, 1.4], [5.1, 3.5, 1.4, "x"], {"sepal_length": 1}, 7])
@pytest.mark.parametrize("place", [0, 4711, 8999])
def test_the_error_of_a_large_batch_names_the_row(client, wrong, place):
    rows = [ROW] * 9000
    rows[place] = wrong
    answer = client.post("/predict/batch", json={"instances": rows})
    assert (answer.status_code, answer.get_json()["error"]["index"]) == (400, place)


def test_a_large_batch_with_rows_that_lack_different_columns_has_those_that_all_have(serve):
    more = msgspec.structs.replace(fakes.IRIS, features=(*fakes.IRIS.features, fakes.ACCOUNTS.features[0]))
    versions = {"v1": fakes.IRIS, "v2": more}
    loaded = [
        fakes.loaded(name, at, each, fakes.ConstantRuntime()) for at, (name, each) in enumerate(versions.items(), 1)
    ]
    client, services = serve(builders.loaded_models(*loaded).led_by("v1"))
    rows = [{**NAMED, "user_id": 7}] * 4000 + [NAMED] * 1000
    assert client.post("/predict/batch", json={"instances": rows}).get_json()["count"] == 5000
    assert services.recorder.exposures[0].rows.shape == (5000, 4)


def test_a_large_batch_is_recorded_before_its_answer_ends_and_if_the_client_has_gone(serve):
    _, services = serve()
    body = msgspec.json.encode({"instances": [ROW] * 3000})
    for recorded, leave in ((1, lambda pieces: [*pieces]), (2, lambda pieces: pieces.close())):
        environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        _, headers, pieces = answer_predict_batch(services, environ)
        assert "Content-Length" not in dict(headers)
        assert len(services.recorder.exposures) == recorded - 1
        leave(pieces)
        assert len(services.recorder.exposures) == recorded


@pytest.mark.parametrize("row", [[True, False, True], [1, "FALSE", 1.0], ["true", 0, True]])
def test_a_boolean_reaches_the_model_as_it_was_trained_whatever_its_spelling(serve, row):
    client, services = serve(fakes.loaded_models(fakes.MEMBERS, v1=fakes.ConstantRuntime()))
    assert client.post("/predict", json={"features": row}).status_code == 200
    assert client.post("/predict/batch", json={"instances": [row]}).status_code == 200
    assert [each.rows.tolist() for each in services.recorder.exposures] == [[[1.0, "False", 1.0]]] * 2
