"""The theme's colours against its backgrounds, by the relative luminance of WCAG 2.1 (success criterion 1.4.3)."""

import tomllib
from pathlib import Path

import pytest

THEME = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())["theme"]
TEXTS = [
    (mode, name, THEME[mode][name])
    for mode in ("light", "dark")
    for name in THEME[mode]
    if name.endswith("Color") and not name.endswith("ackgroundColor") and name != "primaryColor"
]
CHARTS = [("light", colour) for colour in THEME["chartCategoricalColors"]] + [
    ("dark", colour) for colour in THEME["dark"]["chartCategoricalColors"]
]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("background", ["backgroundColor", "secondaryBackgroundColor"])
@pytest.mark.parametrize(("mode", "name", "colour"), TEXTS)
def test_text_is_readable_on_both_backgrounds(mode, name, colour, background):
    assert contrast(colour, THEME[mode][background]) >= 4.5


@pytest.mark.parametrize(("mode", "colour"), CHARTS)
def test_a_series_stands_out_from_the_page(mode, colour):
    assert contrast(colour, THEME[mode]["backgroundColor"]) >= 4.5
