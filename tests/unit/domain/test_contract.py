import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tables.names import matching_columns, snake_case, snake_case_with_unit, unique_snake_case


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
        ("!?", "feature"),
        ("ÅÄ", "åä"),
        ("Straßen Länge", "straßen_länge"),
        ("年龄", "年龄"),
        ("हिन्दी नाम", "हिन्दी_नाम"),
        ("Дата рождения", "дата_рождения"),
        ("ДатаРождения", "дата_рождения"),
        ("a\u0301rea m²", "área_m2"),
        ("ｗｉｄｔｈ", "width"),
        ("width\nin mm", "width_in_mm"),
        ("²", "f_2"),
        ("None", "none"),
    ],
)
def test_names_become_snake_case(name, normal):
    assert snake_case(name) == normal


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("income (USD)", "income_usd"),
        ("rate (%)", "rate_percent"),
        ("price [€]", "price_euro"),
        ("t (°C)", "t_degree_c"),
        ("plain", "plain"),
    ],
)
def test_units_can_be_kept(name, normal):
    assert snake_case_with_unit(name) == normal


NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["a b", "a_b", "A b", "a_b_2", "a-b (m)", "a b [km]", "a_b_m", "class", "f_class", "!", "feature"]),
)


@given(st.lists(NAMES, max_size=12, unique=True))
def test_normalised_names_are_distinct_identifiers(names):
    normal = unique_snake_case(names)
    assert len(set(normal)) == len(names)
    for name in normal:
        assert name.isidentifier()
        assert eval(f"dict({name}=1)") == {name: 1}


@given(st.lists(NAMES, max_size=12, unique=True))
def test_no_column_is_called_by_the_given_name_of_another(names):
    for index, normal in enumerate(unique_snake_case(names)):
        assert normal == names[index] or normal not in names


@pytest.mark.parametrize(
    ("names", "normal"),
    [
        (("a b", "a_b"), ["a_b_2", "a_b"]),
        (("a-b", "a b", "a.b"), ["a_b", "a_b_2", "a_b_3"]),
        (("Sex", "sex"), ["sex_2", "sex"]),
        (("income (USD)", "income (EUR)"), ["income_usd", "income_eur"]),
        (("income", "income (EUR)"), ["income", "income_eur"]),
        (("income (USD)", "age"), ["income", "age"]),
        (("x (cm)", "x [cm]"), ["x_cm", "x_cm_2"]),
        (("年龄", "收入"), ["年龄", "收入"]),
        (("é", "e\u0301"), ["é", "é_2"]),
        (("класс", "knacc"), ["класс", "knacc"]),
        (("f_class", "class"), ["f_class", "f_class_2"]),
    ],
)
def test_columns_that_would_have_one_name_have_two(names, normal):
    assert unique_snake_case(names) == normal


@pytest.mark.parametrize(
    ("wanted", "offered", "places"),
    [
        (["b", "a"], ["a", "x", "b"], (2, 0)),
        (["sepal width (cm)"], ["id", "sepal_width"], (1,)),
        (["sepal_width"], ["Sepal Width (cm)"], (0,)),
        (["income (USD)", "income (EUR)"], ["income (EUR)"], (None, 0)),
        (["income (USD)"], ["income (EUR)"], (None,)),
        (["income (USD)"], ["income", "income (EUR)"], (None,)),
        (["income (USD)", "income (EUR)"], ["income_eur", "income_usd"], (1, 0)),
        (["income (USD)", "income (EUR)"], ["income", "income (EUR)"], (None, 1)),
        (["temp (C)"], ["temp (F)"], (None,)),
        (["temp (C)"], ["temp_c"], (0,)),
        (["power (mW)"], ["power (MW)"], (None,)),
        (["a b", "a_b"], ["a_b"], (None, 0)),
        (["a b"], ["a_b", "a-b"], (None,)),
        (["a b", "a_b"], ["a_b", "a_b_2"], (1, 0)),
        (["年龄", "收入"], ["收入", "年龄"], (1, 0)),
        (["年龄"], ["收入"], (None,)),
        (["é"], ["e\u0301"], (0,)),
        (["width\nin mm"], ["width in mm"], (0,)),
    ],
)
def test_columns_are_found_by_name_and_in_doubt_not_at_all(wanted, offered, places):
    assert matching_columns(wanted, offered) == places


def test_names_that_an_earlier_release_gave_still_count():
    assert matching_columns(["年龄", "收入"], ["feature_2", "feature"], ["feature", "feature_2"]) == (1, 0)


@given(st.lists(NAMES, max_size=8, unique=True), st.lists(NAMES, max_size=8, unique=True))
def test_no_column_stands_for_two(wanted, offered):
    places = [place for place in matching_columns(wanted, offered) if place is not None]
    assert len(places) == len(set(places))
    for name, place in zip(wanted, matching_columns(wanted, offered), strict=True):
        assert name not in offered or place == offered.index(name)


@given(st.lists(NAMES, max_size=8, unique=True))
def test_a_contract_name_never_stands_for_another_column(names):
    for index, place in enumerate(matching_columns(names, unique_snake_case(names))):
        assert place in (None, index)
