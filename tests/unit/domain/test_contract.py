import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract, snake_case, unique_snake_case


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("sepal length (cm)", "sepal_length"),
        ("SepalLength", "sepal_length"),
        ("mean radius", "mean_radius"),
        ("od280/od315_of_diluted_wines", "od280_od315_of_diluted_wines"),
        ("pixel_0_0", "pixel_0_0"),
        ("2nd floor", "f_2nd_floor"),
        ("class", "f_class"),
        ("(cm)", "cm"),
        ("", "feature"),
        ("ÅÄ", "feature"),
    ],
)
def test_names_become_snake_case(name, normal):
    assert snake_case(name) == normal


@given(st.lists(st.text(max_size=12), max_size=12))
def test_normalised_names_are_distinct_identifiers(names):
    normal = unique_snake_case(names)
    assert len(set(normal)) == len(names)
    assert all(name.isidentifier() for name in normal)


def test_contracts_of_other_columns_or_classes_are_not_compatible():
    base = FeatureContract(task="classification", target="y", features=(Feature(name="a"),), classes=("0", "1"))
    ranged = FeatureContract(
        task="classification", target="y", features=(Feature(name="a", minimum=1.0),), classes=("0", "1")
    )
    renamed = FeatureContract(task="classification", target="y", features=(Feature(name="b"),), classes=("0", "1"))
    reclassed = FeatureContract(task="classification", target="y", features=(Feature(name="a"),), classes=("0", "2"))
    assert base.compatible_with(ranged)
    assert not base.compatible_with(renamed)
    assert not base.compatible_with(reclassed)
