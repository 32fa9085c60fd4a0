"""Train versions from a data set and publish them: the use case behind `bakeoff train`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from app.domain.manifest import Manifest, Source
from app.drift.reference import build_reference
from app.inference.publishing import VersionDraft, publish
from app.inference.shelf import Shelf
from app.training.checks import Wishes, check
from app.training.dataset import load
from app.training.findings import DataReport
from app.training.fitting import Fitted, Prepared, fit, prepare
from app.training.gate import Gate
from app.training.prepared import digest, examples_of
from app.training.shelving import introduce, require_free
from app.training.variants import Catalogue

Step = Callable[[str], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be trained: on which data, as which version of which variant (None: see `plan`), by which rules."""

    dataset: str = "iris"
    target: str | None = None
    version: str | None = None
    variant: str | None = None
    seed: int = 42
    wishes: Wishes = Wishes()
    gate: Gate = Gate()


class Published(msgspec.Struct, frozen=True):
    """A version that is now on the shelf, the alias that it got, and what its fitting complained of."""

    manifest: Manifest
    alias: str | None
    complaints: tuple[str, ...] = ()


class Trained(msgspec.Struct, frozen=True):
    """The outcome of a training session."""

    report: DataReport
    versions: tuple[Published, ...]


def plan(order: Order, shelf: Shelf, catalogue: Catalogue) -> tuple[tuple[str, str], ...]:
    """The (version, variant) pairs to train.

    Without a version on an empty shelf two: the named variant, or the first of the catalogue's pair, and the other
    one of the pair. Else one, under the named version or the next free number. Raises `ShelfConflict`,
    `InvalidRequest` and, for an unknown variant, `SettingError`.
    """
    variant = order.variant or catalogue.default
    catalogue.variant(variant)
    if order.version is not None:
        require_free(shelf, order.version)
        return ((order.version, variant),)
    if shelf.names():
        return ((shelf.next_name(), variant),)
    first = order.variant or catalogue.first_two[0]
    second = next(name for name in reversed(catalogue.first_two) if name != first)
    return (("v1", first), ("v2", second))


def train(order: Order, shelf: Shelf, catalogue: Catalogue, step: Step) -> Trained:
    """Train, hold against the gate, and publish where all versions pass it. `step` is told what is being done.

    Raises `DataRefused`, `GateFailed`, `ShelfConflict`, `SettingError`.
    """
    planned = plan(order, shelf, catalogue)
    step(f"reading {order.dataset}")
    dataset = load(order.dataset, order.target)
    step("checking the data")
    checked = check(dataset, order.wishes)
    order.gate.fits(checked.truth.task)
    prepared = prepare(checked, order.seed)
    fitted = []
    for version, variant in planned:
        step(f"fitting {version} ({variant})")
        fitted.append((version, fit(variant, catalogue.variant(variant), prepared, order.seed)))
    order.gate.check(fitted)
    versions = []
    for version, result in fitted:
        step(f"publishing {version}: converting to ONNX and measuring parity")
        manifest = publish(shelf, result.estimator, draft_of(version, result, prepared, order.seed))
        versions.append(Published(manifest, introduce(shelf, version), result.complaints))
    return Trained(report=checked.report, versions=tuple(versions))


def draft_of(version: str, fitted: Fitted, prepared: Prepared, seed: int) -> VersionDraft:
    """What the shelf is to know of a fitted version."""
    checked, split, contract = prepared.checked, prepared.split, prepared.contract
    rows = prepared.rows[split.training]
    reference = build_reference(
        contract, rows, seed=seed, outputs=fitted.heldout, errors=fitted.errors, holdout=len(split.holdout)
    )
    source = Source(
        dataset=checked.dataset.name,
        target=contract.target,
        rows=checked.dataset.rows,
        sha256=digest(contract, prepared.rows, checked.truth),
        holdout_rows=len(split.holdout),
        seed=seed,
    )
    return VersionDraft(
        version=version,
        variant=fitted.variant,
        contract=contract,
        source=source,
        metrics={"training": msgspec.to_builtins(fitted.training), "holdout": msgspec.to_builtins(fitted.holdout)},
        data_report=msgspec.to_builtins(checked.report),
        reference=reference.to_json(),
        training_rows=rows,
        examples=examples_of(rows, checked.truth.take(split.training)),
    )
