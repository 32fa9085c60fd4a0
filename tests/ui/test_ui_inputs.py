"""The values that the inputs begin with."""

from __future__ import annotations

import pytest

from app.tables.model_columns import ModelColumn
from app.ui import inputs
from app.ui.records import ApiContract, ApiModel
from tests.unit.domain.typical_values import TYPICAL_VALUES


@pytest.mark.parametrize(("feature", "value"), TYPICAL_VALUES)
def test_without_examples_the_inputs_begin_with_a_typical_row(feature, value):
    contract = ApiContract(task="classification", target="y", features=(ModelColumn(name="a", **feature),))
    assert inputs.typical(ApiModel(version="v1", contract=contract)) == {"a": value}
