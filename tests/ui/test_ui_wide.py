"""Many versions, features and classes with long names: each page says all of them, and the inputs can be searched."""

import pytest

from app.ui import grid
from app.ui.charts import drift, predictions
from app.ui.charts.drawing import COLUMNS, wrapped
from app.ui.row_records import ApiVersionClasses
from app.ui.views import breakdown
from tests.ui import wide
from tests.ui.conftest import button, checked, text_of

PAGES = ("experiment", "playground", "batch", "labels", "drift", "health")


@pytest.mark.parametrize("routes", [wide.WIDE, wide.REGRESSION], ids=["classes", "numbers and rewards"])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_drawn(begin, page, name, routes):
    begin(routes)
    checked(page(name))


@pytest.mark.parametrize("name", [*wide.CLASSES[:4], wide.LONG, "v1", "", "a" * 80])
def test_a_name_beside_a_chart_is_whole_in_short_lines(name):
    lines = wrapped(name).split("\n")
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(map(len, lines)) <= COLUMNS


LONG_TEXT = "a name of more than forty characters, as people give them"


@pytest.fixture
def config_of(monkeypatch):
    """What `grid.show` tells Streamlit of a table."""
    from streamlit.delta_generator import DeltaGenerator

    def shown(rows, **options):
        asked = {}
        monkeypatch.setattr(DeltaGenerator, "dataframe", lambda _self, frame, **given: asked.update(given))
        grid.show(rows, "a table", place=DeltaGenerator(), **options)
        return asked

    return shown


@pytest.mark.parametrize("text", [LONG_TEXT, wide.LONG, *wide.CLASSES[:3]])
def test_a_long_text_in_a_table_is_wrapped_into_rows_that_have_room_for_it(config_of, text):
    asked = config_of([{"name": text, "rows": 1}, {"name": "short", "rows": 2}])
    assert asked["column_config"]["name"]["width"] == 300
    assert asked["row_height"] > 64  # below this Streamlit does not wrap


def test_a_table_of_short_texts_is_left_alone(config_of):
    asked = config_of([{"name": "v1", "share": 0.5}])
    assert (asked["column_config"], asked.get("row_height")) == (None, None)


def test_a_long_heading_has_a_column_as_wide(config_of):
    assert config_of([{"a" * 64: "–"}])["column_config"]["a" * 64]["width"] > 500


def test_counts_in_a_table_have_thousands_apart_and_somebodys_own_numbers_are_left_alone(config_of):
    rows = [{"rows": 12_345, "share": 0.25}, {"rows": None, "share": 1.0}]
    assert config_of(rows)["column_config"] == {"rows": grid._COUNT}
    assert config_of(rows, are_counts=False)["column_config"] is None


def test_long_names_of_classes_are_numbers_above_the_columns_and_whole_in_the_rows():
    frame = breakdown._confusion(ApiVersionClasses(version="v1", confusion=((1, 2), (3, 4))), (LONG_TEXT, "b"))
    assert list(frame.columns)[1:] == ["1", "2"]
    assert list(frame.iloc[:, 0]) == [f"1: {LONG_TEXT}", "2: b"]


def test_the_most_probable_classes_come_first():
    frame = predictions.probability_table(wide.PROBABILITIES, wide.CLASSES[2])
    assert frame["class"][0].startswith(wide.CLASSES[2])
    assert len(frame) == predictions.LARGEST


def test_a_chart_of_many_features_or_categories_has_those_that_changed_most():
    changed = {**wide.stream("supplier", 3), "live": [1 / 200] * 198 + [0.01, 0.0]}
    frame = drift.histogram_table(drift_stream(changed))
    shown = set(drift.histogram_drawing(frame, "categorical").data["values"])
    assert {wrapped(name) for name in wide.LEVELS[-2:]} < shown
    assert len(shown) == drift.MOST


def drift_stream(shape):
    from app.ui.experiment_records import ApiStream

    return ApiStream(**{name: value for name, value in shape.items() if name in ApiStream.__struct_fields__})


def test_features_are_searched_and_the_others_keep_their_values(begin, page):
    api = begin(wide.WIDE)
    at = page("playground")
    at.text_input(key="inputs.search").set_value("READING_0")
    at = checked(at.run())
    assert {each.label for each in at.slider} == {f"reading_{number:02}" for number in range(10)}
    button(at, "Predict").click()
    checked(at.run())
    (sent,) = api.sent("/predict")
    assert sent["features"] == dict(zip(wide.NAMES, wide.ROW, strict=True))


def test_an_input_that_is_drawn_again_before_a_browser_saw_it_has_its_value_as_the_default(begin, page):
    begin(wide.WIDE)
    at = checked(page("playground").run())
    drawn = at.selectbox(key="input.supplier").proto
    assert drawn.options[drawn.default] == wide.LEVELS[7]


def test_a_search_without_a_hit_says_so(begin, page):
    begin(wide.WIDE)
    at = page("playground")
    at.text_input(key="inputs.search").set_value("nothing")
    assert "No feature has “nothing” in its name" in text_of(checked(at.run()))
