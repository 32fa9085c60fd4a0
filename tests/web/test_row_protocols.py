"""MLflow's scoring server and KServe v1: bodies with rows, what is answered, and how each says an error."""

import gzip
import json
import zlib

import pytest
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.observe import catalogue
from app.services.serving.live_models import LiveModels
from app.web.protocols.table import PROTOCOLS
from tests.web import fakes
from tests.web.test_columns import FULL, PLAIN, rides  # noqa: F401 - a fixture

ROW = [5.1, 3.5, 1.4, 0.2]
NAMES = list(fakes.IRIS.names)
NAMED = dict(zip(NAMES, ROW, strict=True))
BODIES = {
    "instances": {"instances": [ROW, NAMED]},
    "rows as inputs": {"inputs": [ROW, ROW]},
    "columns as inputs": {"inputs": {name: [value, value] for name, value in NAMED.items()}},
    "a named tensor as inputs": {"inputs": {"x": [ROW, ROW]}},
    "a named tensor a row": {"instances": [{"x": ROW}, {"x": ROW}]},
    "a data frame": {"dataframe_split": {"index": [7, 8], "columns": NAMES[::-1], "data": [ROW[::-1], ROW[::-1]]}},
    "a data frame without names": {"dataframe_split": {"columns": [0, 1, 2, 3], "data": [ROW, ROW]}},
    "records": {"dataframe_records": [NAMED, NAMED], "params": {"temperature": 0.3}},
    "more keys": {"instances": [ROW, ROW], "signature_name": "serving_default", "parameters": None},
}
V1 = "/v1/models/iris:predict"
PATHS = ("/invocations", V1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_rows_are_read_in_each_form(serve, path, body):
    client, services = serve()
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.get_json()["predictions"]) == (200, ["setosa", "setosa"])
    [exposure] = services.recorder.exposures
    assert exposure.rows.tolist() == [ROW, ROW]
    assert answer.get_json()["prediction_ids"] == exposure.prediction_ids
    assert (answer.headers["X-Model-Version"], answer.get_json()["model_version"]) == ("v1", "v1")


CSV = {
    "with names": "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n",
    "in another order": "petal_width,sepal_length,sepal_width,petal_length\r\n0.2,5.1,3.5,1.4\r\n",
    "without names": "5.1,3.5,1.4,0.2",
}


@pytest.mark.parametrize("body", CSV.values(), ids=CSV)
@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=UTF-8", "Text/CSV"])
def test_csv_may_name_its_columns(serve, body, kind):
    client, services = serve()
    assert client.post("/invocations", data=body, content_type=kind).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [ROW]


def test_cells_are_read_by_the_column(serve):
    client, services = serve(fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=2.5)))
    answer = client.post("/invocations", data="city,area\nOslo,\nBergen,NaN\nBergen,7\n", content_type="text/csv")
    assert answer.get_json()["predictions"] == [2.5, 2.5, 2.5]
    areas = services.recorder.exposures[0].rows[:, 0].tolist()
    assert (areas[0] != areas[0], areas[1] != areas[1], areas[2]) == (True, True, 7.0)


def test_a_boolean_is_a_word_or_a_number_in_csv_too(serve):
    lift = Feature(name="lift", kind="categorical", categories=("false", "true"))
    contract = FeatureContract(task="regression", target="price", features=(lift,))
    client, services = serve(fakes.loaded_models(contract, v1=fakes.ConstantRuntime(value=2.5)))
    client.post("/invocations", data="lift\n1\nTRUE\n0.0\nfalse\n", content_type="text/csv")
    assert services.recorder.exposures[0].rows[:, 0].tolist() == ["true", "true", "false", "false"]
    assert client.post("/invocations", data="lift\n2\n", content_type="text/csv").status_code == 400


REVIEWS = FeatureContract(
    task="regression",
    target="stars",
    features=(Feature(name="review", kind="categorical", categories=("fine",), open_categories=True),),
)


