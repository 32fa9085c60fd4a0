"""Stand-ins for what `app.bootstrap` gives to the web edge: all in memory, all counting what reached them."""

import itertools

import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import ExperimentTerms
from app.domain.manifest import FileSum, Parity, ReferenceHistory
from app.domain.prediction import Outputs
from app.domain.prediction_id import Signer
from app.errors import BakeoffError, UnknownPrediction
from app.services.control.decisions import Decisions
from app.services.ports import RefusedVersion
from app.services.queries.breakdown import Breakdowns
from app.services.queries.disagreements import Disagreements
from app.services.queries.drift import Drift
from app.services.queries.experiments import Experiments
from app.services.queries.history import HistoryPage
from app.services.queries.models import ModelQueries
from app.services.recording.feedback import ItemReceipt, Receipt
from app.services.serving.assignments import Assignments
from app.services.serving.breaker import Breaker
from app.services.serving.health import Health
from app.services.serving.live_models import LiveModels
from app.services.serving.predictor import Predictor
from app.services.serving.reload import Reload
from app.settings import Settings
from app.web.dependencies import Services
from app.web.wrong_tokens import WrongTokens
from tests import builders
from tests.unit.services.control.deciders import MemoryDecisions, MemoryReports, dependencies, record
from tests.web.drifting import MemoryDrifts

IRIS = FeatureContract(
    task="classification",
    target="species",
    features=tuple(
        Feature(name=name, minimum=low, maximum=high, median=median)
        for name, low, high, median in (
            ("sepal_length", 4.3, 7.9, 5.8),
            ("sepal_width", 2.0, 4.4, 3.0),
            ("petal_length", 1.0, 6.9, 4.35),
            ("petal_width", 0.1, 2.5, 1.3),
        )
    ),
    classes=("setosa", "versicolor", "virginica"),
)
HOUSES = FeatureContract(
    task="regression",
    target="price",
    features=(
        Feature(name="area", nullable=True),
        Feature(name="city", kind="categorical", categories=("Oslo", "Bergen")),
    ),
)
ACCOUNTS = FeatureContract(
    task="classification",
    target="fraud",
    features=(Feature(name="user_id"), Feature(name="features")),
    classes=("no", "yes"),
)
ORDERS = FeatureContract(
    task="classification",
    target="late",
    features=(Feature(name="id"), Feature(name="weight")),
    classes=("no", "yes"),
)
MEMBERS = FeatureContract(
    task="classification",
    target="grade",
    features=(
        Feature(name="member", boolean=True, median=0.5, minimum=0.0, maximum=1.0),
        Feature(name="senior", kind="categorical", categories=("False", "True"), nullable=True),
        Feature(name="newsletter", choices=(0.0, 1.0)),
    ),
    classes=("1", "2.5", "3"),
)
FLAGGED = FeatureContract(
    task="classification",
    target="fraud",
    features=(Feature(name="sent", kind="categorical", categories=("true",), open_categories=True),),
    classes=("False", "True"),
)
SERVED_AT_US = 1_795_000_000_123_456


class ConstantRuntime:
    """Answers every row with the same class, probabilities or value."""

    def __init__(self, class_id=0, probabilities=(0.98, 0.02, 0.0), value=None):
        self.class_id, self.probabilities, self.value = class_id, probabilities, value
        self.rows_seen = 0

    def predict(self, rows):
        count = len(rows)
        self.rows_seen += count
        if self.value is not None:
            return Outputs(values=np.full(count, self.value))
        ids = np.full(count, self.class_id)
        if self.probabilities is None:
            return Outputs(class_ids=ids)
        return Outputs(class_ids=ids, probabilities=np.tile(np.array(self.probabilities), (count, 1)))


class FailingRuntime:
    """Answers nothing."""

    def predict(self, rows):
        raise RuntimeError("out of order")


class RecordingSink:
    """The recorder, as far as the edge sees it."""

    def __init__(self):
        self.exposures, self.failures, self.flushes = [], [], 0

    def record(self, exposure):
        self.exposures.append(exposure)

    def failed(self, version, reason):
        self.failures.append((version, reason))

    def flush(self, timeout_s):
        self.flushes += 1


class CountingMetrics:
    """Keeps the reasons of refusals."""

    def __init__(self):
        self.reasons, self.protocols = [], []
        self.wrong_tokens = 0

    def wrong_token(self):
        self.wrong_tokens += 1

    def refused(self, reason, protocol="bakeoff"):
        self.protocols.append(protocol)
        self.reasons.append(reason)

    def exposition(self, accept):
        return f"prediction_requests_total {len(self.reasons)}.0\n".encode(), "text/plain; version=0.0.4; charset=utf-8"


class EmptyHistory:
    """Remembers what was asked for and has nothing."""

    def __init__(self):
        self.asked = []

    def page(self, limit, version, before, name):
        self.asked.append((limit, version, before, name))
        return HistoryPage(predictions=[], next=None)

    def one(self, name):
        self.asked.append(name)
        raise UnknownPrediction("nothing is there")


class AcceptingFeedback:
    """Takes any outcome."""

    def __init__(self):
        self.taken, self.from_file = [], None

    def accept(self, items, *, from_file=False, correcting=None):
        self.from_file, self.correcting = from_file, correcting
        for index, item in enumerate(items):
            if isinstance(item, BakeoffError):
                raise item.within("item", index)
        self.taken += items
        return Receipt(accepted=len(items), duplicates=0)

    def accept_each(self, items, *, from_file=False, correcting=None):
        self.from_file, self.correcting = from_file, correcting
        refused = [ItemReceipt("invalid") if isinstance(item, BakeoffError) else None for item in items]
        self.taken += [item for item, refusal in zip(items, refused, strict=True) if refusal is None]
        receipts = tuple(refusal or ItemReceipt("accepted") for refusal in refused)
        return Receipt(accepted=refused.count(None), duplicates=0, items=receipts)


