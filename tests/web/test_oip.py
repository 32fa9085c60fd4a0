"""The Open Inference Protocol: tensors in JSON and raw bytes, and what a wrong one is answered."""

import gzip
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.errors import InvalidRequest
from app.web.app import create_flask
from app.web.protocols import tensors
from app.web.protocols.tensors import InputTensor
from tests import builders
from tests.web import fakes

ROW = [5.1, 3.5, 1.4, 0.2]
NAMES = list(fakes.IRIS.names)
URL = "/v2/models/iris/infer"
OUTPUTS = ["predict", "predict_proba", "class_id", "prediction_id"]
# The bits of 1.5 and -2 as Triton sends them.
BF16 = np.array([0x3FC0, 0xC000], "<u2")
DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "i1", "UINT16": "<u2", "INT64": "<i8"}


def matrix(rows=1, **changes):
    return {"name": "input", "shape": [rows, 4], "datatype": "FP64", "data": ROW * rows, **changes}


def columns(rows=1, **changes):
    return [
        {"name": name, "shape": [rows], "datatype": "FP32", "data": [value] * rows, **changes}
        for name, value in zip(NAMES, ROW, strict=True)
    ]


def raw(inputs, *parts, **more):
    """A body with raw tensors behind the JSON, and its headers."""
    head = json.dumps({"inputs": inputs, **more}).encode()
    return {"data": b"".join((head, *parts)), "headers": {"Inference-Header-Content-Length": str(len(head))}}


