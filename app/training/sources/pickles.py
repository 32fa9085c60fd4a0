"""Pickles, of joblib and plain: load one, or say what wrote it, what is installed here, and what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping

import msgspec

from app.errors import DataRefused
from app.inference.model_files import ESTIMATOR, unpickled
from app.inference.own_code import code_of
from app.inference.pickle_facts import PickleFacts, pickle_facts
from app.training.external_model import ExternalModel, describe
from app.training.fit import collect_user_warnings

_BOOSTING = "pip install -c requirements.txt -r requirements-boosting.txt"
# Where a module is not the package that one installs, or comes with an extra of this project.
_INSTALL = {
    "lightgbm": _BOOSTING,
    "xgboost": _BOOSTING,
    "catboost": _BOOSTING,
    "cv2": "pip install opencv-python-headless",
    "imblearn": "pip install imbalanced-learn",
    "category_encoders": "pip install category-encoders",
}
_NOT_PICKLES: tuple[tuple[bytes, str], ...] = (
    (b"tree\nversion=", "a LightGBM booster in text form: fit an LGBMClassifier or LGBMRegressor, and joblib.dump it"),
    (b"CBM1", "a CatBoost file: load it with CatBoostClassifier().load_model, and joblib.dump that"),
    (b"\x89HDF", "an HDF5 file, such as Keras writes: convert the model to ONNX and publish the .onnx file"),
    (b"{L", "UBJSON, such as XGBoost's save_model writes: load it with XGBClassifier, and joblib.dump that"),
    (b"{", "JSON, such as XGBoost's save_model writes: load it with XGBClassifier, and joblib.dump that"),
    (b"PK", "a zip file, such as PyTorch writes: convert the model to ONNX and publish the .onnx file"),
    (b"\x04\x22\x4d\x18", "compressed with lz4: save it again with another compression"),
)
_NUMPY_OF_2 = "numpy._core"
_OF_VERSIONS = re.compile(r"Trying to unpickle estimator \w+ from version")
_CUT_OFF = re.compile("truncated|exhausted|ran out of input|^EOF", re.IGNORECASE)


def read_pickle(data: bytes, origin: str, code: Mapping[str, bytes]) -> ExternalModel:
    """The model in the bytes of a pickle. Raises `DataRefused` that says why it does not load, and what to do."""
    with collect_user_warnings() as warnings:
        try:
            estimator = unpickled(data, code)
        except (Exception, SystemExit) as error:  # a pickle can raise anything; it is reported as the reason
            raise DataRefused(f"{origin} cannot be loaded: {_reason(data, error, code)}") from error
    # scikit-learn has a warning of its own for each part of the model; one sentence says it for all.
    said = [warning for warning in warnings if not _OF_VERSIONS.match(warning)]
    other = _other_sklearn(pickle_facts(data)) if len(said) < len(warnings) else None
    said += [] if other is None else [_may_differ(other)]
    model = describe(estimator, origin, tuple(said))
    return msgspec.structs.replace(model, files={ESTIMATOR: data, **code})


def _may_differ(other: str) -> str:
    installed = importlib.metadata.version("scikit-learn")
    return (
        f"it was written with scikit-learn {other}, and {installed} is installed here: "
        f"its answers may differ from those it had there. Publish in an environment with {other}, or refit it"
    )


def _reason(data: bytes, error: BaseException, code: Mapping[str, bytes]) -> str:
    facts = pickle_facts(data)
    cause = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
    if not facts.names:
        kind = next((kind for magic, kind in _NOT_PICKLES if data.startswith(magic)), None)
        return f"it is {kind}" if kind else f"it is no pickle that can be read ({cause})"
    if isinstance(error, EOFError) or _CUT_OFF.search(str(error)):
        return f"{cause}. The file is cut off: copy it again, or save the model again"
    advice = _of_notebook(facts, error) or _of_module(facts, error, code) or _of_versions(facts)
    return f"{cause}. {advice}{_written_with(facts)}"


def _of_notebook(facts: PickleFacts, error: BaseException) -> str | None:
    """What to do about a class or function that was defined in a notebook or a script."""
    names = sorted(name for module, name in facts.names if module in ("__main__", "__mp_main__"))
    if not names or not isinstance(error, AttributeError):
        return None
    listed = ", ".join(names[:5])
    return (
        f"{listed} was defined in a notebook or a script (__main__): define it in a module, fit and save the model "
        "again, and pass --code DIR with that module"
    )


def _of_module(facts: PickleFacts, error: BaseException, code: Mapping[str, bytes]) -> str | None:
    """What to do about a module that is not here, or is here in another version."""
    if not isinstance(error, ImportError | AttributeError):
        return None
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or _is_here(missing.partition(".")[0], code):
        return None
    package = missing.partition(".")[0]
    # scikit-learn's compiled modules are pickled without their package: `_loss`, which no index has.
    if package.startswith("_") and _other_sklearn(facts):
        return None
    if package in _INSTALL:
        return f"The model is of {package}, which is not installed: {_INSTALL[package]}, here and where the API runs"
    if package in facts.packages:
        return (
            f"The file names the module {package}, which is not here: pip install the package that has it, or pass "
            f"--code DIR with {package}.py"
        )
    return (
        f"A module of the model imports {missing}, which is not here: pip install its package, or add it to --code DIR"
    )


def _is_here(package: str, code: Mapping[str, bytes]) -> bool:
    if package in code_of(code).names:
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _of_versions(facts: PickleFacts) -> str:
    """What to do where the same packages are here in other versions."""
    installed = importlib.metadata.version("scikit-learn")
    other = _other_sklearn(facts)
    if other:
        return (
            f"It was written with scikit-learn {other}, and {installed} is installed here: publish in an "
            f"environment with scikit-learn {other}, or refit the model"
        )
    return "Publish in the environment that the model was fitted in, or refit it here"


def _other_sklearn(facts: PickleFacts) -> str | None:
    """The scikit-learn that wrote the file, if another one is installed here."""
    installed = importlib.metadata.version("scikit-learn")
    return next((version for version in facts.sklearn_versions if version != installed), None)


def _written_with(facts: PickleFacts) -> str:
    """The versions that the file and this environment have, as far as they are known."""
    wrote = [f"scikit-learn {version}" for version in facts.sklearn_versions]
    wrote += ["numpy 2 or later"] if any(module.startswith(_NUMPY_OF_2) for module, _ in facts.names) else []
    others = [name for name in facts.packages if name in _INSTALL]
    wrote += [f"{name} (the file does not say which version)" for name in others]
    here = [f"{name} {_installed(name)}" for name in ("scikit-learn", "numpy", *others)]
    return f" (written with: {', '.join(wrote) or 'not recorded in the file'}; here: {', '.join(here)})"


def _installed(package: str) -> str:
    found = importlib.metadata.packages_distributions().get(package, [package])
    try:
        return importlib.metadata.version(re.sub("_", "-", found[0]))
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
