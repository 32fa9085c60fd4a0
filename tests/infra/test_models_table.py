"""The table of models: made by a script, which publishes some of them again here."""

from __future__ import annotations

import importlib.util

import pytest

from scripts.models_of_table import MODELS
from scripts.models_table import END, PAGE, START, measured, written

CHOSEN = (
    "StandardScaler, LogisticRegression",
    "CalibratedClassifierCV(logistic pipeline)",
    "FixedThresholdClassifier(0.3)",
    "LGBMRegressor",
    "XGBRegressor",
)


def cells() -> dict[tuple[str, str], list[str]]:
    """The cells of each row in the page, by the model's name and its data."""
    table = PAGE.read_text().partition(START)[2].partition(END)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    return {(row[0], row[1]): row for row in rows[2:]}


def test_the_page_has_a_row_for_every_model_of_the_script() -> None:
    assert set(cells()) == {(model.name, model.data) for model in MODELS}
    assert len(MODELS) >= 45


@pytest.mark.parametrize("name", CHOSEN)
def test_a_model_is_served_as_the_page_says(name: str) -> None:
    model = next(model for model in MODELS if model.name == name)
    if model.package is not None and importlib.util.find_spec(model.package) is None:
        pytest.skip(f"NOT CHECKED: {model.package} is not installed (requirements-boosting.txt)")
    assert measured(model).served_by == cells()[model.name, model.data][2]


def test_only_the_table_is_replaced() -> None:
    page = written(f"before\n{START}\nold\n{END}\nafter\n", ["| new |"])
    assert page.startswith("before\n")
    assert page.endswith(f"| new |\n\n{END}\nafter\n")
    with pytest.raises(ValueError, match="no place"):
        written("nothing", [])