def packed(*texts):
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def outputs_of(answer):
    """The outputs of an answer by name, from JSON or raw bytes."""
    size = answer.headers.get("Inference-Header-Content-Length")
    head = json.loads(answer.data if size is None else answer.data[: int(size)])
    rest, found = answer.data[int(size or 0) :], {}
    for output in head["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        if length is None:
            found[output["name"]] = output["data"]
            continue
        part, rest = rest[:length], rest[length:]
        if output["datatype"] == "BYTES":
            found[output["name"]] = [text.decode() for text in unpacked(part)]
        else:
            found[output["name"]] = np.frombuffer(part, {"FP64": "<f8", "INT64": "<i8"}[output["datatype"]]).tolist()
    return head, found


def unpacked(part):
    while part:
        size = int.from_bytes(part[:4], "little")
        yield part[4 : 4 + size]
        part = part[4 + size :]


JSON = {
    "a matrix": [matrix()],
    "nested": [matrix(data=[ROW])],
    "one row without its dimension": [matrix(shape=[4])],
    "a tensor a feature": columns(),
    "in another order": columns()[::-1],
    "with a second dimension": columns(shape=[1, 1]),
}


@pytest.mark.parametrize("inputs", JSON.values(), ids=JSON)
def test_a_row_in_json_is_answered_with_all_outputs(serve, inputs):
    client, services = serve()
    answer = client.post(URL, json={"inputs": inputs, "id": "order-1", "model_name": "iris"})
    head, outputs = outputs_of(answer)
    [exposure] = services.recorder.exposures
    assert exposure.rows.round(6).tolist() == [ROW]
    assert (head["model_name"], head["model_version"], head["id"]) == ("iris", "v1", "order-1")
    assert (list(outputs), outputs["predict"], outputs["class_id"]) == (OUTPUTS, ["setosa"], [0])
    assert head["parameters"]["prediction_id"] == outputs["prediction_id"][0] == exposure.prediction_ids[0]
    assert (exposure.keys, exposure.protocol) == (("order-1",), "oip_v2")
    assert (answer.content_type, "Inference-Header-Content-Length" in answer.headers) == ("application/json", False)


@pytest.mark.parametrize("probabilities", [None, (0.123456789, 0.8, 0.076543211)])
def test_a_row_alone_is_answered_with_the_same_outputs_on_the_shorter_way(serve, probabilities):
    runtime = fakes.ConstantRuntime(1, probabilities)
    client, _ = serve(fakes.loaded_models(v1=runtime, v2=runtime))
    bodies = ({"inputs": [matrix()]}, {"inputs": [matrix()], "parameters": {"binary_data_output": False}})
    short, long = (client.post(URL, json=body).get_json()["outputs"] for body in bodies)
    assert short[-1]["name"] == long[-1]["name"] == "prediction_id"
    assert [{**each, "data": []} for each in short] == [{**each, "data": []} for each in long]
    assert [each["data"] for each in short[:-1]] == [each["data"] for each in long[:-1]]


@pytest.mark.parametrize("inputs", [[matrix(3)], [matrix(3, data=[ROW] * 3)], columns(3)])
def test_rows_in_json_have_an_id_each(serve, inputs):
    client, services = serve()
    head, outputs = outputs_of(client.post(URL, json={"inputs": inputs, "id": "batch-1"}))
    [exposure] = services.recorder.exposures
    assert outputs["prediction_id"] == exposure.prediction_ids
    assert ([output["shape"] for output in head["outputs"]], exposure.keys) == ([[3], [3, 3], [3], [3]], ())


@pytest.mark.parametrize("datatype", DTYPES)
def test_a_raw_matrix_is_read_by_its_datatype(serve, datatype):
    client, services = serve()
    values = np.array([[5, 3, 1, 0], [6, 2, 4, 1]], DTYPES[datatype])
    inputs = [{"name": "x", "shape": [2, 4], "datatype": datatype, "parameters": {"binary_data_size": values.nbytes}}]
    assert client.post(URL, **raw(inputs, values.tobytes())).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == values.tolist()


def test_raw_answers_have_the_values_of_those_in_json(serve):
    client, _ = serve()
    head, outputs = outputs_of(
        client.post(URL, json={"inputs": [matrix(2)], "parameters": {"binary_data_output": True}})
    )
    assert all(output["parameters"]["binary_data_size"] for output in head["outputs"])
    _, listed = outputs_of(client.post(URL, json={"inputs": [matrix(2)]}))
    ids = outputs.pop("prediction_id"), listed.pop("prediction_id")
    assert outputs == listed
    assert all(len(id_) == 64 for each in ids for id_ in each)


def test_an_output_may_differ_from_the_request(serve):
    client, _ = serve()
    wanted = [{"name": "class_id", "parameters": {"binary_data": False}}, {"name": "predict"}]
    body = {"inputs": [matrix()], "outputs": wanted, "parameters": {"binary_data_output": True}}
    answer = client.post(URL, json=body)
    head, outputs = outputs_of(answer)
    assert (outputs, answer.content_type) == ({"class_id": [0], "predict": ["setosa"]}, "application/octet-stream")
    assert "data" in head["outputs"][0]


@pytest.mark.parametrize("parameters", [{}, {"classification": 2}])
def test_who_asks_a_version_without_probabilities_for_them_is_refused_and_nothing_is_recorded(serve, parameters):
    runtime = fakes.ConstantRuntime(1, None)
    client, services = serve(fakes.loaded_models(v1=runtime, v2=runtime))
    wanted = [{"name": "predict"}, {"name": "predict_proba", "parameters": parameters}]
    answer = client.post(URL, json={"inputs": [matrix(2)], "outputs": wanted})
    assert (answer.status_code, "v1" in answer.get_json()["error"]) == (400, True)
    assert (services.recorder.exposures, len(services.metrics.reasons)) == ([], 1)
    assert client.post(URL, json={"inputs": [matrix(2)], "outputs": wanted[:1]}).status_code == 200


HOUSES = fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=2.5))


def test_half_precision_of_either_kind_is_read(serve):
    client, services = serve()
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "BF16", "parameters": {"binary_data_size": 8}}]
    assert client.post(URL, **raw(inputs, np.tile(BF16, 2).tobytes())).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [[1.5, -2.0, 1.5, -2.0]]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("best", "shown"), [(2, ["0.7:1:versicolor", "0.2:0:setosa"]), (10**30, 3)])
