"""Files that are cut off, of another scikit-learn or of another kind, and what is printed while they are published."""

import pickle

import joblib
import numpy as np
import onnx
import pytest
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from app.errors import DataRefused
from app.training.external_session import PublishRequest, publish_external
from app.training.sources.files import load_model

ROWS = np.random.default_rng(1).normal(size=(60, 3)).round(3)
LABELS = np.where(ROWS[:, 0] > 0, "yes", "no")


def written(tmp_path, content, name="model.pkl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path):
    with pytest.raises(DataRefused) as refusal:
        load_model(path)
    return refusal.value.message


def as_if_of(version, content):
    return content.replace(sklearn.__version__.encode(), version.encode())


def test_a_compiled_module_of_another_scikit_learn_is_no_package_to_install(tmp_path):
    state = pickle.dumps(RandomForestClassifier(2, random_state=0).fit(ROWS, LABELS), protocol=2)
    content = as_if_of("1.5.2", state).replace(b"csklearn.tree._tree\nTree\n", b"c_loss\nTree\n")
    message = refused(written(tmp_path, content))
    assert "No module named '_loss'" in message
    assert "publish in an environment with scikit-learn 1.5.2, or refit" in message
    assert "--code" not in message


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("dump", ["pickle", "joblib"])
def test_a_file_that_is_cut_off_is_called_so(tmp_path, share, dump):
    model = LogisticRegression().fit(ROWS, LABELS)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model)) if dump == "pickle" else joblib.dump(model, path)
    content = path.read_bytes()
    assert "The file is cut off: copy it again" in refused(written(tmp_path, content[: int(share * len(content))]))


def test_a_class_is_no_fitted_model_of_it(tmp_path):
    told = refused(written(tmp_path, pickle.dumps(LogisticRegression)))
    assert "holds a LogisticRegression, which is not a fitted model: it is the class itself" in told


def test_a_pickle_that_ends_the_program_is_refused_by_name(tmp_path):
    message = refused(written(tmp_path, b"\x80\x02cbuiltins\nexit\nX\x03\x00\x00\x00bye\x85R."))
    assert "model.pkl cannot be loaded: SystemExit: bye" in message


def test_a_folder_is_called_one_and_the_file_in_it_is_asked_for(tmp_path):
    assert "is a folder: name the model's file in it" in refused(tmp_path)
    (tmp_path / "MLmodel").touch()
    assert "such as model.pkl or model.skops" in refused(tmp_path)


def test_an_xgboost_file_in_binary_is_not_called_json(tmp_path):
    assert "it is UBJSON" in refused(written(tmp_path, b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"))


def test_another_scikit_learn_that_loads_is_one_warning_with_what_to_do(tmp_path):
    content = as_if_of("1.5.2", pickle.dumps(RandomForestClassifier(2).fit(ROWS, LABELS)))
    (warning,) = load_model(written(tmp_path, content)).warnings
    assert f"written with scikit-learn 1.5.2, and {sklearn.__version__} is installed here" in warning
    assert "refit" in warning


# --- ONNX files from elsewhere ----------------------------------------------------------------------------------------


def graph(nodes, kind=TensorProto.FLOAT):
    """A graph from x (n, 3) to scores by column 0, of two classes, and through `nodes` to a label and p."""
    slopes = np.array([[-9, 9], [0, 0], [0, 0]], dtype=helper.tensor_dtype_to_np_dtype(kind))
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["s"]), *(helper.make_node(*node, **more) for *node, more in nodes)],
        "g",
        [helper.make_tensor_value_info("x", kind, [None, 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("p", kind, [None, 2]),
        ],
        [numpy_helper.from_array(slopes, "w")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def labelled_by(operator, source="p"):
    return (operator, [source], ["label"], {"axis": 1, "keepdims": 0})


SOFTMAX = ("Softmax", ["s"], ["p"], {"axis": 1})
LOGITS = ("Identity", ["s"], ["p"], {})


@pytest.fixture
def publish(tmp_path, registry):
    """Publish an estimator or a graph, with rows whose labels are texts."""
    lines = [",".join([*map(str, row), label]) for row, label in zip(ROWS.tolist(), LABELS, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,y", *lines]))

    def published(model):
        path = tmp_path / ("m.onnx" if isinstance(model, onnx.ModelProto) else "m.joblib")
        path.write_bytes(model.SerializeToString()) if path.suffix == ".onnx" else joblib.dump(model, path)
        request = PublishRequest(model=path, reference=tmp_path / "rows.csv", target="y", version="v1")
        return publish_external(request, registry, lambda _: None).versions[0]

    return published


def test_labels_that_are_numbers_are_named_by_the_target(publish):
    version = publish(graph([SOFTMAX, labelled_by("ArgMax")]))
    assert version.manifest.contract.classes == ("no", "yes")
    assert version.manifest.metrics["holdout"]["accuracy"] == 1.0
    assert version.warnings == ()


def test_scores_are_not_served_as_probabilities(publish):
    with pytest.raises(DataRefused, match=r"are no probabilities: on 60 of 60 rows.*End the graph with Softmax"):
        publish(graph([LOGITS, labelled_by("ArgMax")]))


def test_probabilities_in_another_order_than_the_labels_do_not_pass_in_silence(publish):
    flipped = ("Neg", ["s"], ["t"], {}), ("Softmax", ["t"], ["p"], {"axis": 1})
    version = publish(graph([*flipped, labelled_by("ArgMax", "s")]))
    assert "not the class of the largest probability on 60 of 60 rows" in version.warnings[0]


def test_half_precision_is_called_by_its_name(publish):
    with pytest.raises(DataRefused, match=r"its input x is tensor\(float16\)"):
        publish(graph([SOFTMAX, labelled_by("ArgMax")], TensorProto.FLOAT16))


def test_a_model_that_draws_its_answers_is_refused(publish):
    with pytest.raises(DataRefused, match="answers the same rows differently each time"):
        publish(DummyClassifier(strategy="stratified").fit(ROWS, LABELS))
