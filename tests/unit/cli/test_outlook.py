"""What is said of a version that was just published."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from app.cli.outlook import Outlook, beside_text, columns_text, drift_text, experiment_text, listed, outlook
from app.domain.contract import Feature, FeatureContract
from app.drift.reference import ReferenceAnswers, build_reference
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, draft

ROWS = np.random.default_rng(3).normal(size=(60, 3))
LABELS = np.where(ROWS[:, 0] > 0, "yes", "no")


def contract(*features: Feature, task="classification", classes=("no", "yes")) -> FeatureContract:
    return FeatureContract(task, "y", features, classes)


def published(registry: ModelRegistry, name: str, model, made: FeatureContract) -> None:
    rows = ROWS[:, : len(made.features)]
    reference = build_reference(made, rows, seed=1, answers=ReferenceAnswers("none")).to_json()
    fitted = model.fit(rows, ROWS[:, 0] if made.task == "regression" else LABELS)
    publish(registry, fitted, msgspec.structs.replace(draft(rows, made, name), reference=reference), random=10)


@pytest.fixture
def registry(tmp_path):
    """v1 reads age and temp (C); v2 another column beside it, v3 its columns in another order, v4 is a regression."""
    registry = ModelRegistry(tmp_path, KEY)
    age, temp, other = Feature("age"), Feature("temp", source_name="temp (C)"), Feature("temp", source_name="temp (F)")
    published(registry, "v1", LogisticRegression(), contract(age, temp))
    published(registry, "v2", LogisticRegression(), contract(age, other))
    published(registry, "v3", LogisticRegression(), contract(temp, age))
    published(registry, "v4", LinearRegression(), contract(age, temp, task="regression", classes=()))
    return registry


def test_the_columns_are_told_by_their_names_in_the_training_data(registry):
    facts = outlook(registry, "v2")
    assert (facts.beside, facts.new_columns, facts.unread_columns) == ("v1", ("temp (F)",), ("temp (C)",))
    assert beside_text(facts) == "new beside v1: temp (F); not read, and required by v1: temp (C)"
    assert experiment_text("v2", facts) == "experiment: takes part beside v1, in requests that have temp (F)"


def test_order_makes_no_difference(registry):
    facts = outlook(registry, "v3")
    assert (facts.new_columns, facts.unread_columns, facts.excluded) == ((), (), None)
    assert beside_text(facts) == "the same columns as v1"


def test_a_version_that_cannot_be_compared_says_why(registry):
    facts = outlook(registry, "v4")
    assert facts.excluded == "is a regression, and v1 is a classification"
    assert experiment_text("v4", facts).startswith("experiment: v4 takes no part, because it is a regression")


def test_classes_in_another_spelling_are_named_as_answers_name_them(tmp_path):
    registry = ModelRegistry(tmp_path, KEY)
    for name, classes in (("v1", ("false", "true")), ("v2", ("False", "True")), ("v3", ("false", "true"))):
        published(registry, name, LogisticRegression(), contract(Feature("age"), classes=classes))
    said = [experiment_text(name, outlook(registry, name)) for name in ("v2", "v3")]
    same = "experiment: takes part beside v1"
    assert said == [f"{same}; its classes are called false, true", same]


def test_the_first_version_has_nothing_beside_it_and_the_champion_leads(registry):
    assert outlook(registry, "v1").beside is None
    registry.point("champion", "v3")
    assert outlook(registry, "v1").beside == "v3"
    assert experiment_text("v3", outlook(registry, "v3")) == "experiment: v3 is what others are compared with"


def test_columns_are_listed_by_kind():
    features = (
        Feature("age"),
        Feature("member", boolean=True),
        Feature("flag", kind="categorical", categories=("false", "true")),
        Feature("city", kind="categorical", categories=("Rome",), open_categories=True, nullable=True),
        Feature("size", nullable=True),
        Feature("review", kind="categorical", open_categories=True),
        Feature("day", kind="categorical", open_categories=True, dates_like="2026-03-01"),
    )
    assert columns_text(features) == (
        "2 numbers (age, size: or null), 2 booleans (member, flag), 1 category (city: any text or null), "
        "1 text (review), 1 date (day: like 2026-03-01)"
    )


def test_what_is_watched_for_drift_is_told():
    assert (
        drift_text(Outlook(watched=("a", "b"), answers=True, errors=True)) == "watched for drift: a, b, answers, errors"
    )
    assert drift_text(Outlook(unwatched=("t",))) == (
        "watched for drift: nothing; of t only missing values, because texts differ"
    )


def test_of_many_names_the_first_are_listed():
    assert listed([f"c{number}" for number in range(11)]) == "c0, c1, c2, c3, c4, c5, c6, c7 and 3 more"
