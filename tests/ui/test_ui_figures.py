"""Numbers, metrics and charts: pure."""

import math

import pytest

from app.tables.counts import as_sentence
from app.ui import tables, wording
from app.ui.charts import drift, predictions, timeline, traffic
from app.ui.experiment_records import ApiComparison, ApiPoint, ApiStream, ApiVariant
from app.ui.findings import labels_left
from app.ui.scrape import quantile_s, rate_per_s, scrape_of
from tests.ui.answers import METRICS


def test_a_scrape_sums_over_versions():
    scrape = scrape_of(METRICS, 10.0)
    assert (scrape.requests, scrape.errors, scrape.by_version) == (120, 2, {"v1": 70, "v2": 50})
    assert scrape.buckets == ((1e-4, 60), (1e-3, 110), (math.inf, 120))


@pytest.mark.parametrize(
    ("level", "seconds"), [(0.5, 1e-4), (0.25, 0.5e-4), (0.75, 1e-4 + 0.9e-3 * 30 / 50), (0.99, None)]
)
def test_a_quantile_is_interpolated_in_its_bucket(level, seconds):
    found = quantile_s(scrape_of(METRICS), level)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_rate_is_unknown_where_the_api_began_anew():
    before, after = scrape_of(METRICS, 10.0), scrape_of(METRICS.replace("120.0\nmodel", "140.0\nmodel"), 20.0)
    assert rate_per_s(before, after, "requests") == 2.0
    assert rate_per_s(after, before, "requests") is None
    assert rate_per_s(scrape_of(METRICS, 1.0), scrape_of("", 2.0), "requests") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("it failed (p = 0.007)", "It failed (p = 0.007)."),
        ("v2 is better", "v2 is better."),
        ("(It is.)", "(It is.)"),
        ("Is it?", "Is it?"),
    ],
)
def test_a_sentence_ends_with_a_full_stop_also_after_a_bracket(text, sentence):
    assert as_sentence(text) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (1234567, "1,234,567"),
        (0.12345, "0.1235"),
        (2070.4, "2,070"),
        (23456.7, "23,457"),
        (2.5e12, "2,500,000,000,000"),
        (2.5e15, "2.5e+15"),
        (float("inf"), "inf"),
        (-2.0, "−2"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("metric", "pair", "change", "mean"),
    [
        ("accuracy", (0.006, 0.036), "+2.1 points", "2.1 %"),
        ("accuracy", (-0.5, 0.5), "+2 points", "2 %"),
        ("accuracy", None, "+2.1 points", "2.1 %"),
        ("brier", (0.02, 0.022), "+0.0210", "0.0210"),
        ("brier", None, "+0.021", "0.021"),
        ("brier", (0.021, 0.021), "+0.021", "0.021"),
    ],
)
def test_figures_have_the_digits_that_their_interval_supports(metric, pair, change, mean):
    scale = wording.scale_of(metric)
    assert (scale.change(0.021, pair), scale.mean(0.021, pair)) == (change, mean)


@pytest.mark.parametrize(
    ("value", "said"), [(0.01, "+1 point"), (-0.01, "−1 point"), (0.02, "+2 points"), (0.0, "0 points")]
)
def test_one_point_has_no_plural(value, said):
    assert wording.scale_of("accuracy").change(value, (-0.5, 0.5)) == said


def test_both_ends_of_an_interval_have_the_sign_and_the_unit_of_the_difference():
    assert wording.scale_of("accuracy").changes((-0.006, 0.036)) == "−0.6 to +3.6 points"
    assert wording.scale_of("cost").changes((-1.0, 2.0)) == "−1.0 to +2.0"
    assert wording.scale_of("cost").changes(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (5, "5 s"), (119, "119 s"), (600, "10 min"), (1e6, "12 days")]
)
def test_durations_take_the_unit_that_makes_sense(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0, 12, "less than a minute"),
        (0, 60, "up to 1 minute"),
        (20, 7300, "up to 2 hours"),
        (119, 121, "about 2 minutes"),
        (300, 660, "5 to 11 minutes"),
        (7200, 86_400, "2 to 24 hours"),
        (7200, 9 * 86_400, "2 hours to 9 days"),
        (86_400, 3 * 365 * 86_400, "24 hours to 3 years"),
        (0, None, "a minute or more"),
        (7200, None, "2 hours or more"),
    ],
)
def test_how_long_something_will_take_is_said_as_people_say_it(low, high, said):
    assert wording.span(low, high) == said


@pytest.mark.parametrize(
    ("remaining", "left"),
    [
        (None, None),
        ((None, None), None),
        ((37.5, None), "38 to more than a million more labels (80 % range)"),
        ((0.0, 4000.5), "0–4,001 more labels (80 % range)"),
    ],
)
def test_the_labels_left_come_from_the_forecast(remaining, left):
    assert labels_left(ApiComparison(challenger="v2", n=12, remaining=remaining)) == left


def test_many_classes_are_cut_to_the_likeliest_with_the_answer_among_them():
    frame = predictions.probability_table({f"c{i}": i / 5000 for i in range(100)}, "c0")
    assert len(frame) == 13
    assert frame["class"].iloc[-1] == "c0 ◀"


def test_a_share_before_the_first_request_is_unknown():
    frame = traffic.share_table([ApiVariant(version="v1", weight=1.0)])
    assert "v1 had – of the requests; its target share is 100.0 %" in traffic.share_description(frame)


def test_a_course_without_any_interval_is_drawn():
    points = [ApiPoint(challenger="v2", n=1)]
    frame = timeline.improvement_table(points)
    assert timeline.improvement_drawing(frame, "v1").spec["layer"]
    assert "–" in tables.improvement_description(points, "v2", "v1", wording.Scale())


def test_endless_evidence_has_a_finite_place():
    frame = timeline.evidence_table([ApiPoint(challenger="v2", n=9, log_e=5000.0)])
    assert frame["log10 e"].iloc[0] == pytest.approx(2171.47, abs=0.01)
    assert timeline.evidence_description(frame, 0.05)


def test_open_ends_of_bins_are_named():
    stream = ApiStream(name="x", bins=(None, 1.0, 2.5, None), reference=(0.2, 0.5, 0.3))
    assert drift.cell_names(stream) == ["below 1", "1 to 2.5", "from 2.5"]
    assert drift.histogram_drawing(drift.histogram_table(stream)).spec["mark"]


def test_two_categories_have_room_beside_legend_and_axis():
    stream = ApiStream(
        name="errors", kind="categorical", bins=("right", "wrong"), reference=(0.9, 0.1), live=(0.8, 0.2)
    )
    assert drift.histogram_drawing(drift.histogram_table(stream), "categorical").spec["height"] >= 240


def test_layers_take_the_data_of_the_whole_and_lines_have_one_row_of_their_own():
    layers = timeline.evidence_drawing(timeline.evidence_table([ApiPoint(challenger="v2", n=1)]), 0.05).spec["layer"]
    assert [layer.get("data") for layer in layers] == [
        None,
        {"name": "one_row", "values": [{}]},
        {"name": "one_row", "values": [{}]},
    ]


def test_answers_are_counted_by_class_or_by_range():
    assert predictions.answer_table(["a", "b", "a"]).to_dict("list") == {"answer": ["a", "b"], "rows": [2, 1]}
    assert predictions.answer_table([0.0, 1.0])["rows"].tolist() == [1, 1]
    assert predictions.answer_table([2.0, 2.0])["rows"].tolist() == [2]
