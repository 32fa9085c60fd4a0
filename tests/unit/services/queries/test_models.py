import msgspec
import pytest

from app.domain.contract import Feature
from app.domain.experiment import CaseFacts
from app.domain.manifest import FileSum, ReferenceHistory
from app.errors import ArtefactRefused, UnknownVersion
from app.services.ports import RefusedVersion
from app.services.queries.models import ModelQueries
from tests import builders
from tests.unit.inference.published import reference_manifest


class ModelRegistry:
    """Manifests by name; what is an error is raised."""

    def __init__(self, manifests, aliases, histories=None):
        self._manifests, self._aliases, self._histories = manifests, aliases, histories or {}

    def names(self):
        return tuple(self._manifests)

    def manifest(self, version):
        return found(self._manifests[version])

    def aliases(self):
        return found(self._aliases)

    def reference_history(self, version):
        return found(self._histories.get(version, ReferenceHistory()))


def found(value):
    if isinstance(value, Exception):
        raise value
    return value


def manifest(name):
    return builders.manifest(
        name,
        metrics={"holdout": {"accuracy": 0.95, "confusion": [[1, 0], [0, 1]]}},
        files={"model.joblib": FileSum(sha256=f"{name:0>64}", bytes=1)},
        examples=((1.0,),),
        cases=CaseFacts(repeated_share=0.031),
    )


def catalogue(registry, serving=("v1",), compatible=None, refused=(), champion=None):
    loaded = builders.loaded_models(
        *(
            builders.loaded_version(name, runtime_name="sklearn", sha256="b" * 64, manifest=manifest(name))
            for name in serving
        ),
        compatible=compatible,
        aliases={"champion": "v1"},
        refused=refused,
    )
    return ModelQueries(builders.live_models(loaded, builders.configuration(champion=champion)), registry)


ALIASES = {"champion": "v1", "challenger": "v2", "best": "v1"}
TWO = ModelRegistry({"v2": manifest("v2"), "v1": manifest("v1")}, ALIASES)


def test_versions_come_by_ordinal_with_their_aliases():
    listing = catalogue(TWO, serving=("v2", "v1")).listing()
    assert [(entry.version, entry.aliases) for entry in listing.models] == [
        ("v1", ("best", "champion")),
        ("v2", ("challenger",)),
    ]


def test_what_serves_says_its_real_runtime_and_what_does_not_its_manifests():
    first, second = catalogue(TWO).listing().models
    assert (first.serving, first.routed, first.runtime, first.sha256) == (True, True, "sklearn", "b" * 64)
    assert (second.serving, second.routed, second.runtime, second.sha256) == (False, False, "onnx", f"{'v2':0>64}")


def test_the_share_of_repeated_rows_is_shown_loaded_or_not():
    assert [entry.repeated_share for entry in catalogue(TWO).listing().models] == [0.031, 0.031]


def with_reference(name):
    return msgspec.structs.replace(manifest(name), files={"reference.json": FileSum("0" * 64, 1)})


def test_without_a_later_reference_that_of_the_publication_counts():
    entry = catalogue(ModelRegistry({"v2": with_reference("v2"), "v1": manifest("v1")}, ALIASES)).entry("v2")
    assert (entry.reference.number, entry.reference.since) == (0, entry.created_at)
    assert (entry.reference.rows, entry.reference.refused) == (None, ())


def test_a_version_without_any_reference_has_none():
    assert catalogue(TWO).entry("v1").reference is None


def test_the_newest_later_reference_counts_and_the_refused_ones_are_named():
    history = ReferenceHistory((reference_manifest(1), reference_manifest(3, rows=70)), ("v1.2: torn",))
    entry = catalogue(ModelRegistry({"v1": with_reference("v1")}, ALIASES, {"v1": history})).entry("v1")
    assert (entry.reference.number, entry.reference.rows, entry.reference.reference_is) == (3, 70, "holdout")
    assert entry.reference.since == "2023-11-14T22:13:23.000000Z"
    assert entry.reference.refused == ("v1.2: torn",)


