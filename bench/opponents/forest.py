"""Trees as fast as libraries from PyPI answer them, for the opponents: compiled to machine code by tl2cgen.

    python forest.py MODEL.joblib FOLDER

writes what `Forest(FOLDER)` reads, and fails if its answers are not scikit-learn's. Measured for one row of a forest
of 100 trees (µs): tl2cgen called by ctypes 1.9, ONNX Runtime 7.7, tl2cgen's own Predictor 26, treelite's GTIL 41.
lleaves takes LightGBM's models only. A model of more than `MOST_NODES` nodes goes to ONNX Runtime: gcc was still not
through 500 trees on the digits after five minutes.
"""

from __future__ import annotations

import ctypes
import json
import sys
from array import array
from pathlib import Path

MOST_NODES = 50_000
_CHECKED_ROWS = 2_000


class Forest:
    """Answers one row: the shares of `classes`, in their order."""

    def __init__(self, folder: str | Path) -> None:
        about = json.loads((Path(folder) / "forest.json").read_text())
        self.classes: list[str] = about["classes"]
        self.features: int = about["features"]
        self.shares = (_compiled if about["compiled"] else _onnx)(Path(folder), about["outputs"])

    def fields(self, shares: list[float]) -> dict:
        """An answer's fields, as the naive server gives them."""
        best = shares.index(max(shares))
        return {
            "prediction": self.classes[best],
            "class_id": best,
            "confidence": shares[best],
            "probabilities": dict(zip(self.classes, shares, strict=True)),
        }

    def answer(self, row: list[float]) -> dict:
        """The answer to a row."""
        return self.fields(self.shares(row))


def _compiled(folder: Path, outputs: int):
    function = ctypes.CDLL(str(folder / "forest.so")).predict
    function.restype, function.argtypes = None, [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    room = ctypes.c_double * outputs

    def shares(row: list[float]) -> list[float]:
        # scikit-learn compares rows of float32 with thresholds of float64.
        cells, out = array("d", array("f", row)), room()
        function(cells.buffer_info()[0], 0, out)
        return out[:] if outputs > 1 else [1 - out[0], out[0]]

    return shares


def _onnx(folder: Path, _outputs: int):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnxruntime.InferenceSession(str(folder / "forest.onnx"), options, providers=["CPUExecutionProvider"])
    wanted = [model.get_outputs()[1].name]
    return lambda row: model.run(wanted, {"x": np.array([row], np.float32)})[0][0].tolist()


def build(model, folder: Path) -> None:
    """Write `model`, a fitted ensemble of trees of scikit-learn, to `folder`."""
    import tl2cgen
    import treelite
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    folder.mkdir(parents=True, exist_ok=True)
    trees = [each.tree_.node_count for each in getattr(model, "estimators_", [])]
    compiled, outputs, features = sum(trees) <= MOST_NODES, len(model.classes_), int(model.n_features_in_)
    if compiled:
        library = folder / "forest.so"
        tl2cgen.export_lib(
            treelite.sklearn.import_model(model),
            toolchain="gcc",
            libpath=library,
            params={"parallel_comp": 8},
            nthread=2,
        )
        outputs = int(tl2cgen.Predictor(library).num_class[0])
    else:
        shape = [("x", FloatTensorType([None, features]))]
        (folder / "forest.onnx").write_bytes(
            to_onnx(model, initial_types=shape, options={"zipmap": False}).SerializeToString()
        )
    about = {
        "compiled": compiled,
        "outputs": outputs,
        "features": features,
        "classes": [str(each) for each in model.classes_],
    }
    (folder / "forest.json").write_text(json.dumps(about))


def check(model, folder: Path, rows) -> None:
    """Raises `SystemExit` unless the answers to `rows` have scikit-learn's classes, and its shares to 1e-5."""
    import numpy as np

    want, forest = model.predict_proba(rows), Forest(folder)
    have = np.array([forest.shares(row) for row in rows.tolist()])
    wrong = int((have.argmax(axis=1) != want.argmax(axis=1)).sum())
    if wrong or np.abs(have - want).max() > 1e-5:
        raise SystemExit(f"{folder}: {wrong} of {len(rows)} classes differ from scikit-learn's; "
                         f"the shares by up to {np.abs(have - want).max():g}")  # fmt: skip


def main() -> int:
    """Build and check."""
    import joblib
    import numpy as np

    model, folder = joblib.load(sys.argv[1]), Path(sys.argv[2])
    build(model, folder)
    rows = np.random.default_rng(1).uniform(0, 8, (_CHECKED_ROWS, model.n_features_in_)).round(1)
    check(model, folder, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