class MemoryRegistry:
    """A registry of manifests in memory."""

    def __init__(self, manifests, aliases, histories=None):
        self.manifests, self._aliases, self.histories = manifests, aliases, histories or {}

    def names(self):
        return tuple(self.manifests)

    def manifest(self, version):
        return self.manifests[version]

    def aliases(self):
        return dict(self._aliases)

    def reference_history(self, version):
        return self.histories.get(version, ReferenceHistory())


def manifest(name, ordinal, contract):
    rows = [
        tuple(
            feature.median or 1.0 if feature.kind == "numeric" else feature.categories[0]
            for feature in contract.features
        )
    ]
    return builders.manifest(
        name,
        contract,
        ordinal=ordinal,
        variant="deep_forest",
        metrics={"holdout": {"accuracy": 0.95}},
        parity=Parity(rows=20_000, flips=0, settled=12, largest_difference=1e-7, holds=True),
        libraries={"scikit-learn": "1.9"},
        files={"model.joblib": FileSum(sha256=builders.SHA256, bytes=1000)},
        examples=tuple(rows),
    )


def loaded(name, ordinal, contract, runtime):
    published = manifest(name, ordinal, contract)
    return builders.loaded_version(name, runtime, contract, ordinal=ordinal, manifest=published)


def loaded_models(contract=IRIS, refused=(), **runtimes):
    return builders.loaded_models(
        *(loaded(name, ordinal, contract, runtime) for ordinal, (name, runtime) in enumerate(runtimes.items(), 1)),
        aliases={"champion": "v1"} if runtimes else {},
        refused=(RefusedVersion(name, reason) for name, reason in refused),
    )


class AloneGenerations:
    """A host with one worker."""

    def current(self):
        return ""

    def advance(self):
        return ""

    def confirm(self, generation, versions):
        pass

    def lacking(self, generation=None):
        return {}

    def behind(self, generation):
        return 0

    def leave(self):
        pass


def reload_of(live, found=None):
    """Reloads that find the loaded models unchanged, or the models `found`."""

    def serve(loaded):
        live.install(loaded)
        return live.configuration

    return Reload(lambda: live.loaded_models, lambda before: found or before, serve, AloneGenerations(), "")


def configuration(**weights):
    return builders.configuration(
        weights,
        epoch=3,
        terms=ExperimentTerms(metric="accuracy", baseline="v1"),
        champion="v1",
        created_at_us=SERVED_AT_US,
    )


def _weights(versions):
    """Halves for v1 and v2; where one of them is not served, all for the first: who lacks one counts nothing."""
    return {versions[0]: 1.0} if versions and not {"v1", "v2"} <= {*versions} else {"v1": 0.5, "v2": 0.5}


def services(
    served=None,
    *,
    weights=None,
    store=lambda: None,
    draining=False,
    history=None,
    disagreements=None,
    states=(),
    sources=None,
    reports=None,
    drifts=None,
    histories=None,
    clock=lambda: 0.0,
    **settings,
):
    """Services over `served` (default: v1 and v2 that answer constants), with every random draw 0: v1 is chosen."""
    served = (
        served if served is not None else loaded_models(v1=ConstantRuntime(), v2=ConstantRuntime(1, (0.1, 0.9, 0.0)))
    )
    weights = weights or _weights([*served.versions])
    live = LiveModels(served, configuration(**weights), lambda: Breaker(3, 60.0, clock))
    sink, signer = RecordingSink(), Signer(b"k" * 32, b"test")
    ticks = itertools.count(SERVED_AT_US)
    reports = reports or MemoryReports(age=None, records=[record()])
    table = MemoryDecisions(live.configuration)
    registry = MemoryRegistry(
        {name: manifest(name, version.ordinal, version.contract) for name, version in served.versions.items()},
        served.aliases,
        histories,
    )
    metrics = CountingMetrics()
    breakdowns = Breakdowns(lambda names: {name: states[name] for name in names if name in states}, reports, sources)
    return Services(
        settings=Settings(**settings),
        live=live,
        predictor=Predictor(live, sink, signer, b"salt", lambda: 0.0, lambda: next(ticks)),
        assignments=Assignments(live, sink, signer, b"salt", lambda: next(ticks)),
        health=Health(live, store, "0.1.0", clock=clock),
        catalogue=ModelQueries(live, registry),
        history=history or EmptyHistory(),
        feedback=AcceptingFeedback(),
        experiments=Experiments(live, reports, reports, clock),
        breakdowns=breakdowns,
        disagreements=Disagreements(disagreements, reports, lambda: live.loaded_models, breakdowns.part, clock),
        decisions=Decisions(table, dependencies(follow=lambda: live.configure(table.latest))),
        drift=Drift(live, drifts or MemoryDrifts(), lambda: SERVED_AT_US, registry.reference_history),
        reload=reload_of(live),
        metrics=metrics,
        recorder=sink,
        draining=lambda: draining,
        wrong_tokens=WrongTokens(metrics, clock, forwarded=settings.get("trust_forwarded_for", False)),
    )
