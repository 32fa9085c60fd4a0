"""What a pickle says of itself, in each form in which people write them; nothing of it is executed."""

import io
import os
import pickle

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from app.inference.pickle_facts import pickle_facts
from tests.unit.inference.published import data

IRIS, SPECIES = data("iris")
FRAME = pd.DataFrame(IRIS, columns=list("abcd")).assign(city=["Rome", "Oslo", "Paris"] * 50)
TEXTS = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
MODELS = {
    "pipeline": make_pipeline(
        make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), RandomForestClassifier(5)
    ).fit(FRAME, TEXTS),
    "boosting": HistGradientBoostingClassifier(max_iter=3).fit(IRIS, TEXTS),
}
FORMS = {
    "joblib": lambda model, file: joblib.dump(model, file),
    **{
        f"joblib {kind}": lambda model, file, kind=kind: joblib.dump(model, file, compress=(kind, 3))
        for kind in ("zlib", "gzip", "bz2", "lzma", "xz")
    },
    **{f"joblib {n}": lambda model, file, n=n: joblib.dump(model, file, protocol=n) for n in (0, 2)},
    **{f"pickle {n}": lambda model, file, n=n: pickle.dump(model, file, protocol=n) for n in range(6)},
    "cloudpickle": cloudpickle.dump,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_a_pickle_says_which_scikit_learn_wrote_it_and_which_packages_it_needs(name, form):
    file = io.BytesIO()
    FORMS[form](MODELS[name], file)
    facts = pickle_facts(file.getvalue())
    assert facts.complete
    assert facts.sklearn_versions == (sklearn.__version__,)
    assert (
        {"numpy", "sklearn"}
        <= set(facts.packages)
        <= {*("numpy", "sklearn", "joblib", "builtins", "__builtin__", "copy_reg", "_codecs")}
    )


class Trap:
    def __reduce__(self):
        return os.abort, ()


def test_nothing_of_the_file_is_executed():
    facts = pickle_facts(pickle.dumps(Trap()))
    assert facts.complete
    assert (os.abort.__module__, "abort") in facts.names


@pytest.mark.parametrize("length", [0, 1, 30, 400, 1200])
def test_of_a_damaged_file_what_could_be_read_is_true(length):
    file = io.BytesIO()
    joblib.dump(MODELS["boosting"], file)
    facts = pickle_facts(file.getvalue()[:length])
    assert not facts.complete
    assert set(facts.packages) <= {"numpy", "sklearn", "joblib"}


@pytest.mark.parametrize(
    "content", [b"hello", b"\x78\x9cnothing", b"\x1f\x8bnothing", bytes(100), b"0", b"(((", b"\x80\x04R."]
)
def test_a_file_that_is_no_pickle_has_no_names(content):
    assert pickle_facts(content).names == ()
