"""Read skops files: by our own list of types, and with every tree's arrays checked before anything uses them.

scikit-learn follows the node indices of a tree in compiled code without checking them: a crafted file would crash
the process, or read memory that is not the tree's.
"""

from __future__ import annotations

import gc
import io
import zipfile
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from app.errors import DataRefused

TREE = "sklearn.tree._tree.Tree"
BOOSTED_TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
# Beyond the list that skops has of its own. The others are plain Python classes of scikit-learn, which hold parameters.
TRUSTED = frozenset(
    {
        TREE,
        BOOSTED_TREE,
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
    }
)
_LARGEST_CONTENT = 2 * 1024**3
# They hand their trees to compiled code whose buffers depend on attributes that a file can set freely.
_UNCHECKABLE = ("GradientBoostingClassifier", "GradientBoostingRegressor")


def read_skops(data: bytes) -> Any:
    """The model in a skops file's bytes. Raises `DataRefused` for a type that is not trusted, and for a crafted tree.

    No code of the file runs: it can only name types, and those are known.
    """
    import skops.io  # deferred: it brings scikit-learn with it

    _require_size(data)
    try:
        untrusted = skops.io.get_untrusted_types(data=data)
    except Exception as error:  # a crafted file can make it raise anything
        raise DataRefused(f"is not a skops file that can be read: {type(error).__name__}: {error}") from error
    refused = sorted(set(untrusted) - TRUSTED)
    if refused:
        raise DataRefused(
            f"has types that are not trusted in a skops file: {', '.join(refused)}; if you trust where it comes from, "
            "save the model with joblib.dump and publish that file"
        )
    try:
        model = skops.io.loads(data, trusted=sorted(untrusted))
    except Exception as error:
        raise DataRefused(f"cannot be read as a skops file: {type(error).__name__}: {error}") from error
    for part, owner in _parts(model):
        _check(part, owner)
    return model


def _require_size(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise DataRefused(f"is not a skops file: {error}") from error
    if size > _LARGEST_CONTENT:
        raise DataRefused(f"has {size} bytes unpacked, more than the {_LARGEST_CONTENT} that are read")


def _parts(model: Any) -> Iterator[tuple[Any, Any]]:
    """Every object inside the model, each with the nearest estimator around it (None outside of any)."""
    waiting: list[tuple[Any, Any]] = [(model, None)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        thing, owner = waiting.pop()
        # With the owner: a tree that two estimators share must fit both of them.
        if (id(thing), id(owner)) in seen or isinstance(thing, type | ModuleType | FunctionType | BuiltinFunctionType):
            continue
        seen.add((id(thing), id(owner)))
        yield thing, owner
        if "n_features_in_" in getattr(thing, "__dict__", {}):
            owner = thing
        # NumPy does not tell the garbage collector what an array of objects holds.
        is_array = isinstance(thing, np.ndarray)
        inside = (thing.ravel().tolist() if thing.dtype == object else []) if is_array else gc.get_referents(thing)
        waiting += [(each, owner) for each in inside]


def _check(part: Any, owner: Any) -> None:
    kind = f"{type(part).__module__}.{type(part).__name__}"
    if kind == TREE:
        _check_tree(part, _width(owner, kind))
    elif kind == BOOSTED_TREE:
        _check_boosted_tree(part, _width(owner, kind))
    elif kind.startswith("sklearn.ensemble._gb.") and type(part).__name__ in _UNCHECKABLE:
        raise DataRefused(
            f"has a {type(part).__name__}, whose trees cannot be checked in a skops file; if you trust where it comes "
            "from, save the model with joblib.dump and publish that file"
        )
    elif kind.startswith("sklearn.ensemble._forest."):
        # A forest checks the width of its rows once, against the first tree.
        width = getattr(part, "n_features_in_", None)
        widths = {getattr(tree, "n_features_in_", None) for tree in np.ravel(getattr(part, "estimators_", []))}
        if widths - {width}:
            raise _crafted(f"trees for {sorted(map(str, widths))} features in a forest of {width}")


def _width(owner: Any, kind: str) -> int:
    width = getattr(owner, "n_features_in_", None)
    if type(width) is not int or width < 1:
        raise _crafted(f"a {kind} outside of a fitted estimator")
    return width


def _check_tree(tree: Any, width: int) -> None:
    """Raise `DataRefused` unless the nodes make one tree over at most `width` features."""
    count = tree.node_count
    # Before any array is looked at: each would be as long as `node_count` claims, whatever memory there is.
    if count != tree.capacity or count < 1:
        raise _crafted(f"{count} nodes claimed, {tree.capacity} present")
    if tree.n_features != width:
        raise _crafted(f"a tree over {tree.n_features} features in an estimator of {width}")
    if tree.value.shape != (count, tree.n_outputs, tree.max_n_classes) or not np.isfinite(tree.value).all():
        raise _crafted(f"values of shape {tree.value.shape} for {count} nodes, or values that are not finite")
    left, right = tree.children_left, tree.children_right
    inner = left != -1
    _check_children(left, right, inner)
    _check_features(tree.feature[inner], width)
    thresholds = tree.threshold[inner]
    # +infinity only: there, scikit-learn sends a missing value to the right, and all others to the left.
    if np.isnan(thresholds).any() or (thresholds == -np.inf).any():
        raise _crafted("a threshold that is no number")
    if _depth(left, right, inner) > tree.max_depth:
        raise _crafted(f"a tree deeper than the {tree.max_depth} claimed")


def _check_boosted_tree(tree: Any, width: int) -> None:
    nodes = tree.nodes
    if nodes.ndim != 1 or not len(nodes) or not np.isfinite(nodes["value"]).all():
        raise _crafted("a tree without nodes, or with values that are not finite")
    inner = nodes["is_leaf"] == 0
    if nodes["is_categorical"][inner].any():
        raise DataRefused(
            "splits on categories in a boosted tree, which cannot be checked in a skops file; if you trust where it "
            "comes from, save the model with joblib.dump and publish that file"
        )
    left = np.where(inner, nodes["left"].astype(np.int64), -1)
    right = np.where(inner, nodes["right"].astype(np.int64), -1)
    _check_children(left, right, inner)
    _check_features(nodes["feature_idx"][inner], width)
    if np.isnan(nodes["num_threshold"][inner]).any():
        raise _crafted("a threshold that is no number")


def _check_children(left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> None:
    """Children lie behind their parent, in range, and every node but the root has one parent: so there is no cycle."""
    count = len(left)
    if (right[~inner] != -1).any():
        raise _crafted("a node with one child")
    parents = np.flatnonzero(inner)
    children = np.concatenate([left[inner], right[inner]])
    if (children >= count).any() or (children <= np.concatenate([parents, parents])).any():
        raise _crafted(f"a child that is not behind its parent among {count} nodes")
    if len(np.unique(children)) != len(children) or len(children) != count - 1:
        raise _crafted("a node with two parents, or with none")


def _check_features(features: np.ndarray, width: int) -> None:
    if ((features < 0) | (features >= width)).any():
        raise _crafted(f"a split on a feature that is none of {width}")


def _depth(left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> int:
    depth = np.zeros(len(left), dtype=np.int64)
    for node in np.flatnonzero(inner).tolist():  # parents come first
        depth[left[node]] = depth[right[node]] = depth[node] + 1
    return int(depth.max())


def _crafted(detail: str) -> DataRefused:
    return DataRefused(
        f"has a tree that scikit-learn never writes ({detail}): it was damaged or crafted, do not use it"
    )
