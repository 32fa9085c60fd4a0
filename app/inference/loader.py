"""Load versions from the model registry: verified, built and warmed up, before any request and before any fork.

Also the known answers of a version, which the smoke test compares with: computed by the original estimator, not by
the runtime that serves in its place.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.classes import permutation
from app.domain.contract import FeatureContract
from app.domain.known_answers import KnownAnswer, KnownAnswers
from app.domain.manifest import Manifest
from app.domain.prediction import Outputs
from app.domain.rows import RowParser
from app.domain.typical_row import typical_row
from app.errors import ArtefactRefused, StoreUnavailable, Unavailable, UnknownVersion
from app.inference.artefact import Artefact
from app.inference.builder import onnx_runtime, sklearn_runtime
from app.inference.classes import renumbered
from app.inference.model_files import MissingLibrary, is_graph_file, require_libraries
from app.inference.registry import ModelRegistry
from app.inference.retirement import retired_models
from app.inference.storage import ALIASES
from app.services.ports import (
    LoadedModels,
    LoadedVersion,
    RefusedVersion,
    RetirementRecord,
    Runtime,
    VersionRecord,
)

_log = logging.getLogger(__name__)
CHAMPION = "champion"
_INSTALL = "install its package where the API runs"


def load_version(registry: ModelRegistry, name: str, known: LoadedVersion | None = None) -> LoadedVersion:
    """The version, ready to answer; `known` itself if the registry still has the same manifest.

    Its classes are those of the oldest version that has the same ones, in name and order.
    Raises `UnknownVersion`, and `ArtefactRefused` for everything that is wrong with it.
    """
    artefact = registry.verified(name)
    manifest = artefact.manifest
    # The manifest has the checksums of all files: if it is equal, so is everything that would be loaded.
    if known is not None and msgspec.to_builtins(manifest) == known.manifest:
        return renumbered(known, registry.classes(manifest))
    _compare_libraries(manifest)
    try:
        require_libraries(manifest, artefact.files)
        runtime = _runtime(artefact)
        _warm_up(runtime, manifest)
    except MissingLibrary as error:
        raise ArtefactRefused(artefact.folder, error.message) from error
    except ImportError as error:
        reason = f"needs the module {error.name!r}, which is not here: {_INSTALL}"
        raise ArtefactRefused(artefact.folder, reason) from error
    except Exception as error:  # whatever a file makes a library raise, the other versions must load
        raise ArtefactRefused(artefact.folder, f"does not run: {type(error).__name__}: {error}") from error
    version = LoadedVersion(
        name=name,
        ordinal=manifest.ordinal,
        contract=manifest.contract,
        parser=RowParser(manifest.contract),
        runtime=runtime,
        runtime_name=manifest.runtime,
        sha256=manifest.model_sha256,
        manifest=msgspec.to_builtins(manifest),
    )
    return renumbered(version, registry.classes(manifest))


def load_models(registry: ModelRegistry, before: LoadedModels | None = None) -> LoadedModels:
    """All versions that load, and the reasons why the others do not; one that fails keeps no other from loading.

    Unchanged versions of `before`, the loaded models, are kept. A version of `before` that the registry would refuse
    now is kept too, and listed as refused: it was verified when it was loaded.
    """
    loaded = before.versions if before is not None else {}
    versions: dict[str, LoadedVersion] = {}
    refused = _of_fetching(registry, before)
    recorded = _recorded(registry)
    retired = retired_models(registry, before, refused, None if recorded is None else recorded.retirements)
    for name in registry.names():
        if name in retired:
            continue
        meant = None if recorded is None else recorded.others.get(name)
        if meant is not None:
            refused.append(RefusedVersion(name=name, reason=_other_than(name, meant), elsewhere=True))
            if name in loaded and _is_of(loaded[name], meant):
                versions[name] = loaded[name]
            continue
        try:
            version = load_version(registry, name, loaded.get(name))
        except (ArtefactRefused, UnknownVersion) as error:
            refused.append(RefusedVersion(name=name, reason=error.message))
            if name not in loaded:
                continue
            version = loaded[name]
        twin = next((other.name for other in versions.values() if other.ordinal == version.ordinal), None)
        if twin is not None:
            refused.append(RefusedVersion(name=name, reason=_same_ordinal(twin)))
            continue
        versions[name] = version
    try:
        aliases = registry.aliases()
    except ArtefactRefused as error:
        aliases = {}
        refused.append(RefusedVersion(name=ALIASES, reason=error.message))
    in_order = dict(sorted(versions.items(), key=lambda item: item[1].ordinal))
    models = _loaded_models(in_order, aliases, tuple(refused))
    shared = registry.rows is not None and registry.rows.shared
    return msgspec.structs.replace(models, retired=retired, unrecorded=recorded is None, shared=shared)


class _Recorded(NamedTuple):
    """What the store says: the versions that are meant instead of those of the registry here, and which are retired."""

    others: Mapping[str, VersionRecord]
    retirements: Mapping[str, RetirementRecord]


def _recorded(registry: ModelRegistry) -> _Recorded | None:
    """None where the store cannot be asked. New versions are recorded."""
    if registry.rows is None:
        return _Recorded({}, {})
    found = []
    for name in registry.names():
        with contextlib.suppress(ArtefactRefused, UnknownVersion):
            found.append(registry.record(name))
    try:
        return _Recorded(registry.rows.compare(found), registry.rows.retirements())
    except StoreUnavailable:  # logged by those who ask for the configuration
        return None


def _other_than(name: str, meant: VersionRecord) -> str:
    its = f"the deployment's {name} is" if meant.version == name else f"this one's number is {meant.version}'s,"
    return (
        f"{its} a different one: {meant.host} recorded it, created {meant.created_at}, manifest {meant.manifest[:8]}…: "
        f"answers of both would count as those of one. Copy the folder from {meant.host} into this host's model "
        "registry instead; or keep this one as a new version: move its folder out of the registry and "
        "`bakeoff publish FOLDER`. Then POST /models/reload"
    )


def _is_of(version: LoadedVersion, record: VersionRecord) -> bool:
    """Whether the version that is loaded is the one that is meant, whatever its folder has become since."""
    loaded = (version.name, version.ordinal, version.manifest.get("created_at"))
    return loaded == (record.version, record.ordinal, record.created_at)


def _of_fetching(registry: ModelRegistry, before: LoadedModels | None) -> list[RefusedVersion]:
    """The registry itself, where it cannot be read: then the copy of it is served. Raises `Unavailable` in a reload.

    Not for models that were loaded without the store: what it says of them does not need the registry.
    """
    place = registry.storage.place
    try:
        registry.storage.fetch()
    except OSError as error:
        reason = f"{error.strerror or error}"
        if before is not None and not before.unrecorded:
            kept = "; the loaded versions go on serving" if before.versions else ""
            raise Unavailable(f"the model registry at {place} {reason}{kept}") from error
        copy = f"the copy in {registry.root} is used" if registry.names() else f"{registry.root} has no copy of it yet"
        return [RefusedVersion(name=place, reason=f"{reason}; {copy}", registry=True)]
    return []


def _same_ordinal(twin: str) -> str:
    return f"its ordinal is that of {twin}, prediction ids cannot tell them apart: publish it under another name"


def _loaded_models(
    versions: dict[str, LoadedVersion], aliases: dict[str, str], refused: tuple[RefusedVersion, ...]
) -> LoadedModels:
    # Without a champion the oldest version: a service that can answer does.
    champion = aliases.get(CHAMPION)
    reference = champion if champion in versions else next(iter(versions), None)
    models = LoadedModels(versions=versions, reference=None, compatible=(), aliases=aliases, refused=refused)
    return models.led_by(reference)


def _runtime(artefact: Artefact) -> Runtime:
    manifest = artefact.manifest
    version, contract, files = manifest.version, manifest.contract, artefact.files

    def original() -> Runtime:
        return sklearn_runtime(version, contract, files)

    if manifest.runtime == "sklearn" or is_graph_file(files):
        return original()
    return onnx_runtime(version, contract, files, original)


def _warm_up(runtime: Runtime, manifest: Manifest) -> None:
    """Answer the examples once as a batch and one alone: first calls allocate, and a model that fails shows it now."""
    rows = example_rows(manifest)
    runtime.predict(rows)
    runtime.predict(rows[:1])


def example_rows(manifest: Manifest) -> np.ndarray:
    """The manifest's examples in the form that a runtime takes; a typical row if there are none."""
    contract = manifest.contract
    return _rows(contract, manifest.examples or (tuple(typical_row(contract)),))


