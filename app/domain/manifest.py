"""The manifest of a published version: what it is, what it was made from, how good it was, and its checksums."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.contract import FeatureContract

MANIFEST_FORMAT = 1


class FileSum(msgspec.Struct, frozen=True):
    """What a file of the artefact must be: its SHA-256 in hex and its size in bytes."""

    sha256: str
    bytes: int


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data a version was made from. `dataset` is a built-in name or a path; `sha256` is over the rows used."""

    dataset: str
    target: str
    rows: int
    sha256: str
    holdout_rows: int = 0
    seed: int | None = None


class Parity(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the served runtime compares with the original estimator on `rows` rows.

    `flips` counts differing classes after settling near-ties, `settled` how many rows were near-ties;
    `largest_difference` is over probabilities or (relative) values. `holds` decides whether ONNX may serve; where it
    may not, `reason` says why.
    """

    rows: int
    flips: int
    settled: int
    largest_difference: float
    holds: bool
    reason: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a published version but its weights; signed as a whole, never changed.

    `ordinal` numbers the versions of one shelf (prediction ids carry it). `files` has every file of the artefact but
    the manifest: `model.joblib`, `reference.json` (drift), where it is served by ONNX `model.onnx` and `plan.json` (how
    rows go through it), and `settle.npz` where near-ties are settled from exported trees or coefficients.
    `metrics` has `training` and `holdout` figures by name; `examples` a few real rows in contract order, for warm-up,
    health proofs and the UI's presets.
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
    data_report: Mapping[str, object] = msgspec.field(default_factory=dict)
