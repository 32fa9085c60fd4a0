"""A newer reference of versions whose model is not a plain pickle, or does not load here: never a traceback."""

import sys
import types

import joblib
import pandas as pd
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression

from app.cli import main
from app.errors import ArtefactRefused
from app.training.external_session import PublishRequest, publish_external
from app.training.refreshed_reference import RefreshRequest, refresh_reference
from tests.unit.inference.published import data, retire

IRIS, SPECIES = data("iris")
FRAME = pd.DataFrame(IRIS, columns=list("abcd"))
SOURCE = b"from sklearn.linear_model import LogisticRegression\nclass Ours(LogisticRegression):\n    pass\n"


def quiet(_step):
    pass


@pytest.fixture
def rows(tmp_path):
    FRAME.assign(y=SPECIES).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """The class of a module of somebody's own, importable until the test removes it, and the module's folder."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "ours.py").write_bytes(SOURCE)
    module = types.ModuleType("ours")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, "ours", module)
    return module.Ours, folder


def published(registry, rows, model, **changes):
    publish_external(PublishRequest(model=model, reference=rows, target="y", version="v1", **changes), registry, quiet)


def refreshed(registry, rows, reference_is="holdout"):
    request = RefreshRequest(version="v1", reference=str(rows), reference_is=reference_is)
    return refresh_reference(request, registry, quiet)


@pytest.mark.parametrize("model", [LogisticRegression(max_iter=500), LinearRegression()])
def test_a_version_from_an_onnx_file_gets_a_reference(registry, rows, tmp_path, model):
    graph = to_onnx(
        model.fit(IRIS, SPECIES),
        IRIS[:1].astype("float32"),
        options={"zipmap": False} if hasattr(model, "predict_proba") else None,
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    published(registry, rows, tmp_path / "m.onnx")
    assert refreshed(registry, rows).manifest.rows == 150
    assert refreshed(registry, rows, "training").reference.answers_from == "none"


def test_a_version_from_a_skops_file_gets_a_reference(registry, rows, tmp_path):
    skops.io.dump(LogisticRegression(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.skops")
    published(registry, rows, tmp_path / "m.skops")
    assert refreshed(registry, rows).reference.answers_from == "holdout"


def test_a_version_with_modules_of_its_own_gets_a_reference_and_no_clones(registry, rows, tmp_path, ours, monkeypatch):
    kind, folder = ours
    joblib.dump(kind(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.joblib")
    monkeypatch.delitem(sys.modules, "ours")
    published(registry, rows, tmp_path / "m.joblib", code=folder)
    assert refreshed(registry, rows).reference.answers_from == "holdout"
    done = refreshed(registry, rows, "training").reference
    assert (done.answers_from, "modules of its own" in str(done.answers_missing)) == ("none", True)


def test_a_retired_version_gets_a_reference(registry, rows, tmp_path):
    joblib.dump(LogisticRegression(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.joblib")
    for version in ("v0", "v1"):
        request = PublishRequest(model=tmp_path / "m.joblib", reference=rows, target="y", version=version)
        publish_external(request, registry, quiet)
    retire(registry, ["v1"], "ann", None, "2026-01-01T00:00:00Z")
    assert refreshed(registry, rows).manifest.rows == 150


def test_a_version_whose_library_is_missing_is_refused_in_words(registry, rows, tmp_path, ours, monkeypatch):
    kind, _ = ours
    joblib.dump(kind(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.joblib")
    published(registry, rows, tmp_path / "m.joblib")
    monkeypatch.delitem(sys.modules, "ours")
    with pytest.raises(ArtefactRefused, match=r"v1: its model needs the module ours, which is not installed here"):
        refreshed(registry, rows)


def test_the_command_prints_no_traceback(rows, tmp_path, ours, monkeypatch, capsys):
    kind, _ = ours
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    joblib.dump(kind(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.joblib")
    assert (
        main(["publish", str(tmp_path / "m.joblib"), "--reference", str(rows), "--target", "y", "--version", "v1"]) == 0
    )
    monkeypatch.delitem(sys.modules, "ours")
    assert main(["publish", "--refresh-reference", "v1", "--reference", str(rows)]) == 1
    assert "publish the reference where it is installed" in capsys.readouterr().err


def test_a_model_that_fails_to_load_says_with_what_it_was_written(registry, rows, tmp_path, ours, monkeypatch):
    kind, _ = ours
    joblib.dump(kind(max_iter=500).fit(IRIS, SPECIES), tmp_path / "m.joblib")
    published(registry, rows, tmp_path / "m.joblib")
    monkeypatch.setitem(sys.modules, "ours", types.ModuleType("ours"))
    with pytest.raises(ArtefactRefused, match=r"cannot be loaded here \(AttributeError: .*where scikit-learn "):
        refreshed(registry, rows)
