"""Each watched version's own columns are found in rows of any layout."""

import json

import msgspec
import numpy as np
import pytest

from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.contract import Feature, FeatureContract
from app.drift.reference import build_reference
from app.drift.watch import start, update
from app.monitor.drift.columns import RowColumns
from app.monitor.drift.projection import DriftProjection, WatchedVersion
from app.monitor.drift.references import KnownReference, _digest
from app.store.engine import Database
from tests.unit.monitor.small_log import ORDINALS
from tests.unit.monitor.watched_log import Fixed, WatchedLog


def features(*names, **changes):
    return tuple(Feature(name=name, **changes) for name in names)


CONTRACTS = {
    "v1": features("length", "mass"),
    "v2": (Feature(name="wind", source_name="Wind (m/s)"), *features("mass", "length")),
    "v3": features("mass", "length"),
}
PLAIN = LoggedLayout(1, (LoggedColumn("length"), LoggedColumn("mass")))
WINDY = LoggedLayout(2, (*PLAIN.columns, LoggedColumn("wind_speed", "Wind (m/s)")))


def own(version, values, served, layout=None, contracts=CONTRACTS, width=None):
    columns = RowColumns(contracts.get, {each.id: each for each in (PLAIN, WINDY)})
    width = len(contracts[version]) if width is None else width
    return columns.own(version, width, values, served=served, layout=layout)


@pytest.mark.parametrize(
    ("version", "values", "served", "layout", "found"),
    [
        ("v1", [1, 2], "v1", None, [1, 2]),
        ("v1", [1, 2, 3], "v1", None, None),
        ("v1", [1, 2, 3], "v1", 2, [1, 2]),
        ("v2", [1, 2, 3], "v1", 2, [3, 2, 1]),
        ("v3", [1, 2, 3], "v1", 2, [2, 1]),
        ("v2", [1, 2], "v1", 1, None),
        ("v2", [1, 2], "v1", None, None),
        ("v3", [1, 2], "v1", None, [2, 1]),  # as wide, and in another order
        ("v1", [7, 2, 1], "v2", None, [1, 2]),
        ("v1", [1, 2], "v1", 99, None),  # a layout that is not there
    ],
)
def test_columns_are_found_by_name(version, values, served, layout, found):
    assert own(version, values, served, layout) == found


@pytest.mark.parametrize("gone", ["v1", "v3"])
def test_without_a_contract_a_row_as_wide_is_taken_as_it_is(gone):
    known = {name: each for name, each in CONTRACTS.items() if name != gone}
    assert own("v3", [1, 2], "v1", contracts=known, width=2) == [1, 2]
    assert own("v3", [1, 2, 3], "v1", contracts=known, width=2) is None


FLAG = {"numeric": Feature("paid", boolean=True), "words": Feature("paid", "categorical", categories=("False", "True"))}


@pytest.mark.parametrize(
    ("feature", "given", "found"),
    [
        ("words", [0.0, 1.0, None, "True", "true", 2.0], ["False", "True", None, "True", "True", 2.0]),
        ("numeric", [0.0, 1.0, None, "True", "false", 2.0], [0.0, 1.0, None, 1.0, 0.0, 2.0]),
    ],
)
def test_booleans_are_spelled_as_the_version_was_fitted(feature, given, found):
    contracts = {"v1": features("a", "paid"), "v2": (FLAG[feature], *features("a"))}
    rows = [own("v2", [5.0, value], "v1", contracts=contracts) for value in given]
    assert rows == [[value, 5.0] for value in found]


@pytest.fixture
def log(store_url):
    database = Database(store_url)
    log = WatchedLog(database)
    log.begin()
    yield log
    database.close()


def watched(version, seed):
    contract = FeatureContract(task="classification", target="y", features=CONTRACTS[version], classes=("a", "b"))
    reference = build_reference(
        contract, np.random.default_rng(seed).normal(size=(150, len(contract.features))), seed=1
    )
    return KnownReference(version, ORDINALS[version], "1", reference, _digest(reference))


def inputs(log, version):
    return msgspec.json.decode(log.states()[f"drift/{version}"], type=WatchedVersion).state.inputs


def test_a_version_is_watched_by_the_requests_that_have_its_columns(log):
    chance = np.random.default_rng(8)
    plain, windy = chance.normal(size=(30, 2)), chance.normal(size=(40, 3))
    for row in plain.tolist():
        log.log(log.served({"v1": 0}, features=json.dumps(row), lacking='["v2"]'))
    for place, row in enumerate(windy.tolist()):
        answers = {"v1": 0, "v2": 0}
        if place % 2:
            log.log(log.served(answers, features=json.dumps(row), layout=WINDY))
        else:
            log.log(log.served(answers, "v2", features=json.dumps([row[2], row[1], row[0]])))
    first, second = watched("v1", 1), watched("v2", 2)
    log.process(DriftProjection(Fixed(first, second, contracts=CONTRACTS), log.table), batch_rows=7)
    for known, rows in ((first, np.vstack([plain, windy[:, :2]])), (second, windy[:, [2, 1, 0]])):
        alone = update(known.reference, start(known.reference), rows).inputs
        found = inputs(log, known.version)
        assert (found.requests, found.wealth, found.counts) == (len(rows), alone.wealth, alone.counts)
