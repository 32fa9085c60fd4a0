"""Makes the table of models in docs/models.md: each is published and asked, with the commands' own functions.

    .venv/bin/python scripts/models_table.py [--only NAME ...] [--write]

Without `--write` the rows are printed. `tests/infra/test_models_table.py` publishes some of the models again and
compares the runtime with that in the page.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.domain.manifest import Manifest  # noqa: E402
from app.errors import BakeoffError  # noqa: E402
from app.inference.builder import sklearn_runtime  # noqa: E402
from app.inference.loader import example_rows, load_version  # noqa: E402
from app.inference.registry import ModelRegistry  # noqa: E402
from app.services.ports import Runtime  # noqa: E402
from app.training.external_session import PublishRequest, publish_external  # noqa: E402
from scripts.models_of_table import MODELS, Model  # noqa: E402
from scripts.tables_of_models import TARGET  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
START, END = "<!-- the table of models: scripts/models_table.py -->", "<!-- end of the table of models -->"
_HEAD = (
    "| model | data | served by | parity: largest difference, or why scikit-learn answers | ms | ms without ONNX |",
    "|---|---|---|---|---|---|",
)
_KEY = b"t" * 32
_REPEATS = 200
_LONGEST_S = 1.0


class Row(msgspec.Struct, frozen=True):
    """A row of the table. `served_by` is the runtime, or `refused`; times in milliseconds for a single row, median."""

    model: str
    data: str
    served_by: str
    parity: str
    served_ms: float | None = None
    original_ms: float | None = None

    @property
    def line(self) -> str:
        """The row in Markdown."""
        times = (_rounded(self.served_ms), _rounded(self.original_ms))
        return f"| {' | '.join((self.model, self.data, self.served_by, self.parity, *times))} |"


def measured(model: Model) -> Row:
    """The row of one model: fitted, published with its data as the reference, loaded, and asked single rows."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(folder)
        table = model.table()
        estimator = model.fitted(table)
        joblib.dump(estimator, place / "model.joblib")
        table.to_csv(place / "reference.csv", index=False)
        registry = ModelRegistry(place / "models", _KEY)
        request = PublishRequest(model=place / "model.joblib", reference=place / "reference.csv", target=TARGET)
        try:
            published = publish_external(request, registry, lambda _step: None)
        except BakeoffError as error:
            return Row(model.name, model.data, "refused", _short(str(error)))
        (version,) = published.versions
        return _answered(model, version.manifest, registry)


def _answered(model: Model, manifest: Manifest, registry: ModelRegistry) -> Row:
    version, parity = manifest.version, manifest.parity
    rows = example_rows(manifest)[:1]
    original = sklearn_runtime(version, manifest.contract, registry.verified(version).files)
    if manifest.runtime == "onnx":
        said = f"{parity.largest_difference:.0e}, {parity.rows:,} rows"
        return Row(
            model.name,
            model.data,
            "ONNX",
            said,
            _ms(load_version(registry, version).runtime, rows),
            _ms(original, rows),
        )
    reason = _short(parity.reason or "")
    return Row(model.name, model.data, "scikit-learn", reason, _ms(original, rows), None)


def _ms(runtime: Runtime, row: np.ndarray) -> float:
    """The median time of a single row, in milliseconds."""
    taken: list[float] = []
    while len(taken) < _REPEATS and sum(taken) < _LONGEST_S:
        start = time.perf_counter()
        runtime.predict(row)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1000


def _short(reason: str) -> str:
    """A reason that fits a cell: the libraries' own can be long."""
    return textwrap.shorten(reason.replace("|", "/"), 110, placeholder=" …")


def _rounded(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3g}"


def rows(models: Sequence[Model], say: Callable[[str], Any]) -> Iterator[Row]:
    """The rows of those models whose packages are installed, one after the other."""
    for model in models:
        if model.package is not None and importlib.util.find_spec(model.package) is None:
            say(f"{model.name}: left out, {model.package} is not installed")
            continue
        row = measured(model)
        say(row.line)
        yield row


def written(page: str, lines: Sequence[str]) -> str:
    """The page with the table replaced. Raises `ValueError` if the marks are not in it."""
    before, _, rest = page.partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE.name} has no place for the table: {START}")
    return "\n".join((before + START, "", *_HEAD, *lines, "", END)) + after


def main() -> None:
    """Print the rows as they are measured and, with `--write`, put them into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the models with these names")
    parser.add_argument("--write", action="store_true", help="replace the table in docs/models.md")
    arguments = parser.parse_args()
    if arguments.only and arguments.write:
        parser.error("--write wants all models")
    chosen = [model for model in MODELS if not arguments.only or model.name in arguments.only]
    lines = [row.line for row in rows(chosen, print)]
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(), lines))


if __name__ == "__main__":
    main()