def _rows(contract: FeatureContract, examples: tuple[tuple[float | str | None, ...], ...]) -> np.ndarray:
    """Examples of a manifest in `RowParser`'s form: float64 if all features are numeric, else objects."""
    if contract.all_numeric:
        return np.array(examples, dtype=np.float64)
    rows = np.empty((len(examples), len(contract.features)), dtype=np.object_)
    rows[:] = examples
    for index, feature in enumerate(contract.features):
        if feature.kind == "numeric":
            rows[:, index] = rows[:, index].astype(np.float64)  # a null is NaN
    return rows


def _compare_libraries(manifest: Manifest) -> None:
    """Log a warning if another scikit-learn is installed than wrote the estimator: answers may then differ.

    Only those of scikit-learn's own runtime: an ONNX graph does not depend on it.
    """
    written_with = manifest.libraries.get("scikit-learn")
    installed = importlib.metadata.version("scikit-learn")
    if written_with not in (None, installed):
        by_sklearn = manifest.runtime == "sklearn"
        _log.warning(
            "version %s was written with scikit-learn %s, %s is installed: %s",
            manifest.version,
            written_with,
            installed,
            "its answers may differ, publish it again" if by_sklearn else f"it is served by {manifest.runtime}",
        )


_LEAST_TOLERANCE = 1e-4


