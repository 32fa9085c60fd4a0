"""The manifests of a published version and of its later drift references, with the checksums of their files."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.contract import FeatureContract
from app.domain.experiment import CaseFacts

# Raised only for a change that an older release would misread; a new optional field does not need it.
MANIFEST_FORMAT = 1
# That of a version without `model.joblib`, which earlier releases take for granted: they refuse format 2 by name.
WITHOUT_PICKLE_FORMAT = 2
REFERENCE_MANIFEST_FORMAT = 1
REFERENCE_FILE = "reference.json"
# The file that holds the model is the first of these that a version has: a converted one has a graph beside it.
MODEL_FILES = ("model.joblib", "model.skops", "model.onnx")
# Below MODEL_DIR. Starts with a dot, so that no release takes it for a version: see `VERSION_NAME`.
REFERENCES = ".references"


class FileSum(msgspec.Struct, frozen=True):
    """The SHA-256, in hex, and the size in bytes that a file of the artefact must have."""

    sha256: str
    bytes: int


class MlflowModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """The registered MLflow model that a version was published from.

    `tracking_uri` is without user and password, `alias` the one that was asked for (None: a version was), and
    `mlmodel_sha256` that of the file `MLmodel`, in hex.
    """

    tracking_uri: str
    name: str
    version: str
    mlmodel_sha256: str
    alias: str | None = None
    run_id: str | None = None


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data a version was made from. `dataset` is a built-in name or a path; `sha256` is over the rows used.

    `missing` are the texts that were said to mean a missing value; None if nothing was said. `mlflow` is where the
    model came from, if that was MLflow.
    """

    dataset: str
    target: str
    rows: int
    sha256: str
    holdout_rows: int = 0
    seed: int | None = None
    missing: tuple[str, ...] | None = None
    mlflow: MlflowModel | None = None


class Parity(msgspec.Struct, frozen=True, omit_defaults=True):
    """The comparison of the served runtime with the original estimator on `rows` rows.

    `flips` counts classes that differ after near-ties were settled, `settled` the rows that were near-ties;
    `largest_difference` is that of probabilities or (relative) values. ONNX serves only if `holds`; if it does not,
    `reason` tells why.
    """

    rows: int
    flips: int
    settled: int
    largest_difference: float
    holds: bool
    reason: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a published version; signed as a whole, never changed.

    `ordinal` numbers the versions of one registry (prediction ids carry it). `files` has every file of the artefact
    except the manifest: the model as it was given (`model.joblib` for any pickle, `model.skops`, or `model.onnx`
    with `graph.json`), `code-*.py` (its own modules) and `reference.json` (drift); for a conversion to ONNX
    `model.onnx` and `plan.json` (the steps before the graph); `settle.npz` if near-ties are settled from exported
    trees or coefficients. `metrics` has `training` and `holdout` figures by name. `examples` are a few real rows in
    contract order, for warm-up, health probes and the presets of the dashboard. `cases` are facts about the rows of
    the reference. `numbered_classes` are the classes as answers, log and outcomes name and number them: as the
    oldest version with the same classes does. It is empty for a regression, and in manifests of earlier releases.
    `requires` are packages beyond scikit-learn's that the model file needs, with their versions.
    """

    format: int = MANIFEST_FORMAT
    version: str
    ordinal: int
    created_at: str
    variant: str | None
    estimator: str
    contract: FeatureContract
    source: Source
    metrics: Mapping[str, Mapping[str, object]]
    runtime: str
    parity: Parity
    libraries: Mapping[str, str]
    files: Mapping[str, FileSum]
    examples: tuple[tuple[float | str | None, ...], ...] = ()
    cases: CaseFacts = CaseFacts()
    numbered_classes: tuple[str, ...] = ()
    data_report: Mapping[str, object] = msgspec.field(default_factory=dict)
    requires: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def has_estimator(self) -> bool:
        """Whether it holds a fitted estimator, which an ONNX file that was published as it is does not."""
        return any(name in self.files for name in MODEL_FILES[:2])

    @property
    def model_sha256(self) -> str:
        """The SHA-256, in hex, of the file that holds the model; empty where no such file is listed."""
        return next((self.files[name].sha256 for name in MODEL_FILES if name in self.files), "")


class ReferenceManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a drift reference that a version got after its publication; signed as a whole, never changed.

    `number` counts the later references of a version from 1. It belongs to the version with that `ordinal` and whose
    model file has the SHA-256 `model`. Requests served from `counts_from_us` on (µs since 1970) are compared with
    it. `reference_is` is what the publisher said of its rows, `source` where they came from. `files` has
    `reference.json`.
    """

    format: int = REFERENCE_MANIFEST_FORMAT
    version: str
    ordinal: int
    model: str
    number: int
    created_at: str
    counts_from_us: int
    reference_is: str
    rows: int
    source: Source
    libraries: Mapping[str, str]
    files: Mapping[str, FileSum]


class ReferenceHistory(msgspec.Struct, frozen=True):
    """The later references of a version, oldest first, and the reasons why others of them do not count."""

    later: tuple[ReferenceManifest, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def newest(self) -> ReferenceManifest | None:
        """The one that counts; None where that is the reference that the version was published with."""
        return self.later[-1] if self.later else None
