"""Logs a training to an MLflow server. What the training itself does and returns never depends on it (ADR 45)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import msgspec

from app import __version__
from app.clock import now_us
from app.domain.manifest import Manifest, Source
from app.errors import BakeoffError
from app.inference.artefact import Artefact
from app.inference.mlflow_server import MODEL_FOLDER, SHA256, VERSION, MlflowFailure, MlflowServer, Run, RunPlace
from app.services.boundaries import attempt
from app.training.mlflow_model import model_files
from app.training.session import PublishedVersion, SessionResult
from app.training.variants import VariantCatalogue

Result = TypeVar("Result")
# For all that is logged after a training; and a second more for each megabyte of the models.
_PATIENCE_S, _S_PER_BYTE = 30.0, 1e-6
# For the first answer: this long from the start of the training, and no less than this after its end. Beside a long
# training it may take longer, as a server does that has just been started.
_FIRST_ANSWER_S, _AFTER_TRAINING_S = 1.5, 0.4
_RUN, _FIGURES, _MODEL = "run", "parameters and figures", "model"
_PARTS = (_RUN, _FIGURES, "data set", "manifest", _MODEL, "registered version", "alias")
_AT_ONCE = 4  # versions: as many as an MLflow server has processes


class Tracking:
    """The log of one training, which begins when this is made. Its methods return a line for people and never raise.

    The server is asked for its experiment beside the training, so that one that never answers costs next to no time
    after it (`first_answer_s`). `actor` is who trains.
    """

    def __init__(
        self, server: MlflowServer, catalogue: VariantCatalogue, actor: str, patience_s: float = _PATIENCE_S
    ) -> None:
        self._server = server
        self._catalogue = catalogue
        self._actor = actor
        self._patience_s = patience_s
        self._started_ms = now_us() // 1000
        self._began_s = time.monotonic()
        self._experiment = _beside(server.experiment)

    def published(self, session: SessionResult, read: Callable[[str], Artefact], gate: Mapping[str, object]) -> str:
        """Log a run for each version with the figures of its `gate`, and register its model, which `read` gives."""
        try:
            return self._log_versions(session.versions, read, gate, first_answer_s(time.monotonic() - self._began_s))
        except MlflowFailure as failure:
            later = " ".join(session.names)
            return f"warning: {failure.message}. Here nothing is missing. Later: `bakeoff publish --to-mlflow {later}`"

    def again(self, versions: Sequence[PublishedVersion], read: Callable[[str], Artefact]) -> str:
        """Log the versions that the server lacks, and point the aliases of the others; raises `MlflowFailure`."""
        lacking = []
        try:
            for each in versions:
                there = self._server.registered(each.manifest)
                if there is None:
                    lacking.append(each)
                elif each.alias is not None:
                    self._server.point(each.alias, there)
        except MlflowFailure as failure:
            raise MlflowFailure(f"MLflow at {self._server.place}: {failure.message}", failure.error_code) from failure
        if not lacking:
            return f"MLflow at {self._server.place} has {_listed(each.manifest.version for each in versions)} already"
        return self._log_versions(lacking, read, {}, self._patience_s)

    def refused(self, name: str, parameters: Mapping[str, object], reason: str) -> str:
        """Log a failed run of a training that published nothing."""
        run = self._run(name, parameters, {"bakeoff.refused": reason}, finished=False)
        first_s = first_answer_s(time.monotonic() - self._began_s)
        try:
            self._log({name: self._begun(run)}, (_RUN, _FIGURES), first_s, self._patience_s)
        except MlflowFailure as failure:
            return f"warning: {failure.message}"
        return f"MLflow at {self._server.place} has the failed run {name}"

    def _log_versions(
        self,
        versions: Sequence[PublishedVersion],
        read: Callable[[str], Artefact],
        gate: Mapping[str, object],
        first_s: float,
    ) -> str:
        steps = {each.manifest.version: self._version(each, read, gate) for each in versions}
        size = sum(file.bytes for each in versions for file in each.manifest.files.values())
        self._log(steps, _PARTS, first_s, self._patience_s + size * _S_PER_BYTE)
        return f"MLflow at {self._server.place} has {_listed(steps)}"

    def _log(self, steps: Mapping[str, Iterator[str]], parts: Sequence[str], first_s: float, patience_s: float) -> None:
        done: dict[str, list[str]] = {name: [] for name in steps}

        def go_on(name: str, until: str | None = None) -> None:
            for part in steps[name]:
                done[name].append(part)
                if part == until:
                    return

        def log() -> None:
            # Most of it waits for the server. Only registering has an order, in which versions get their numbers.
            failed = _all_beside([partial(go_on, name, _MODEL) for name in steps])
            for name in steps:
                if failed is not None and done[name][-1:] != [_MODEL]:
                    raise failed
                go_on(name)

        failure = self._silence(first_s) or attempt(_beside(log).result, patience_s)
        if failure is None:
            return
        if isinstance(failure, TimeoutError):
            failure = MlflowFailure(f"it took longer than {patience_s:.0f} s")
        reason = failure.message if isinstance(failure, BakeoffError) else f"{type(failure).__name__}: {failure}"
        lacking = [_lacking(name, of, parts) for name, of in done.items()]
        lacks = "; ".join(text for text in lacking if text)
        raise MlflowFailure(f"MLflow at {self._server.place} lacks {lacks}: {reason}")

    def _silence(self, first_s: float) -> MlflowFailure | None:
        """What is wrong with a server that has not answered the first call in so many seconds from now."""
        if isinstance(attempt(self._experiment.exception, first_s), TimeoutError):
            return MlflowFailure("it does not answer in time")
        return None

    def _version(
        self, published: PublishedVersion, read: Callable[[str], Artefact], gate: Mapping[str, object]
    ) -> Generator[str]:
        """Log one part after the other, and say which it was."""
        server, manifest = self._server, published.manifest
        about = {VERSION: manifest.version, SHA256: manifest.model_sha256}
        run = self._run(manifest.version, {**self._parameters(manifest), **gate}, about, finished=True)
        place = yield from self._begun(msgspec.structs.replace(run, figures=figures_of(manifest)))
        server.log_dataset(place, dataset_of(manifest.source))
        yield "data set"
        server.upload(place, "manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        yield "manifest"
        for name, content in model_files(read(manifest.version), place).items():
            server.upload(place, f"{MODEL_FOLDER}/{name}", content)
        yield _MODEL
        registered = server.register(place, about)
        yield "registered version"
        if published.alias is not None:
            server.point(published.alias, registered)
        yield "alias"

    def _begun(self, run: Run) -> Generator[str, None, RunPlace]:
        place = self._server.begin(self._experiment.result(), run)
        yield _RUN
        self._server.log(place, run)
        yield _FIGURES
        return place

    def _run(self, name: str, parameters: Mapping[str, object], about: Mapping[str, str], *, finished: bool) -> Run:
        return Run(
            name=name,
            started_ms=self._started_ms,
            ended_ms=now_us() // 1000,
            finished=finished,
            parameters={key: value for key, value in parameters.items() if value is not None},
            tags={
                "mlflow.user": self._actor,
                "mlflow.source.name": "bakeoff train",
                "mlflow.source.type": "LOCAL",
                "bakeoff.release": __version__,
                **about,
            },
        )

    def _parameters(self, manifest: Manifest) -> dict[str, object]:
        source, contract = manifest.source, manifest.contract
        variant = self._catalogue.variants.get(manifest.variant or "")
        given = {} if variant is None else variant.parameters
        if variant and contract.task == "regression" and variant.regressor_parameters is not None:
            given = variant.regressor_parameters
        return {
            **{f"parameters.{key}": value for key, value in given.items()},
            "variant": manifest.variant,
            "estimator": manifest.estimator,
            "task": contract.task,
            "dataset": source.dataset,
            "target": source.target,
            "seed": source.seed,
            "rows": source.rows,
            "holdout_rows": source.holdout_rows,
            "features": len(contract.features),
            "runtime": manifest.runtime,
        }


def first_answer_s(training_s: float) -> float:
    """How many seconds the server's first answer is waited for after a training of `training_s` seconds."""
    return max(_AFTER_TRAINING_S, _FIRST_ANSWER_S - training_s)


