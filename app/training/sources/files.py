"""The model in a file that somebody gives to `publish`, with its bytes as they are: a version keeps those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from app.errors import DataRefused
from app.inference.model_files import SKOPS
from app.training.external_model import ExternalModel, describe
from app.training.sources.onnx_graphs import read_onnx
from app.training.sources.pickles import read_pickle

Reader = Callable[[bytes, str, Mapping[str, bytes]], ExternalModel]


def load_model(path: Path, code: Mapping[str, bytes] | None = None, origin: str | None = None) -> ExternalModel:
    """The model in a `.onnx` or `.skops` file, else in a joblib or pickle file, and the files of its version.

    `code` are its own modules, as files of a version; `origin` names the file in errors (None: its path). Unpickling
    runs the code in the file: the caller has chosen to trust it. Raises `DataRefused` if it cannot be loaded, is
    not fitted, or is neither a classifier nor a regressor with one output.
    """
    if path.is_dir():
        inside = ", such as model.pkl or model.skops of an MLflow model" if (path / "MLmodel").exists() else ""
        raise DataRefused(f"{path} is a folder: name the model's file in it{inside}")
    if not path.is_file():
        raise DataRefused(f"there is no file {path}")
    data = path.read_bytes()
    read = _READERS.get(path.suffix.lower()) or _by_content(data)
    return read(data, origin or str(path), code or {})


def _by_content(data: bytes) -> Reader:
    return _read_skops if data.startswith(b"PK") and b"schema.json" in data else read_pickle


def _read_skops(data: bytes, origin: str, code: Mapping[str, bytes]) -> ExternalModel:
    if code:
        raise DataRefused(f"{origin} is a skops file, which has no code of its own: leave --code out")
    from app.inference.skops_file import read_skops  # deferred: it loads skops, which only such files need

    try:
        estimator = read_skops(data)
    except DataRefused as error:
        raise DataRefused(f"{origin} {error.message}") from error
    return msgspec.structs.replace(describe(estimator, origin), files={SKOPS: data})


_READERS: dict[str, Reader] = {".onnx": read_onnx, ".skops": _read_skops}