def test_the_best_classes_are_named_as_triton_names_them(serve, binary, best, shown):
    runtime = fakes.ConstantRuntime(1, (0.2, 0.7, 0.1))
    client, _ = serve(fakes.loaded_models(v1=runtime, v2=runtime))
    wanted = [{"name": "predict_proba", "parameters": {"classification": best, "binary_data": binary}}]
    head, outputs = outputs_of(client.post(URL, json={"inputs": [matrix(2)], "outputs": wanted}))
    [named] = outputs.values()
    assert (head["outputs"][0]["shape"], head["outputs"][0]["datatype"]) == ([2, len(named) // 2], "BYTES")
    assert named == shown * 2 if best == 2 else len(named) == 2 * shown


def test_a_missing_number_may_be_written_as_python_writes_it(serve):
    client, services = serve(fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=2.5)))
    inputs = [
        {"name": "area", "shape": [2], "datatype": "FP64", "data": [float("nan"), 7.0]},
        {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Oslo", "Bergen"]},
    ]
    answer = client.post(URL, data=json.dumps({"inputs": inputs, "id": 'a "NaN", b'}))
    assert (answer.status_code, answer.get_json()["id"]) == (200, 'a "NaN", b')
    areas = services.recorder.exposures[0].rows[:, 0].tolist()
    assert (areas[0] != areas[0], areas[1]) == (True, 7.0)


def test_features_of_mixed_types_come_raw_and_in_json(serve):
    client, services = serve(HOUSES)
    texts, areas = packed(b"Oslo", b"Bergen"), np.array([7.0, np.nan])
    city = {"name": "city", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}}
    area = {"name": "area", "shape": [2, 1], "datatype": "FP64", "parameters": {"binary_data_size": 16}}
    _, outputs = outputs_of(client.post(URL, **raw([city, area], texts, areas.tobytes())))
    assert outputs["predict"] == [2.5, 2.5]
    rows = services.recorder.exposures[0].rows.tolist()
    assert (rows[0], rows[1][1], rows[1][0] != rows[1][0]) == ([7.0, "Oslo"], "Bergen", True)
    listed = [{**city, "data": ["Oslo", "Bergen"]}, {**area, "data": [7.0, None]}]
    for each in listed:
        del each["parameters"]
    assert client.post(URL, json={"inputs": listed}).status_code == 200
    assert [output["name"] for output in client.get("/v2/models/iris").get_json()["outputs"]] == [
        "predict",
        "prediction_id",
    ]


def test_metadata_is_enough_to_build_a_request(client, serve):
    houses, _ = serve(HOUSES)
    inputs = houses.get("/v2/models/iris").get_json()["inputs"]
    assert inputs == [
        {"name": "area", "datatype": "FP64", "shape": [-1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1]},
    ]
    found = client.get("/v2/models/iris/versions/v2").get_json()
    assert (found["versions"], found["inputs"][0]["shape"]) == (["v1", "v2"], [-1, 4])


def versions(**contracts):
    """Versions of different columns, of which v1 is the champion."""
    loaded = [
        fakes.loaded(name, ordinal, contract, fakes.ConstantRuntime(value=2.5))
        for ordinal, (name, contract) in enumerate(contracts.items(), 1)
    ]
    return builders.loaded_models(*loaded, aliases={"champion": "v1"}).led_by("v1")


def reading(*names):
    features = tuple(Feature(name=name) for name in names)
    return FeatureContract(task="regression", target="y", features=features)


def built(inputs):
    """A row of ones for the tensors of a model's metadata."""
    return [
        {**each, "shape": [1, *each["shape"][1:]], "data": [1.0] * (each["shape"][1:] or [1])[0]} for each in inputs
    ]


def test_metadata_of_each_version_is_enough_to_build_a_request_for_it(serve):
    contracts = {"v1": reading("a", "b"), "v2": reading("c", "b", "a"), "v3": reading("b")}
    client, services = serve(versions(**contracts))
    for version in contracts:
        path = f"/v2/models/iris/versions/{version}"
        answer = client.post(f"{path}/infer", json={"inputs": built(client.get(path).get_json()["inputs"])})
        assert (answer.status_code, answer.get_json().get("model_version")) == (200, version), answer.text
    assert len(services.recorder.exposures) == 3


