"""What a version that was just published will do: beside the champion, in the experiment, and for drift detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from app.domain.classes import boolean_values
from app.domain.columns import union_of
from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import REFERENCE_FILE, Manifest
from app.errors import ArtefactRefused, UnknownVersion
from app.tables.model_columns import same_columns, source_of

if TYPE_CHECKING:
    from app.inference.registry import ModelRegistry

_MOST_NAMES = 8
_PLURAL = {"number": "numbers", "boolean": "booleans", "category": "categories", "text": "texts", "date": "dates"}

_LONGEST_REASON = 160


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a version, for people and programs.

    `beside` is the version whose columns requests must have: the champion, else the oldest; None if that is this one.
    `new_columns` are those that it does not read, `unread_columns` those that only it reads. `excluded` says why the
    version takes no part in the experiment; None if it does. `renamed_classes` are its classes as answers name them,
    where its training data spell them differently. `watched` are the features in which drift can be found,
    `unwatched` the others, of which only gaps count; `answers` and `errors` say whether those are watched.
    """

    beside: str | None = None
    new_columns: tuple[str, ...] = ()
    unread_columns: tuple[str, ...] = ()
    excluded: str | None = None
    renamed_classes: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    unwatched: tuple[str, ...] = ()
    answers: bool = False
    errors: bool = False


def outlook(registry: ModelRegistry, version: str) -> Outlook:
    """The outlook of a published version. Raises `ArtefactRefused` and `UnknownVersion` if it cannot be read."""
    # Deferred: `--help` needs nothing of it.
    from app.drift.reference import DriftReference

    artefact = registry.verified(version)
    own = artefact.manifest.contract
    reference = DriftReference.from_json(artefact.read(REFERENCE_FILE))
    facts = Outlook(
        watched=tuple(feature.name for feature in own.features if not feature.is_text),
        unwatched=tuple(feature.name for feature in own.features if feature.is_text),
        answers=reference.outputs is not None,
        errors=reference.errors is not None,
    )
    contracts = dict(_contracts(registry, version))
    beside = _reference_version(registry, contracts)
    if beside is None or beside == version:
        return facts
    theirs, named = contracts[beside], contracts[version].classes
    return msgspec.structs.replace(
        facts,
        beside=beside,
        new_columns=_unmatched(own.features, theirs.features),
        unread_columns=_unmatched(theirs.features, own.features),
        excluded=union_of(beside, contracts).excluded.get(version),
        renamed_classes=() if set(named) == set(own.classes) else named,
    )


def columns_text(features: Sequence[Feature]) -> str:
    """The columns by kind, such as `2 numbers (age, income), 1 category (city: any text)`."""
    by_kind: dict[str, list[str]] = {}
    for feature in features:
        by_kind.setdefault(kind_of(feature), []).append(_described(feature))
    return ", ".join(
        f"{len(names)} {kind if len(names) == 1 else _PLURAL[kind]} ({listed(names)})"
        for kind, names in by_kind.items()
    )


def kind_of(feature: Feature) -> str:
    """What a client sends for the feature: a number, boolean, category, text or date."""
    if feature.is_text:
        return "text" if feature.dates_like is None else "date"
    if boolean_values(feature) is not None:
        return "boolean"
    return "number" if feature.kind == "numeric" else "category"


def beside_text(facts: Outlook) -> str:
    """The columns beside those of the champion, or of the version in its place."""
    if not facts.new_columns and not facts.unread_columns:
        return f"the same columns as {facts.beside}"
    new = f"new beside {facts.beside}: {listed(facts.new_columns)}" if facts.new_columns else ""
    unread = f"not read, and required by {facts.beside}: {listed(facts.unread_columns)}" if facts.unread_columns else ""
    return "; ".join(filter(None, (new, unread)))


def drift_text(facts: Outlook) -> str:
    """What drift detection watches, and what not."""
    watched = [listed(facts.watched)] if facts.watched else []
    watched += [name for name, is_watched in (("answers", facts.answers), ("errors", facts.errors)) if is_watched]
    rest = f"; of {listed(facts.unwatched)} only missing values, because texts differ" if facts.unwatched else ""
    return f"watched for drift: {', '.join(watched) or 'nothing'}{rest}"


def experiment_text(version: str, facts: Outlook) -> str:
    """Whether the version takes part in the experiment, and in which requests."""
    if facts.beside is None:
        return f"experiment: {version} is what others are compared with"
    if facts.excluded is not None:
        return f"experiment: {version} takes no part, because it {facts.excluded}"
    requests = f", in requests that have {listed(facts.new_columns)}" if facts.new_columns else ""
    classes = f"; its classes are called {listed(facts.renamed_classes)}" if facts.renamed_classes else ""
    return f"experiment: takes part beside {facts.beside}{requests}{classes}"


def listed(names: Sequence[str]) -> str:
    """The names, of many the first ones and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_MOST_NAMES])} and {more} more"


def _described(feature: Feature) -> str:
    notes = []
    if feature.kind == "categorical" and feature.open_categories and not feature.is_text:
        notes.append("any text")
    if feature.dates_like is not None:
        notes.append(f"like {feature.dates_like}")
    if feature.nullable:
        notes.append("or null")
    return f"{feature.name}: {' '.join(notes)}" if notes else feature.name


def _contracts(registry: ModelRegistry, version: str) -> Iterator[tuple[str, FeatureContract]]:
    """The contracts of `version`, which may be a candidate, and of those in service that can be read; oldest first."""
    from app.inference.retirement import served_names

    manifests = []
    for name in {*served_names(registry), version}:
        try:
            manifests.append(registry.manifest(name))
        except (ArtefactRefused, UnknownVersion):
            continue
    for manifest in sorted(manifests, key=lambda manifest: manifest.ordinal):
        yield manifest.version, msgspec.structs.replace(manifest.contract, classes=registry.classes(manifest))


def _reference_version(registry: ModelRegistry, contracts: dict[str, FeatureContract]) -> str | None:
    """The version whose columns requests must have, as the API chooses it."""
    from app.inference.loader import CHAMPION

    try:
        champion = registry.aliases().get(CHAMPION)
    except ArtefactRefused:
        champion = None
    return champion if champion in contracts else next(iter(contracts), None)


def _unmatched(features: Sequence[Feature], others: Sequence[Feature]) -> tuple[str, ...]:
    places = same_columns(features, others)
    return tuple(source_of(feature) for feature, place in zip(features, places, strict=True) if place is None)


def runtime_text(manifest: Manifest) -> str:
    """The runtime, and on how many rows it agrees with the model or why that is not served by a graph."""
    parity = manifest.parity
    agrees = "agrees with scikit-learn" if manifest.has_estimator else "the file as it is, a row alone as in a batch,"
    compared = f"{agrees} on {parity.rows} rows" if parity.holds else _short(parity.reason)
    return f"runtime {manifest.runtime}: {compared}"


def _short(reason: str | None) -> str:
    # The reason is a library's message, which can run over pages; the manifest has all of it.
    text = reason or "parity does not hold"
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"
