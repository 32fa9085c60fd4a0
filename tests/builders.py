"""Records that many tests need, with defaults for everything that a test does not name."""

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.layouts import Layout
from app.domain.manifest import Manifest, Parity, Source
from app.domain.rows import RowParser
from app.services.ports import LoadedModels, LoadedVersion
from app.services.serving.breaker import Breaker
from app.services.serving.live_models import LiveModels
from app.services.serving.predictor import PredictionRequest

SHA256 = "a" * 64


def two_class_contract(*names):
    """A contract of numeric features with the classes no and yes."""
    features = tuple(Feature(name=name) for name in names)
    return FeatureContract(task="classification", target="y", features=features, classes=("no", "yes"))


CONTRACT = two_class_contract("a")


def ordinal_of(name):
    """The number in a version's name; 1 where there is none."""
    return int(name[1:]) if name[1:].isdigit() else 1


def manifest(name="v1", contract=CONTRACT, **changes):
    """The manifest of a published version."""
    values = {
        "version": name,
        "ordinal": ordinal_of(name),
        "created_at": "2026-11-20T12:00:00Z",
        "variant": None,
        "estimator": "RandomForestClassifier",
        "contract": contract,
        "source": Source(dataset="iris", target=contract.target, rows=120, sha256="d" * 64),
        "metrics": {},
        "runtime": "onnx",
        "parity": Parity(rows=1, flips=0, settled=0, largest_difference=0.0, holds=True),
        "libraries": {},
        "files": {},
    }
    return Manifest(**{**values, **changes})


def loaded_version(name="v1", runtime=None, contract=CONTRACT, **changes):
    """A version in memory; a `Manifest` may be given as `manifest`."""
    values = {
        "ordinal": ordinal_of(name),
        "parser": RowParser(contract),
        "runtime_name": "onnx",
        "sha256": SHA256,
        "manifest": {},
        **changes,
    }
    values["manifest"] = msgspec.to_builtins(values["manifest"])
    return LoadedVersion(name=name, contract=contract, runtime=runtime, **values)


def loaded_models(*versions, compatible=None, aliases=None, refused=()):
    """These versions; the first one is the reference."""
    named = {version.name: version for version in versions}
    return LoadedModels(
        versions=named,
        reference=next(iter(named), None),
        compatible=compatible or tuple(named),
        aliases=aliases or {},
        refused=tuple(refused),
    )


def models_of(contract=CONTRACT, **runtimes):
    """Loaded models from runtimes by name."""
    return loaded_models(*(loaded_version(name, runtime, contract) for name, runtime in runtimes.items()))


def layout_of(contract=CONTRACT, versions=("v1", "v2")):
    """The layout of rows whose columns are those that all `versions` read."""
    return Layout(contract, contract.features, dict.fromkeys(versions, contract))


def request_for(predictor, rows=((1.0,),), forced=None, **changes):
    """A request as the endpoint makes it, of rows that are arrays."""
    state = changes.get("state") or predictor.live_state()
    parsed, layout = state.columns(forced).rows(np.asarray(rows).tolist())
    values = {"rows": parsed, "layout": layout, "state": state, "request_id": "r", "forced": forced}
    return PredictionRequest(**{**values, **changes})


def configuration(weights=None, **changes):
    """A configuration that is in force, for the accuracy of these weights."""
    values = {
        "epoch": 1,
        "experiment_id": "e1",
        "weights": weights or {},
        "terms": ExperimentTerms(metric="accuracy"),
    }
    return Configuration(**{**values, **changes})


def live_models(loaded, in_force=None, breaker=lambda: Breaker(3, 60.0, lambda: 0.0), foreign=lambda: False):
    """What serves: these models under a configuration."""
    return LiveModels(loaded, in_force or configuration(), breaker, foreign=foreign)


class OwnKeys:
    """Own keys with the predictions that they are bound to; `asked` is what was looked up."""

    def __init__(self, **bound):
        self.known, self.asked = bound, []

    def bound(self, keys):
        self.asked.append(set(keys))
        return {key: self.known[key] for key in keys if key in self.known}
