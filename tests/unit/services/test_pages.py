import pytest

from app.errors import InvalidRequest
from app.services.pages import require_number


@pytest.mark.parametrize("value", [1, 500])
def test_both_limits_are_in_the_range(value):
    require_number("points", value, 500)


@pytest.mark.parametrize("value", [-1, 0, 501])
def test_a_number_out_of_the_range_names_the_parameter_and_the_range(value):
    with pytest.raises(InvalidRequest, match="points must be a whole number from 1 to 500") as refused:
        require_number("points", value, 500)
    assert refused.value.field == "points"
