"""Traffic for the drift benchmarks: populations to sample rows from, and the changes that they can undergo."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.utils import Bunch

from app.domain.contract import Feature, FeatureContract
from app.drift.reference import DriftReference, build_reference
from app.tables.names import unique_snake_case

NOISE = 0.1
MOVED = {"iris": "petal_length", "wine": "alcohol", "breast_cancer": "mean_radius"}
LOADERS = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


@functools.cache
def _loaded(name: str) -> Bunch:
    return LOADERS[name]()


class Population:
    """A smoothed data set to sample any number of rows from."""

    def __init__(self, name: str, seed: int) -> None:
        bunch = _loaded(name)
        self.name = name
        self.rows = bunch.data
        self.class_ids = bunch.target
        self.spread = bunch.data.std(axis=0)
        self.reference_rows = len(bunch.data) * 4 // 5
        names = unique_snake_case(list(bunch.feature_names))
        self.moved = names.index(MOVED[name])
        features = tuple(Feature(name=feature) for feature in names)
        classes = tuple(str(name) for name in bunch.target_names)
        self.contract = FeatureContract(task="classification", target="target", features=features, classes=classes)
        self._chance = np.random.default_rng([seed, len(bunch.data)])

    def draw(self, rows: int) -> np.ndarray:
        """New rows, shape (rows, features)."""
        return self.labelled(rows)[0]

    def labelled(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """New rows, shape (rows, features), and the class ids of the rows that they are drawn from."""
        places = self._chance.integers(0, len(self.rows), rows)
        chosen = self.rows[places]
        return chosen + self._chance.normal(size=chosen.shape) * self.spread * NOISE, self.class_ids[places]

    def reference(self) -> tuple[np.ndarray, DriftReference]:
        """A fresh reference and its rows."""
        rows = self.draw(self.reference_rows)
        return rows, build_reference(self.contract, rows, seed=int(self._chance.integers(2**31)))

    def shifted(self, rows: int, by: float) -> np.ndarray:
        """New rows with one feature shifted by `by` standard deviations."""
        moved = self.draw(rows)
        moved[:, self.moved] += by * self.spread[self.moved]
        return moved

    def spread_out(self, rows: int, by: float) -> np.ndarray:
        """New rows with one feature's distance from its mean multiplied by `by`."""
        moved, mean = self.draw(rows), self.rows[:, self.moved].mean()
        moved[:, self.moved] = mean + (moved[:, self.moved] - mean) * by
        return moved

    def decoupled(self, rows: int) -> np.ndarray:
        """New rows with one feature taken from other rows, which keeps its marginal distribution."""
        moved = self.draw(rows)
        moved[:, self.moved] = self.draw(rows)[:, self.moved]
        return moved


CROWD_AT, CROWD = 1000, 100


def sorted_rows(population: Population, rows: np.ndarray) -> np.ndarray:
    """The rows in ascending order of the feature that the benchmarks move."""
    return rows[np.argsort(rows[:, population.moved])]


def nearly_equal(population: Population, rows: np.ndarray) -> np.ndarray:
    """The first of the rows again and again, with a hundredth of a standard deviation of noise."""
    return rows[:1] + (rows - population.rows.mean(axis=0)) * 0.01


def correlated(population: Population, rows: np.ndarray) -> np.ndarray:
    """Rows with a correlation of one half with each other, distributed as before."""
    mean = population.rows.mean(axis=0)
    return mean + np.sqrt(0.5) * (rows[:1] - mean) + np.sqrt(0.5) * (rows - mean)


CROWDS = {"sorted": sorted_rows, "nearly equal": nearly_equal, "correlated": correlated}


