"""The row that stands in where a version has no examples."""

from __future__ import annotations

import pytest

from app.domain.contract import Feature, FeatureContract
from app.domain.rows import RowParser
from app.domain.typical_row import typical_row
from tests.unit.domain.typical_values import TYPICAL_VALUES


@pytest.mark.parametrize(("feature", "value"), TYPICAL_VALUES)
def test_a_typical_value_is_one_that_the_contract_accepts(feature, value):
    contract = FeatureContract(task="classification", target="y", features=(Feature(name="a", **feature),))
    assert typical_row(contract) == [value]
    assert RowParser(contract).row([value]).shape == (1, 1)