def figures_of(manifest: Manifest) -> dict[str, float]:
    """The figures of the manifest as MLflow's metrics, such as `holdout_accuracy`."""
    return {
        f"{side}_{name}": float(value)
        for side, figures in manifest.metrics.items()
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def dataset_of(source: Source) -> dict[str, str]:
    """The data of a version as MLflow's `Dataset`."""
    where = {"dataset": source.dataset, "target": source.target, "sha256": source.sha256}
    return {
        "name": source.dataset.rpartition("/")[2],
        "digest": source.sha256,
        "source_type": "bakeoff",
        "source": json.dumps(where),
        "profile": json.dumps({"num_rows": source.rows}),
    }


def _listed(versions: Iterable[str]) -> str:
    *first, last = versions
    return f"{', '.join(first)} and {last}" if first else last


def _lacking(version: str, done: Sequence[str], parts: Sequence[str]) -> str:
    if not done:
        return f"all of {version}"
    left = [part for part in parts if part not in done]
    return f"the {', '.join(left)} of {version}" if left else ""


def _all_beside(work: Sequence[Callable[[], None]]) -> Exception | None:
    """Do all of it, a few at a time, and no more after those of which one has failed; the first error."""
    for first in range(0, len(work), _AT_ONCE):
        for ended in [attempt(begun.result) for begun in [_beside(each) for each in work[first : first + _AT_ONCE]]]:
            if isinstance(ended, Exception):
                return ended
    return None


def _beside(work: Callable[[], Result]) -> Future[Result]:
    """What `work` returns or raises, from a thread that the end of the process does not wait for."""
    future: Future[Result] = Future()

    def run() -> None:
        done = attempt(work)
        if isinstance(done, Exception):
            future.set_exception(done)
        else:
            future.set_result(done)

    threading.Thread(target=run, name="mlflow", daemon=True).start()
    return future
