"""Pickles that do not load: the message says what wrote them, what is here, and what to do. What loads is kept."""

import pickle
import sys
import types

import joblib
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from app.errors import DataRefused
from app.training.external_model import describe
from app.training.sources.code_folder import code_files
from app.training.sources.files import load_model

X, Y = [[0.0], [1.0], [2.0], [3.0]], ["n", "n", "y", "y"]


def written(tmp_path, content, name="model.pkl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path, code=None):
    with pytest.raises(DataRefused) as refusal:
        load_model(path, code)
    return refusal.value.message


def of_class(module, name):
    """A pickle of an object of a class that is not here."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81}b."


@pytest.mark.parametrize("dump", [joblib.dump, lambda model, path: path.write_bytes(pickle.dumps(model))])
def test_what_loads_is_kept_byte_for_byte(tmp_path, dump):
    dump(LogisticRegression().fit(X, Y), tmp_path / "model.pkl")
    assert load_model(tmp_path / "model.pkl").files == {"model.joblib": (tmp_path / "model.pkl").read_bytes()}


def test_a_class_of_a_notebook_is_named_with_what_to_do(tmp_path):
    message = refused(written(tmp_path, of_class("__main__", "MyScaler")))
    assert "MyScaler was defined in a notebook or a script (__main__): define it in a module" in message
    assert "--code DIR" in message


@pytest.mark.parametrize("package", ["lightgbm", "xgboost", "catboost"])
def test_a_model_of_a_package_that_is_not_here_names_it_and_how_to_install_it(tmp_path, monkeypatch, package):
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(written(tmp_path, of_class(f"{package}.sklearn", "Classifier")))
    assert f"The model is of {package}, which is not installed" in message
    assert "requirements-boosting.txt" in message
    assert f"here: scikit-learn {sklearn.__version__}" in message


def test_a_module_that_is_nowhere_is_asked_for_as_a_package_or_as_code(tmp_path):
    message = refused(written(tmp_path, of_class("our_features", "Scale")))
    assert "The file names the module our_features, which is not here" in message
    assert "--code DIR with our_features.py" in message


def test_a_pickle_of_another_scikit_learn_that_does_not_load_names_both_versions(tmp_path):
    model = DecisionTreeClassifier().fit(X, Y)
    content = pickle.dumps(model, protocol=2)
    old = content.replace(b"sklearn.tree._classes", b"sklearn.tree._classez", 1).replace(
        sklearn.__version__.encode(), b"1.5.2", 1
    )
    message = refused(written(tmp_path, old))
    assert f"written with scikit-learn 1.5.2, and {sklearn.__version__} is installed here" in message
    assert "publish in an environment with scikit-learn 1.5.2, or refit the model" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"tree\nversion=v4\nnum_class=3", "a LightGBM booster in text form"),
        (b'{"learner": {}}', "JSON, such as XGBoost"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"CBM1....", "a CatBoost file"),
        (b"PK\x03\x04....", "a zip file, such as PyTorch writes"),
        (b"", "no pickle that can be read"),
        (b"a,b\n1,2\n", "no pickle that can be read"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, content, words):
    assert words in refused(written(tmp_path, content))


@pytest.mark.parametrize(("package", "models"), [("lightgbm", "LGBMClassifier"), ("xgboost", "XGBClassifier")])
def test_a_raw_booster_is_refused_with_the_model_to_save_instead(package, models):
    booster = type("Booster", (), {"__module__": f"{package}.basic", "predict": lambda self, rows: rows})
    with pytest.raises(DataRefused, match=rf"holds a Booster of {package}.*{models}"):
        describe(booster(), "model.pkl")


def test_an_object_without_the_tags_of_an_estimator_is_no_traceback():
    thing = type("Thing", (), {"predict": lambda self, rows: rows})
    with pytest.raises(DataRefused, match="a Thing is neither a classifier nor a regressor"):
        describe(thing(), "model.pkl")


def test_a_model_with_modules_of_its_own_loads_with_them_and_keeps_them(tmp_path, monkeypatch):
    folder = tmp_path / "own"
    (folder / "shop").mkdir(parents=True)
    source = b"from sklearn.linear_model import LogisticRegression\nclass Ours(LogisticRegression): pass\n"
    (folder / "shop" / "models.py").write_bytes(source)
    module = types.ModuleType("shop.models")
    monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.models", module)
    exec(source, vars(module))
    path = written(tmp_path, pickle.dumps(module.Ours().fit(X, Y)))
    monkeypatch.delitem(sys.modules, "shop.models")
    monkeypatch.delitem(sys.modules, "shop")
    assert "--code DIR with shop.py" in refused(path)
    model = load_model(path, code_files(folder))
    assert type(model.estimator).__module__ == "shop.models"
    assert model.files == {"model.joblib": path.read_bytes(), "code-shop.models.py": source}
    assert "shop.models" not in sys.modules
