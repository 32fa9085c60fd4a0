"""Many versions, features and classes with long names: each page says all of them, and the inputs can be searched."""

import pytest

from app.ui.charts import drift, predictions
from app.ui.charts.drawing import COLUMNS, wrapped
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


def test_a_search_without_a_hit_says_so(begin, page):
    begin(wide.WIDE)
    at = page("playground")
    at.text_input(key="inputs.search").set_value("nothing")
    assert "No feature has “nothing” in its name" in text_of(checked(at.run()))