def test_metadata_has_the_outputs_that_can_be_asked_for(serve):
    measured = {"v1": (fakes.ConstantRuntime(), 0.2), "v2": (fakes.ConstantRuntime(1, None), None)}
    loaded = []
    for name, (runtime, log_loss) in measured.items():
        manifest = {"source": {"dataset": "iris"}, "metrics": {"holdout": {"log_loss": log_loss}}}
        loaded.append(builders.loaded_version(name, runtime, fakes.IRIS, manifest=manifest))
    client, _ = serve(builders.loaded_models(*loaded, aliases={"champion": "v1"}))
    named = {
        path: [each["name"] for each in client.get(f"/v2/models/iris{path}").get_json()["outputs"]]
        for path in ("/versions/v1", "/versions/v2", "")
    }
    without = [name for name in OUTPUTS if name != "predict_proba"]
    assert named == {"/versions/v1": OUTPUTS, "/versions/v2": without, "": without}
    for path, names in named.items():
        wanted = [{"name": name} for name in names]
        answer = client.post(f"/v2/models/iris{path}/infer", json={"inputs": [matrix()], "outputs": wanted})
        assert answer.status_code == 200


@pytest.mark.parametrize("name", ["input", "a"])
def test_a_value_is_a_row_where_there_is_one_column(serve, name):
    client, services = serve(versions(v1=reading("a")))
    given = {"name": name, "shape": [3], "datatype": "FP64", "data": [1, 2, 3]}
    assert client.post(URL, json={"inputs": [given]}).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [[1.0], [2.0], [3.0]]