class Awkward:
    """Synthetic rows of ties, categories, missing values and constants: no feature has a density."""

    NAMES = ("count", "colour", "often_missing", "constant", "flag")
    COLOURS = np.array(["red", "green", "blue", "grey", "black", "white", "pink", "teal"], dtype=object)
    SHARES = np.array([0.3, 0.2, 0.15, 0.12, 0.1, 0.06, 0.04, 0.03])
    reference_rows = 300

    def __init__(self, seed: int) -> None:
        kinds = {"colour": "categorical"}
        self._chance = np.random.default_rng([seed, 5])
        self.contract = FeatureContract(
            task="classification",
            target="target",
            features=tuple(Feature(name=name, kind=kinds.get(name, "numeric")) for name in self.NAMES),
        )

    def draw(self, rows: int, shares: np.ndarray = SHARES, missing: float = 0.1) -> np.ndarray:
        """New rows, an array of objects of shape (rows, features)."""
        chance, drawn = self._chance, np.empty((rows, len(self.NAMES)), dtype=object)
        drawn[:, 0] = chance.poisson(2, rows)
        drawn[:, 1] = self.COLOURS[chance.choice(len(shares), rows, p=shares)]
        drawn[:, 2] = np.where(chance.random(rows) < missing, None, np.round(chance.normal(size=rows), 1))
        drawn[:, 3] = 7.0
        drawn[:, 4] = chance.integers(0, 2, rows)
        return drawn

    def reference(self) -> tuple[np.ndarray, DriftReference]:
        """A fresh reference and its rows."""
        rows = self.draw(self.reference_rows)
        return rows, build_reference(self.contract, rows, seed=int(self._chance.integers(2**31)))

    def recoloured(self, rows: int, colour: int, share: float) -> np.ndarray:
        """New rows in which one category has another share; the other shares are rescaled."""
        shares = self.SHARES * (1 - share) / (1 - self.SHARES[colour])
        shares[colour] = share
        return self.draw(rows, shares)

    def emptied(self, rows: int, share: float) -> np.ndarray:
        """New rows in which one feature is missing with another probability."""
        return self.draw(rows, missing=share)

    def renamed(self, rows: int, share: float) -> np.ndarray:
        """New rows in which a share of one feature's values is a category that the reference does not contain."""
        moved = self.draw(rows)
        moved[self._chance.random(rows) < share, 1] = "violet"
        return moved


class Levels:
    """Synthetic rows of categorical columns with a long tail: the k-th most frequent level has a share ∝ 1/k."""

    def __init__(self, levels: int, reference_rows: int, seed: int, columns: int = 1) -> None:
        self.reference_rows = reference_rows
        self._names = np.array([f"level {number}" for number in range(levels)], dtype=object)
        self._shares = 1 / np.arange(1, levels + 1) / (1 / np.arange(1, levels + 1)).sum()
        self._columns = columns
        self._chance = np.random.default_rng([seed, levels, columns])
        features = tuple(Feature(name=f"c{number}", kind="categorical") for number in range(columns))
        self.contract = FeatureContract(task="classification", target="target", features=features)

    def draw(self, rows: int) -> np.ndarray:
        """New rows, an array of objects of shape (rows, columns)."""
        return self._names[self._chance.choice(len(self._names), (rows, self._columns), p=self._shares)]

    def reference(self) -> tuple[np.ndarray, DriftReference]:
        """A fresh reference and its rows."""
        rows = self.draw(self.reference_rows)
        return rows, build_reference(self.contract, rows, seed=int(self._chance.integers(2**31)))

    def renamed(self, rows: int, share: float) -> np.ndarray:
        """New rows in which a share of the first column's values is a level that nothing else has."""
        moved = self.draw(rows)
        moved[self._chance.random(rows) < share, 0] = "a new level"
        return moved


class Outliers:
    """Normal rows of independent columns, of which a share can be outliers."""

    def __init__(self, reference_rows: int, seed: int, columns: int = 1) -> None:
        self.reference_rows = reference_rows
        self._columns = columns
        self._chance = np.random.default_rng([seed, reference_rows, columns])
        features = tuple(Feature(name=f"x{number}") for number in range(columns))
        self.contract = FeatureContract(task="classification", target="target", features=features)

    def draw(self, rows: int) -> np.ndarray:
        """New rows, shape (rows, columns)."""
        return self._chance.normal(size=(rows, self._columns))

    def reference(self) -> tuple[np.ndarray, DriftReference]:
        """A fresh reference and its rows."""
        rows = self.draw(self.reference_rows)
        return rows, build_reference(self.contract, rows, seed=int(self._chance.integers(2**31)))

    def with_outliers(self, rows: int, share: float, by: float) -> np.ndarray:
        """New rows of which a share has `by` standard deviations in the first column."""
        moved = self.draw(rows)
        moved[self._chance.random(rows) < share, 0] = by
        return moved