@pytest.mark.parametrize("path", [*PATHS, "/endpoints/iris/invocations"])
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_text_is_a_row_where_it_is_the_only_column(serve, path, form):
    client, services = serve(fakes.loaded_models(REVIEWS, v1=fakes.ConstantRuntime(value=2.5)))
    texts = ["a good film", "a bad film"]
    for body in ({form: texts}, *([texts] if "endpoints" in path else [])):
        assert client.post(path, data=json.dumps(body)).status_code == 200
        assert services.recorder.exposures[-1].rows[:, 0].tolist() == texts


def test_a_text_in_csv_may_be_as_long_as_in_json(serve):
    client, services = serve(fakes.loaded_models(REVIEWS, v1=fakes.ConstantRuntime(value=2.5)))
    text = "good " * 30_000
    assert client.post("/invocations", data=f"review\n{text}\n", content_type="text/csv").status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [[text]]


@pytest.mark.parametrize("path", PATHS)
def test_a_data_frame_may_have_missing_numbers_as_python_writes_them(serve, path):
    client, services = serve(fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=2.5)))
    frame = {"columns": ["city", "area"], "data": [["Oslo", float("nan")], ["Bergen", 7.0]]}
    body = json.dumps({"dataframe_split": frame, "note": 'a \\" NaN'})
    assert client.post(path, data=body).status_code == 200
    areas = services.recorder.exposures[0].rows[:, 0].tolist()
    assert (areas[0] != areas[0], areas[1]) == (True, 7.0)


WRONG = {
    "no rows": {"instances": []},
    "no form": {"rows": [ROW]},
    "two forms": {"instances": [ROW], "inputs": [ROW]},
    "not rows": {"instances": 7},
    "a wrong row": {"instances": [ROW, [1, 2]]},
    "a wrong name": {"dataframe_records": [{**NAMED, "colour": 1}]},
    "records that are none": {"dataframe_records": [ROW]},
    "a frame that is none": {"dataframe_split": []},
    "a frame with a short row": {"dataframe_split": {"columns": NAMES, "data": [[1]]}},
    "a numbered frame with a long row": {"dataframe_split": {"columns": [0, 1, 2], "data": [ROW]}},
    "a frame without columns": {"dataframe_split": {"columns": [], "data": [ROW]}},
    "tensors of different names": {"instances": [{"x": ROW}, {"y": ROW}]},
    "a frame with a name twice": {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
    "columns of different lengths": {"inputs": {**{name: [1] for name in NAMES}, NAMES[0]: [1, 2]}},
    "a column that is none": {"inputs": dict.fromkeys(NAMES, 1)},
    "options that are none": {"instances": [ROW], "params": [1]},
    "a wrong user": {"instances": [ROW], "params": {"user_id": ""}},
    "too few keys": {"instances": [ROW, ROW], "params": {"ids": ["a"]}},
    "a bare list": [ROW],
    "a null": {"instances": [[5.1, None, 1.4, 0.2]]},
}
ERRORS = {
    "/invocations": lambda body: (body["error_code"], type(body["message"])) == ("BAD_REQUEST", str),
    V1: lambda body: type(body["error"]) is str,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_400_in_the_shape_of_the_protocol(serve, path, body):
    client, services = serve()
    answer = client.post(path, data=json.dumps(body))
    assert (answer.status_code, answer.content_type) == (400, "application/json")
    assert ERRORS[path](answer.get_json())
    assert services.metrics.protocols == [{"/invocations": "mlflow", V1: "kserve_v1"}[path]]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("", "empty"),
        ("sepal_length,x\n1,2\n", "'x'"),
        ("a,b,c,d", "must be a number"),
        ("1,2\n", "line 1"),
        ('"', "line 1"),
    ],
)
def test_a_wrong_line_of_csv_is_named(client, body, line):
    answer = client.post("/invocations", data=body, content_type="text/csv")
    assert (answer.status_code, line in answer.get_json()["message"]) == (400, True)


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/plain", "application/json; charset=latin-1", "text/csv; header=1"]
)
def test_another_content_type_of_invocations_is_415(client, kind):
    answer = client.post("/invocations", data=json.dumps({"inputs": [ROW]}), content_type=kind)
    assert (answer.status_code, answer.get_json()["error_code"]) == (415, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("path", "headers", "version"),
    [
        ("/v1/models/iris/versions/v2:predict", {}, "v2"),
        ("/v1/models/iris/versions/2:predict", {}, "v2"),
        ("/v1/models/iris/labels/champion:predict", {}, "v1"),
        (V1, {"X-Model-Version": "v2"}, "v2"),
        ("/invocations", {"X-Model-Version": "v2"}, "v2"),
    ],
)
def test_a_version_can_be_forced(serve, path, headers, version):
    client, services = serve()
    answer = client.post(path, json={"instances": [ROW]}, headers=headers)
    assert answer.get_json()["model_version"] == version
    [exposure] = services.recorder.exposures
    assert (exposure.assignment, exposure.counts) == ("forced", False)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models/iris/versions/v9:predict", {}, 404),
        ("/v1/models/iris/versions/9:predict", {}, 404),
        ("/v1/models/iris/labels/nobody:predict", {}, 404),
        ("/v1/models/roses:predict", {}, 404),
        ("/v1/models/iris/versions/v1:predict", {"X-Model-Version": "v2"}, 400),
        ("/v1/models/iris:explain", {}, 404),
        ("/v1/nothing", {}, 404),
        ("/v1/models", {}, 405),
        ("/v1/models/iris", {}, 405),
    ],
)
def test_what_is_not_there_is_said_in_the_shape_of_the_protocol(client, path, headers, status):
    answer = client.post(path, json={"instances": [ROW]}, headers=headers)
    assert (answer.status_code, type(answer.get_json()["error"])) == (status, str)


