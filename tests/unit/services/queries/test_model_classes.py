"""The classes of a version as `GET /models` shows them: named and numbered as answers are."""

import msgspec

from app.domain.contract import Feature, FeatureContract
from app.services.queries.models import ModelQueries
from tests import builders
from tests.unit.services.queries.test_models import ModelRegistry

OWN = FeatureContract(
    task="classification", target="y", features=(Feature("a", boolean=True),), classes=("2", "9", "10")
)
NUMBERED = ("10.0", "2.0", "9.0")
FIGURES = {"holdout": {"accuracy": 0.95, "confusion_matrix": [[22, 29, 20], [92, 99, 90], [2, 9, 10]]}}


def entry(loaded_classes=None, **changes):
    """The entry of v1, of the classes `OWN`; it is loaded where classes are given."""
    manifest = builders.manifest("v1", OWN, metrics=FIGURES, **changes)
    versions = ()
    if loaded_classes is not None:
        contract = msgspec.structs.replace(OWN, classes=loaded_classes)
        versions = (builders.loaded_version("v1", contract=contract, manifest=manifest),)
    live = builders.live_models(builders.loaded_models(*versions))
    return ModelQueries(live, ModelRegistry({"v1": manifest}, {})).entry("v1")


def test_a_loaded_version_shows_its_classes_as_it_answers_with_them_and_as_it_was_trained():
    shown = entry(NUMBERED).contract
    assert (shown.classes, shown.training_classes) == (NUMBERED, ("10", "2", "9"))


def test_a_version_that_is_not_loaded_shows_the_numbering_of_its_manifest():
    shown = entry(numbered_classes=NUMBERED).contract
    assert (shown.classes, shown.training_classes) == (NUMBERED, ("10", "2", "9"))


def test_where_the_names_are_its_own_there_are_no_others():
    for shown in (entry(OWN.classes), entry(("10", "2", "9")), entry()):
        assert shown.contract.training_classes is None
        assert set(shown.contract.classes) == set(OWN.classes)


def test_the_confusion_matrix_is_in_the_order_of_the_classes():
    figures = entry(NUMBERED).metrics["holdout"]
    assert figures["confusion_matrix"] == [[10, 2, 9], [20, 22, 29], [90, 92, 99]]
    assert figures["accuracy"] == 0.95
    assert entry(OWN.classes).metrics == FIGURES


def test_a_boolean_feature_is_shown_as_one():
    assert entry().contract.features[0].boolean
