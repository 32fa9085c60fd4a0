"""The classes of the versions and their shares in the reference, which some metrics need when an experiment begins."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from app.domain.classes import permutation
from app.domain.experiment import ExperimentTerms
from app.services.ports import LoadedVersion


class ReferenceClasses(msgspec.Struct, frozen=True):
    """The classes of a version by class id, and their shares in its reference; None where its manifest has no counts.

    Both are empty for a regression.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] | None = None


class _Figures(msgspec.Struct, frozen=True):
    """What is read of a manifest's figures on some rows. The rows of the matrix are the true classes."""

    confusion_matrix: tuple[tuple[int, ...], ...] = ()


class _Contract(msgspec.Struct, frozen=True):
    """What is read of a manifest's contract: the classes as the version itself numbers them."""

    classes: tuple[str, ...] = ()


class _Manifest(msgspec.Struct, frozen=True):
    """What is read of a manifest."""

    contract: _Contract = _Contract()
    metrics: Mapping[str, _Figures] = msgspec.field(default_factory=dict)


def reference_classes(version: LoadedVersion) -> ReferenceClasses:
    """The classes as all versions number them, and their shares, from the rows that the reference was made of."""
    names = version.contract.classes
    try:
        manifest = msgspec.convert(version.manifest, _Manifest)
    except msgspec.ValidationError:
        return ReferenceClasses(names)
    # The reference of a trained version are its training rows, that of another one the rows that it was published with.
    figures = manifest.metrics.get("training") or manifest.metrics.get("holdout") or _Figures()
    counts = [sum(row) for row in figures.confusion_matrix]
    places = permutation(manifest.contract.classes, names)
    if places is None or len(counts) != len(names) or not sum(counts):
        return ReferenceClasses(names)
    by_id = {place: count / sum(counts) for place, count in zip(places, counts, strict=True)}
    return ReferenceClasses(names, tuple(by_id[place] for place in range(len(names))))


def with_classes(terms: ExperimentTerms, versions: Mapping[str, ReferenceClasses]) -> ExperimentTerms:
    """The terms with the classes of the baseline, and their shares in its reference, as an experiment begins."""
    known = versions.get(terms.baseline or "")
    if known is None:
        return terms
    # Shares that a former baseline had are better than none: no decision may fail because a manifest has no counts.
    former = terms.class_shares if terms.classes == known.names else None
    shares = former if known.shares is None else known.shares
    complete: ExperimentTerms = replace(terms, classes=known.names, class_shares=shares)
    return complete