@pytest.mark.parametrize("path", PATHS)
def test_user_key_and_kind_of_traffic_are_taken_from_headers(serve, path):
    client, services = serve()
    headers = {"X-User-Id": "u-1", "X-Prediction-Key": "order-1", "X-Traffic-Kind": "synthetic"}
    assert client.post(path, json={"instances": [ROW]}, headers=headers).get_json()["assignment"] == "sticky"
    [exposure] = services.recorder.exposures
    assert (exposure.keys, exposure.synthetic, exposure.user_hash != 0) == (("order-1",), True, True)
    assert client.post(path, json={"instances": [ROW, ROW]}, headers=headers).status_code == 400


@pytest.mark.parametrize("path", PATHS)
def test_user_and_keys_are_taken_from_the_parameters(serve, path):
    client, services = serve()
    options = {"user_id": "u-1", "ids": ["a", "b"]}
    answers = [
        client.post(path, json={"instances": [ROW, ROW], "parameters": options}),
        client.post("/predict", json={"features": ROW, "user_id": "u-1"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    many, one = services.recorder.exposures
    assert (many.keys, many.user_hash, many.version) == (("a", "b"), one.user_hash, one.version)


def test_versions_that_read_more_columns_take_part_where_these_are_given(rides):  # noqa: F811
    client, _, _ = rides(v1=0.0, v2=1.0)
    versions = [
        client.post("/v1/models/iris:predict", json={"instances": [row]}).get_json()["model_version"]
        for row in (PLAIN, FULL)
    ]
    assert versions == ["v1", "v2"]
    forced = client.post("/v1/models/iris/versions/v2:predict", json={"instances": [PLAIN]})
    assert (forced.status_code, "wind_speed" in forced.get_json()["error"]) == (400, True)


def test_mlflow_asks_whether_the_server_lives(client):
    for path in ("/ping", "/version"):
        assert client.get(path).status_code == 200
    assert (client.get("/ping").data, client.get("/ping").content_type) == (b"\n", "application/json")


@pytest.mark.parametrize(
    ("services", "status"),
    [({"draining": True}, 404), ({"served": fakes.loaded_models()}, 503)],
    ids=["draining", "none"],
)
def test_a_process_that_should_get_no_requests_says_so(serve, services, status):
    client, _ = serve(**services)
    ping = client.get("/ping")
    assert (ping.status_code, type(ping.get_json()["message"])) == (status, str)
    assert client.get("/v1/models/iris").status_code == status


@pytest.mark.parametrize("path", ["/ping", "/v1/models/iris", "/v2/health/ready", "/v2/models/iris/ready"])
def test_platforms_that_send_predictions_alone_go_on_while_the_store_cannot_be_written(serve, path):
    client, services = serve(store=lambda: "the disk is full")
    assert client.get(path).status_code == 200
    services.live.configure(replace(services.live.configuration, epoch=0))
    assert client.get(path).status_code == 503


def test_kserve_asks_for_the_model(client):
    assert client.get("/v1/models").get_json() == {"models": ["iris"]}
    assert client.get("/v1/models/iris").get_json() == {"name": "iris", "ready": True}
    assert client.get("/v1/models/roses").status_code == 404
    assert client.get("/").get_json()["status"] == "alive"


def test_without_a_model_there_is_none_and_predicting_is_503(serve):
    client, _ = serve(fakes.loaded_models())
    assert client.get("/v1/models").get_json() == {"models": []}
    answer = client.post(V1, json={"instances": [ROW]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_the_models_name_can_be_set(serve):
    client, _ = serve(model_name="flowers")
    assert client.get("/v1/models").get_json() == {"models": ["flowers"]}
    assert client.post("/v1/models/flowers:predict", json={"instances": [ROW]}).status_code == 200
    assert client.post(V1, json={"instances": [ROW]}).status_code == 404


def test_a_promotion_does_not_change_the_name(serve):
    _, services = serve()
    services.live.install(services.live.loaded_models.led_by("v2"))
    assert isinstance(services.live, LiveModels)
    assert services.live.state.model_name == "iris"


@pytest.mark.parametrize("path", ["/predict", *PATHS])
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
def test_a_compressed_body_is_decoded(client, path, encoding, pack):
    body = {"features": ROW} if path == "/predict" else {"instances": [ROW]}
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    assert client.post(path, data=pack(json.dumps(body).encode()), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", gzip.compress(b"{}", mtime=0), 415),
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3], 400),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400),
        ("deflate", gzip.compress(b"{}", mtime=0), 400),
        ("gzip", gzip.compress(b" " * 2000, mtime=0), 413),
        ("deflate", zlib.compress(b" " * 2000), 413),
        ("gzip", b"x" * 2000, 413),
    ],
)
def test_a_body_that_cannot_be_decoded_is_refused(serve, encoding, body, status):
    client, _ = serve(max_body_bytes=1024)
    for path in ("/predict", *PATHS):
        assert client.post(path, data=body, headers={"Content-Encoding": encoding}).status_code == status


def test_more_rows_than_allowed_are_413(serve):
    client, _ = serve(max_batch_rows=1)
    for path in PATHS:
        assert client.post(path, json={"instances": [ROW, ROW]}).status_code == 413


def test_the_metric_knows_each_protocol_that_predicts():
    predicting = {protocol.name for protocol in PROTOCOLS if protocol.predicts}
    assert {"bakeoff", *predicting} == set(catalogue.PROTOCOLS)


def test_requests_are_counted_by_protocol(serve):
    client, services = serve()
    for path in ("/predict", *PATHS):
        client.post(path, json={"features": ROW} if path == "/predict" else {"instances": [ROW]})
    assert [exposure.protocol for exposure in services.recorder.exposures] == ["bakeoff", "mlflow", "kserve_v1"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "secret"}, 200),
        ({"X-API-Key": "wrong"}, 403),
        ({"Authorization": "Bearer secret"}, 200),
    ],
)
def test_a_token_is_taken_in_either_header(serve, path, headers, status):
    client, _ = serve(api_token="secret")
    answer = client.post(path, json={"instances": [ROW]}, headers=headers)
    assert answer.status_code == status
    assert status == 200 or ("error_code" in answer.get_json()) is (path == "/invocations")


def test_a_signature_in_authorization_leaves_room_for_the_key(serve):
    client, _ = serve(api_token="secret")
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x", "X-API-Key": "secret"}
    assert client.post("/predict", json={"features": ROW}, headers=headers).status_code == 200
