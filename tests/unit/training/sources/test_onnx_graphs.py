"""ONNX files: what is refused in them and why, and that those that are published answer as the graph does."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from app.drift.reference import DriftReference
from app.errors import DataRefused
from app.inference.loader import known_answers, load_version
from app.training.external_session import PublishRequest, publish_external
from app.training.sources.files import load_model
from tests.unit.inference.published import data

IRIS, SPECIES = data("iris")
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
FLOATS = IRIS.astype(np.float32)


def converted(estimator, rows=FLOATS, zipmap=True, **options):
    given = {id(estimator): {"zipmap": zipmap}} if hasattr(estimator, "classes_") else None
    return to_onnx(estimator, rows, options=given, **options)


def forest(labels=NAMES):
    return RandomForestClassifier(5, random_state=0).fit(FLOATS, labels)


def identity(**changes):
    """A graph that gives its only column back."""
    values = {
        "domain": "",
        "shape": [None, 1],
        "opsets": [helper.make_opsetid("", 15)],
        "kind": TensorProto.FLOAT,
        "inputs": None,
        "operator": "Identity",
        **changes,
    }
    node = helper.make_node(values["operator"], ["x"], ["y"], domain=values["domain"])
    given = helper.make_tensor_value_info("x", values["kind"], values["shape"])
    answer = helper.make_tensor_value_info("y", values["kind"], values["shape"])
    graph = helper.make_graph([node], "g", [given], [answer])
    return helper.make_model(graph, opset_imports=values["opsets"], ir_version=8)


def external():
    model = identity()
    tensor = helper.make_tensor("weights", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("float_data")
    model.graph.initializer.append(tensor)
    return model


def nested(operator="Steal", domain="evil.ops"):
    """A foreign operator inside a branch."""
    inner = helper.make_graph(
        [helper.make_node(operator, ["x"], ["z"], domain=domain)],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    model = identity()
    model.graph.node.insert(0, helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner))
    model.graph.initializer.append(helper.make_tensor("c", TensorProto.BOOL, [1], [True]))
    return model


def refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(DataRefused) as refusal:
        load_model(path)
    return refusal.value.message


def unknown_classes():
    """Labels that are computed, with nothing that lists them."""
    model = identity(kind=TensorProto.INT64, shape=[None, 1])
    model.graph.output[0].type.tensor_type.shape.dim.pop()
    return model


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"hello", "not an ONNX file"),
        (external, "its tensor 'weights' is in another file"),
        (lambda: identity(domain="com.acme", operator="Run"), "Run of com.acme"),
        (lambda: identity(domain="com.microsoft", operator="FusedMatMul"), "FusedMatMul of com.microsoft"),
        (nested, "Steal of evil.ops"),
        (lambda: identity(opsets=[helper.make_opsetid("", 7)]), "opset 7 of ai.onnx, and 9 to 24 are served"),
        (lambda: identity(opsets=[helper.make_opsetid("", 99)]), "opset 99 of ai.onnx"),
        (lambda: identity(operator="NoSuchOperator"), "onnx.checker refuses it"),
        (lambda: identity(shape=[1, 1]), "takes 1 rows at a time"),
        (lambda: identity(shape=[None, 2, 2]), "has 3 dimensions"),
        (lambda: identity(shape=[None, None]), "does not say how many columns"),
        (lambda: identity(kind=TensorProto.BOOL), "float, double, int64 and string are served"),
        (lambda: identity(shape=[None, 3]), "a classifier needs a label"),
        (unknown_classes, "it does not say which classes it knows"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_with_the_reason(tmp_path, content, words):
    assert words in refused(tmp_path, content())


def test_code_beside_an_onnx_file_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(converted(forest()).SerializeToString())
    with pytest.raises(DataRefused, match="leave --code out"):
        load_model(tmp_path / "m.onnx", {"code-a.py": b""})


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", [NAMES, SPECIES + 3], ids=["texts", "numbers"])
def test_a_published_classifier_answers_as_its_graph(tmp_path, registry, labels, zipmap):
    content = converted(forest(labels), zipmap=zipmap).SerializeToString()
    manifest, version = published(tmp_path, registry, content, labels)
    outputs = version.runtime.predict(IRIS[:40])
    theirs = onnxruntime.InferenceSession(content).run(None, {"X": FLOATS[:40]})
    assert [manifest.contract.classes[place] for place in outputs.class_ids] == [str(label) for label in theirs[0]]
    if zipmap:
        np.testing.assert_allclose(outputs.probabilities[7], [theirs[1][7][name] for name in sorted(theirs[1][7])])
    assert (manifest.runtime, manifest.format, manifest.estimator) == ("onnx", 2, "ONNX graph")
    assert registry.verified("mine").files["model.onnx"] == content
    assert len(known_answers(registry, "mine").answers) == len(manifest.examples)


def published(tmp_path, registry, content, target, table=None, **request):
    (tmp_path / "model.onnx").write_bytes(content)
    frame = pd.DataFrame(IRIS, columns=list("abcd")) if table is None else table
    frame.assign(y=target).to_csv(tmp_path / "rows.csv", index=False)
    asked = PublishRequest(
        model=tmp_path / "model.onnx", reference=tmp_path / "rows.csv", target="y", version="mine", **request
    )
    (result,) = publish_external(asked, registry, lambda _: None).versions
    return result.manifest, load_version(registry, "mine")


def test_a_regressor_is_published(tmp_path, registry):
    model = LinearRegression().fit(FLOATS, IRIS[:, 0])
    _, version = published(tmp_path, registry, converted(model).SerializeToString(), IRIS[:, 0])
    np.testing.assert_allclose(version.runtime.predict(IRIS[:5]).values, IRIS[:5, 0], rtol=1e-4)


def test_a_graph_with_an_input_for_each_column_is_published_with_their_names(tmp_path, registry):
    table = pd.DataFrame({"size": FLOATS[:, 0], "city": ["Rome", "Oslo", "Paris"] * 50})
    steps = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression(max_iter=500)).fit(table, NAMES)
    types = [("size", FloatTensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    content = to_onnx(model, initial_types=types).SerializeToString()
    manifest, version = published(tmp_path, registry, content, NAMES, table)
    assert [(each.name, each.kind) for each in manifest.contract.features] == [
        ("size", "numeric"),
        ("city", "categorical"),
    ]
    rows = table.astype(object).to_numpy()
    assert [manifest.contract.classes[place] for place in version.runtime.predict(rows).class_ids] == list(
        model.predict(table)
    )


def test_the_answers_of_clones_are_absent_because_there_is_nothing_to_fit(tmp_path, registry):
    published(tmp_path, registry, converted(forest()).SerializeToString(), NAMES, reference_is="training")
    reference = DriftReference.from_json(registry.verified("mine").read("reference.json"))
    assert reference.answers_from == "none"
