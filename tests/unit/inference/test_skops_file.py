"""skops files: what is trusted in them, and that no crafted tree gets as far as scikit-learn's compiled code."""

import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from app.errors import DataRefused
from app.inference.skops_file import read_skops
from tests.unit.inference.published import data

IRIS, SPECIES = data("iris")


def tree():
    return skops.io.dumps(DecisionTreeClassifier(max_depth=3, random_state=0).fit(IRIS, SPECIES))


def forest():
    return skops.io.dumps(RandomForestClassifier(3, max_depth=2, random_state=0).fit(IRIS, SPECIES))


def boosted():
    return skops.io.dumps(HistGradientBoostingClassifier(max_iter=2).fit(IRIS, SPECIES))


def rewritten(file, change_array=None, change_schema=None):
    """The file with every array of nodes, and with the schema's text, changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json" and change_schema:
                content = json.dumps(change_schema(json.loads(content))).encode()
            elif name.endswith(".npy") and change_array:
                array = np.load(io.BytesIO(content), allow_pickle=False)
                if array.dtype.names and ("left_child" in array.dtype.names or "left" in array.dtype.names):
                    change_array(array)
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    content = buffer.getvalue()
            new.writestr(name, content)
    return out.getvalue()


def setting(field, place, value):
    def change(nodes):
        nodes[field][place] = value

    return change


def claiming(key, value):
    """The schema with another number under `key`, wherever a tree or an estimator has it."""

    def change(schema):
        if isinstance(schema, dict):
            return {
                name: {**part, "content": value, "__id__": 1} if name == key and "content" in part else change(part)
                for name, part in schema.items()
            }
        return [change(part) for part in schema] if isinstance(schema, list) else schema

    return change


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(max_leaf_nodes=6, random_state=0),
        RandomForestClassifier(5, random_state=0),
        RandomForestRegressor(5, random_state=0),
        AdaBoostClassifier(n_estimators=3, random_state=0),
        BaggingClassifier(n_estimators=3, max_features=0.5, random_state=0),
        HistGradientBoostingClassifier(max_iter=3),
        CalibratedClassifierCV(RandomForestClassifier(3, random_state=0)),
        LogisticRegression(max_iter=500),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_is_read_and_answers_as_before(model):
    model.fit(IRIS, SPECIES)
    np.testing.assert_array_equal(read_skops(skops.io.dumps(model)).predict(IRIS), model.predict(IRIS))


def test_a_tree_that_splits_on_gaps_alone_is_no_crafted_one():
    rows = np.where(np.arange(40) % 2, np.nan, 1.0).reshape(-1, 1)
    model = DecisionTreeClassifier().fit(rows, np.arange(40) % 2)
    assert np.isinf(model.tree_.threshold).any()
    assert read_skops(skops.io.dumps(model)).predict(rows).tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (setting("left_child", 0, 10**6), "not behind its parent"),
        (setting("right_child", 0, 0), "not behind its parent"),
        (setting("left_child", 0, -7), "not behind its parent"),
        (setting("left_child", 0, 2), "two parents"),
        (setting("right_child", -1, 1), "one child"),
        (setting("feature", 0, 4), "none of 4"),
        (setting("feature", 0, -3), "none of 4"),
        (setting("threshold", 0, np.nan), "no number"),
        (setting("threshold", 0, -np.inf), "no number"),
    ],
)
@pytest.mark.parametrize("file", [tree, forest])
def test_a_crafted_tree_is_refused(file, change, complaint):
    with pytest.raises(DataRefused, match=complaint):
        read_skops(rewritten(file(), change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (setting("left", 0, 4_000_000), "not behind its parent"),
        (setting("feature_idx", 0, 90), "none of 4"),
        (setting("is_categorical", 0, 1), "splits on categories"),
        (setting("value", 0, np.nan), "not finite"),
        (setting("num_threshold", 0, np.nan), "no number"),
    ],
)
def test_a_crafted_boosted_tree_is_refused(change, complaint):
    with pytest.raises(DataRefused, match=complaint):
        read_skops(rewritten(boosted(), change))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("node_count", "1", "1 nodes claimed"),
        ("max_depth", "1", "deeper than"),
        ("n_features_in_", "900", "in an estimator of 900"),
    ],
)
def test_a_tree_that_claims_more_than_it_has_is_refused(key, value, complaint):
    with pytest.raises(DataRefused, match=complaint):
        read_skops(rewritten(tree(), change_schema=claiming(key, value)))


def test_a_forest_whose_trees_read_more_columns_than_it_checks_is_refused():
    wide = RandomForestClassifier(2, random_state=0).fit(np.hstack([IRIS, IRIS]), SPECIES)
    narrow = RandomForestClassifier(2, random_state=0).fit(IRIS, SPECIES)
    narrow.estimators_[1] = wide.estimators_[1]
    with pytest.raises(DataRefused, match="in a forest of 4"):
        read_skops(skops.io.dumps(narrow))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (KNeighborsClassifier(), "sklearn.neighbors._kd_tree.KDTree"),
        (GradientBoostingClassifier(n_estimators=2), "GradientBoostingClassifier"),
    ],
)
def test_what_is_not_trusted_is_refused_by_name_with_what_to_do(model, named):
    with pytest.raises(DataRefused, match=f"{named}.*joblib.dump"):
        read_skops(skops.io.dumps(model.fit(IRIS, SPECIES)))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 nothing", rewritten(tree())[:200]])
def test_a_file_that_is_no_skops_file_is_refused(content):
    with pytest.raises(DataRefused, match="is not a skops file"):
        read_skops(content)