def known_answers(registry: ModelRegistry, version: str) -> KnownAnswers:
    """The answers to the manifest's examples. Raises `UnknownVersion` and `ArtefactRefused`.

    The tolerance is twice the largest difference that publishing measured between the served runtime and the original.
    """
    artefact = registry.verified(version)
    contract, parity = artefact.manifest.contract, artefact.manifest.parity
    rows = example_rows(artefact.manifest)
    try:
        original = sklearn_runtime(version, contract, artefact.files)
    except ImportError as error:  # a graph may serve it here all the same
        reason = f"its original model needs the module {error.name!r}, which is not here: {_INSTALL}"
        raise ArtefactRefused(artefact.folder, reason) from error
    outputs = original.predict(rows)
    numbered = registry.classes(artefact.manifest)
    names = tuple(numbered[place] for place in permutation(contract.classes, numbered) or ())
    answers = tuple(_answer(names, row, outputs, index) for index, row in enumerate(rows))
    return KnownAnswers(version, answers, max(_LEAST_TOLERANCE, 2 * parity.largest_difference))


def _answer(names: tuple[str, ...], row: np.ndarray, outputs: Outputs, index: int) -> KnownAnswer:
    """The answer with the classes of `outputs` under these names, by class id."""
    plain = tuple(None if isinstance(value, float) and value != value else value for value in row.tolist())
    if outputs.values is not None:
        return KnownAnswer(plain, float(outputs.values[index]))
    assert outputs.class_ids is not None
    prediction = names[int(outputs.class_ids[index])]
    if outputs.probabilities is None:
        return KnownAnswer(plain, prediction)
    of_row = outputs.probabilities[index].tolist()
    return KnownAnswer(plain, prediction, dict(zip(names, of_row, strict=True)))