RAW = np.array([ROW], "<f8").tobytes()
SIZED = {**matrix(), "parameters": {"binary_data_size": 32}}
del SIZED["data"]
WRONG = {
    "no inputs": {"json": {"inputs": []}},
    "no JSON": {"data": b"{"},
    "nothing": {"data": b""},
    "a wrong key": {"json": {"inputs": [{"name": "x"}]}},
    "too few values": {"json": {"inputs": [matrix(data=ROW[:3])]}},
    "a wrong shape": {"json": {"inputs": [matrix(shape=[2, 4])]}},
    "a negative shape": {"json": {"inputs": [matrix(shape=[-1, -4])]}},
    "an empty shape": {"json": {"inputs": [matrix(shape=[])]}},
    "three dimensions": {"json": {"inputs": [matrix(shape=[1, 4, 1])]}},
    "a dimension without end": {"json": {"inputs": [matrix(shape=[10**4000, 10**4000])]}},
    "no row": {"json": {"inputs": [matrix(shape=[0, 4], data=[])]}},
    "no column": {"json": {"inputs": [matrix(shape=[3, 0], data=[])]}},
    "too many columns": {"json": {"inputs": [matrix(shape=[1, 5], data=[*ROW, 1])]}},
    "nested otherwise": {"json": {"inputs": [matrix(2, data=[ROW + ROW])]}},
    "an unknown datatype": {"json": {"inputs": [matrix(datatype="FP8")]}},
    "a text among numbers": {"json": {"inputs": [matrix(data=["a", 1, 1, 1])]}},
    "a number beyond its datatype": {"json": {"inputs": [matrix(datatype="INT8", data=[128, 3, 1, 0])]}},
    "a negative number without a sign": {"json": {"inputs": [matrix(datatype="UINT16", data=[5, 3, 1, -1])]}},
    "a flag that is none": {"json": {"inputs": [matrix(datatype="BOOL", data=[1, 0, 1, 2])]}},
    "a fraction among integers": {"json": {"inputs": [matrix(datatype="INT64")]}},
    "neither data nor size": {"json": {"inputs": [matrix(data=None)]}},
    "an unknown output": {"json": {"inputs": [matrix()], "outputs": [{"name": "logits"}]}},
    "the best classes of another output": {
        "json": {"inputs": [matrix()], "outputs": [{"name": "predict", "parameters": {"classification": 2}}]}
    },
    "no number of classes": {
        "json": {"inputs": [matrix()], "outputs": [{"name": "predict_proba", "parameters": {"classification": "2"}}]}
    },
    "a missing value where none may be": {"data": json.dumps({"inputs": [matrix(data=[*ROW[:3], float("nan")])]})},
    "an unknown feature": {"json": {"inputs": [*columns(), {**columns()[0], "name": "colour"}]}},
    "a feature twice": {"json": {"inputs": [*columns(), columns()[0]]}},
    "a missing feature": {"json": {"inputs": columns()[1:]}},
    "different numbers of rows": {"json": {"inputs": [*columns()[1:], columns(2)[0]]}},
    "a matrix among features": {"json": {"inputs": [*columns(), matrix()]}},
    "a list as parameter": {"json": {"inputs": [matrix()], "parameters": {"ids": ["a"]}}},
    "no truth value of binary_data_output": {
        "json": {"inputs": [matrix()], "parameters": {"binary_data_output": "false"}}
    },
    "no truth value of binary_data": {
        "json": {"inputs": [matrix()], "outputs": [{"name": "predict", "parameters": {"binary_data": 0}}]}
    },
    "shared memory for an output": {
        "json": {
            "inputs": [matrix()],
            "outputs": [{"name": "predict", "parameters": {"shared_memory_region": "x"}}],
        }
    },
    "a number as id": {"json": {"inputs": [matrix()], "id": 7}},
    "a header beyond the body": {"data": b"{}", "headers": {"Inference-Header-Content-Length": "3"}},
    "a header that is no number": {"data": b"{}", "headers": {"Inference-Header-Content-Length": "-1"}},
    "too few raw bytes": raw([SIZED], RAW[:-1]),
    "too many raw bytes": raw([SIZED], RAW, b"x"),
    "raw bytes of another shape": raw([{**SIZED, "parameters": {"binary_data_size": 24}}], RAW[:24]),
    "data and raw bytes": raw([{**SIZED, "data": ROW}], RAW),
    "a negative size": raw([{**SIZED, "parameters": {"binary_data_size": -32}}], RAW),
    "a size that is no number": raw([{**SIZED, "parameters": {"binary_data_size": "32"}}], RAW),
    "raw bytes without a header": {"json": {"inputs": [SIZED]}},
    "shared memory": {"json": {"inputs": [{**SIZED, "parameters": {"shared_memory_region": "x"}}]}},
    "infinity": raw([SIZED], np.array([[np.inf, 1, 1, 1]]).tobytes()),
    "not a number": raw([SIZED], np.array([[1, np.nan, 1, 1]]).tobytes()),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_400_with_a_text(serve, call):
    client, services = serve()
    answer = client.post(URL, **call)
    assert (answer.status_code, answer.content_type) == (400, "application/json")
    assert type(answer.get_json()["error"]) is str
    assert services.metrics.protocols == ["oip_v2"]
    assert not services.recorder.exposures


@pytest.mark.parametrize(
    "texts",
    [
        packed(b"Oslo")[:-1],
        packed(b"Oslo") + b"x",
        (2**32 - 1).to_bytes(4, "little") + b"Oslo",
        packed(b"\xff"),
        b"",
        packed(b"Oslo", b"Oslo"),
    ],
)
def test_texts_whose_lengths_lie_are_refused(texts):
    tensor = InputTensor("city", [1], "BYTES", parameters={"binary_data_size": len(texts)})
    with pytest.raises(InvalidRequest, match="city"):
        tensors.tensors_of([tensor], texts)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/iris/versions/v9/infer", 404),
        ("/v2/models/roses/infer", 404),
        ("/v2/nothing", 404),
        ("/v2/health/live", 405),
        ("/v2/models/iris", 405),
    ],
)
def test_what_is_not_there_is_said_with_a_text(client, path, status):
    answer = client.post(path, json={"inputs": [matrix()]})
    assert (answer.status_code, type(answer.get_json()["error"])) == (status, str)


def test_a_version_in_the_path_forces_it(serve):
    client, services = serve()
    answer = client.post("/v2/models/iris/versions/v2/infer", json={"inputs": [matrix()]})
    assert answer.get_json()["model_version"] == "v2"
    assert not services.recorder.exposures[0].counts


def test_a_user_is_a_parameter_or_a_header(serve):
    client, services = serve()
    client.post(URL, json={"inputs": [matrix()], "parameters": {"user_id": "u-1"}})
    client.post(URL, json={"inputs": [matrix()]}, headers={"X-User-Id": "u-1"})
    first, second = services.recorder.exposures
    assert first.user_hash == second.user_hash != 0


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_raw_tensors_may_be_compressed(serve, encoding, pack):
    client, services = serve()
    body = raw([SIZED], RAW)
    headers = {**body["headers"], "Content-Encoding": encoding}
    assert client.post(URL, data=pack(body["data"]), headers=headers).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == [ROW]


