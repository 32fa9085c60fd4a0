"""What `publish` writes besides its report: nothing, neither by Python's warnings nor by a library in C."""

from __future__ import annotations

import warnings

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import SVC

from app.cli import main

NUMBERS = pd.DataFrame(np.random.default_rng(1).normal(size=(120, 2)).round(2), columns=["a", "b"])
CITIES = NUMBERS.assign(city=["Rome", "Oslo", "Bern"] * 40)
CLASSES = np.where(NUMBERS["a"] > 0, "yes", "no")


def lightgbm(**settings):
    package = pytest.importorskip("lightgbm", reason="NOT CHECKED: lightgbm is not installed")
    return package.LGBMClassifier(n_estimators=4, **settings)


MODELS = {
    # Fitted on a frame, it gives the next step an array: scikit-learn warns of it on every call.
    "a lambda": lambda: make_pipeline(
        FunctionTransformer(lambda rows: np.asarray(rows) * 2), LogisticRegression()
    ).set_output(transform="default"),
    "unknown categories": lambda: make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", drop="first"), ["city"]), remainder="passthrough"
        ),
        LogisticRegression(),
    ),
    "categories of the first rows": lambda: HistGradientBoostingClassifier(max_iter=4),
    "a deprecated setting": lambda: SVC(probability=True),
    "a forest of LightGBM": lambda: lightgbm(boosting_type="rf", subsample=0.7, subsample_freq=1, verbose=-1),
    "LightGBM that says all it can": lambda: lightgbm(verbose=2),
}


@pytest.fixture
def publishes(tmp_path, monkeypatch, capfd):
    """Publish a fitted model with these rows; gives the report and all that was written besides it."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def run(model, rows):
        model_file, table = tmp_path / "model.pkl", tmp_path / "rows.csv"
        model_file.write_bytes(cloudpickle.dumps(model))
        rows.to_csv(table, index=False)
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("default")
            # As Python does where no test runs.
            warnings.simplefilter("ignore", DeprecationWarning)
            code = main(
                ["publish", str(tmp_path / "model.pkl"), "--reference", str(tmp_path / "rows.csv"), "--target", "y"]
            )
        written = capfd.readouterr()
        return code, written.out, written.err + "".join(str(warning.message) for warning in shown)

    return run


@pytest.mark.parametrize("kind", MODELS)
def test_publishing_writes_its_report_and_nothing_else(publishes, kind):
    rows = CITIES if "unknown" in kind else NUMBERS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MODELS[kind]().fit(rows.iloc[:90], CLASSES[:90])
    code, report, besides = publishes(model, rows.assign(y=CLASSES))
    assert (code, besides) == (0, "")
    assert "[LightGBM]" not in report


def test_numbers_that_overflow_on_random_rows_are_not_written_about(publishes):
    rows = NUMBERS.assign(y=np.exp(NUMBERS["a"]))
    code, _, besides = publishes(PoissonRegressor().fit(rows[["a", "b"]], rows["y"]), rows)
    assert (code, besides) == (0, "")