def test_a_version_whose_folder_is_damaged_is_listed_with_the_reference_of_its_publication():
    registry = ModelRegistry({"v1": manifest("v1")}, ALIASES, {"v1": ArtefactRefused("v1/manifest.json", "unsigned")})
    assert catalogue(registry).entry("v1").reference is None


def test_a_version_may_serve_without_being_routed():
    entry = catalogue(TWO, serving=("v1", "v2"), compatible=("v1",)).entry("v2")
    assert (entry.serving, entry.routed) == (True, False)


def test_only_what_serves_is_the_information_about_the_model():
    assert [entry.version for entry in catalogue(TWO).loaded().models] == ["v1"]


@pytest.mark.parametrize(
    ("registry", "refused"),
    [
        (ModelRegistry({"v1": manifest("v1"), "v2": ArtefactRefused("v2/manifest.json", "unsigned")}, ALIASES), ()),
        (TWO, (RefusedVersion("v2", "v2/manifest.json: unsigned"),)),
    ],
)
def test_what_is_refused_is_listed_with_its_reason_and_not_among_the_models(registry, refused):
    found = catalogue(registry, refused=refused)
    assert [entry.version for entry in found.listing().models] == ["v1"]
    assert found.listing().refused == {"v2": "v2/manifest.json: unsigned"}
    with pytest.raises(UnknownVersion, match="unsigned"):
        found.entry("v2")


def test_a_version_that_vanishes_while_it_is_listed_is_refused_not_fatal():
    registry = ModelRegistry({"v1": manifest("v1"), "v2": UnknownVersion("gone")}, ALIASES)
    assert catalogue(registry).listing().refused == {"v2": "gone"}


def test_a_broken_file_of_aliases_leaves_those_known_at_loading():
    registry = ModelRegistry({"v1": manifest("v1")}, ArtefactRefused("aliases.json", "not JSON"))
    assert catalogue(registry).listing().aliases == {"champion": "v1"}


def test_an_unknown_version_names_those_there_are():
    with pytest.raises(UnknownVersion, match="there are: v1, v2"):
        catalogue(TWO).entry("v9")


def test_an_empty_registry_has_no_versions():
    assert catalogue(ModelRegistry({}, {}), serving=()).listing().models == ()


def test_a_feature_says_everything_about_itself():
    feature = catalogue(TWO).entry("v1").contract.features[0]
    assert (feature.name, feature.kind, feature.categories, feature.nullable) == ("a", "numeric", (), False)
    assert set(msgspec.to_builtins(feature)) == set(Feature.__struct_fields__)


def test_the_champion_in_force_is_shown_before_the_alias_has_followed():
    registry = ModelRegistry({"v1": manifest("v1"), "v2": manifest("v2")}, {"champion": "v1", "challenger": "v2"})
    listed = catalogue(registry, serving=("v1", "v2"), champion="v2").listing()
    assert listed.aliases == {"champion": "v2", "challenger": "v1"}
    assert [entry.aliases for entry in listed.models] == [("challenger",), ("champion",)]


@pytest.mark.parametrize(
    ("classes", "figures", "shown"),
    [
        (("a", "b"), {"brier": 0.079}, 0.158),
        (("a", "b"), {"brier": 0.158, "brier_form": "all_classes"}, 0.158),
        (("a", "b", "c"), {"brier": 0.3}, 0.3),
    ],
)
def test_the_brier_score_is_that_of_all_classes_also_where_an_earlier_release_stored_that_of_one(
    classes, figures, shown
):
    contract = msgspec.structs.replace(builders.CONTRACT, classes=classes)
    stored = msgspec.structs.replace(manifest("v1"), contract=contract, metrics={"holdout": figures})
    (entry,) = catalogue(ModelRegistry({"v1": stored}, ALIASES), serving=()).listing().models
    assert entry.metrics["holdout"]["brier"] == pytest.approx(shown)