def test_too_many_rows_are_413_whatever_the_shape_says(serve):
    client, _ = serve(max_batch_rows=10)
    for inputs in ([matrix(11)], columns(11), [matrix(shape=[10**15, 0], data=[])]):
        assert client.post(URL, json={"inputs": inputs}).status_code == 413


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"])
def test_a_client_finds_the_server_ready(client, path):
    assert client.get(path).status_code == 200


def test_a_server_that_is_not_ready_says_so(serve):
    for services, status in (({"draining": True}, 404), ({"served": fakes.loaded_models()}, 503)):
        client, _ = serve(**services)
        for path in ("/v2/health/ready", "/v2/models/iris/ready"):
            answer = client.get(path)
            assert (answer.status_code, type(answer.get_json()["error"])) == (status, str)


def test_the_repository_lists_versions_and_loads(serve):
    client, _ = serve(
        fakes.loaded_models(v1=fakes.ConstantRuntime(), refused=[("v2", "signed by nobody")]), admin_token="secret"
    )
    index = client.post("/v2/repository/index").get_json()
    assert [(entry["version"], entry["state"], entry["reason"]) for entry in index] == [
        ("v1", "READY", ""),
        ("v2", "UNAVAILABLE", "signed by nobody"),
    ]
    ready = client.post("/v2/repository/index", json={"ready": True}).get_json()
    assert [entry["version"] for entry in ready] == ["v1"]
    for wrong in (b"{", b'{"ready": "yes"}'):
        answer = client.post("/v2/repository/index", data=wrong)
        assert (answer.status_code, type(answer.get_json()["error"])) == (400, str)
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/iris/{verb}"
        assert client.post(path).status_code == 401
        assert client.post(path, headers={"X-API-Key": "secret"}).status_code == 200


VALUES = st.lists(st.floats(allow_nan=False), min_size=1, max_size=40)


@given(VALUES)
def test_raw_numbers_come_back_as_they_were(values):
    packed_values = tensors.packed_numbers(np.array(values), "FP64")
    tensor = InputTensor("x", [len(values)], "FP64", parameters={"binary_data_size": len(packed_values)})
    [read] = tensors.tensors_of([tensor], packed_values)
    assert read.values.tolist() == values


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8, unique=True), st.data())
def test_raw_texts_come_back_as_they_were(classes, data):
    ids = np.array(data.draw(st.lists(st.integers(0, len(classes) - 1), min_size=1, max_size=30)))
    packed_texts = tensors.packed_classes(ids, tuple(classes))
    tensor = InputTensor("x", [len(ids)], "BYTES", parameters={"binary_data_size": len(packed_texts)})
    [read] = tensors.tensors_of([tensor], packed_texts)
    assert read.values == [classes[index] for index in ids]


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5), st.just([[1]]))
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*NAMES, "input", "", "x" * 300]) | JUNK,
        "shape": st.lists(st.integers(-1, 5), max_size=3) | JUNK,
        "datatype": st.sampled_from(["FP64", "INT8", "BYTES", "BOOL", "FP8"]) | JUNK,
        "data": st.lists(JUNK, max_size=5) | st.just(ROW) | JUNK,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "x"]), st.integers(-1, 40) | JUNK, max_size=2
        )
        | JUNK,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=4) | JUNK},
    optional={"id": JUNK, "outputs": st.lists(JUNK, max_size=2) | JUNK, "parameters": JUNK},
)
FUZZED = create_flask(fakes.services()).test_client()


@settings(max_examples=1500, deadline=None)
@given(REQUESTS, st.binary(max_size=40), st.integers(-5, 5) | st.none())
def test_no_body_is_answered_with_an_error_of_the_server(body, rest, off):
    head = json.dumps(body).encode()
    headers = {} if off is None else {"Inference-Header-Content-Length": str(len(head) + off)}
    answer = FUZZED.post(URL, data=head + rest, headers=headers)
    assert answer.status_code in (200, 400, 413)
    assert answer.status_code == 200 or type(json.loads(answer.data)["error"]) is str
