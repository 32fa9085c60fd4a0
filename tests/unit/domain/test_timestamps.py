from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.timestamps import is_iso_date, iso_utc

FIRST, LAST = 0, 4_102_444_800_000_000  # 1970 to 2100, in µs


@given(st.lists(st.integers(FIRST, LAST), min_size=1, max_size=5))
def test_it_agrees_with_the_calendar_in_any_order(times):
    for us in times:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
        assert iso_utc(us) == expected.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_times_within_one_second_differ_by_their_microseconds():
    assert [iso_utc(1_000_000 + us) for us in (0, 1, 999_999)] == [
        "1970-01-01T00:00:01.000000Z",
        "1970-01-01T00:00:01.000001Z",
        "1970-01-01T00:00:01.999999Z",
    ]


@pytest.mark.parametrize(
    ("text", "form", "is_date"),
    [
        ("2026-11-20", None, True),
        ("2026-11-20T12:00:00+01:00", None, True),
        ("2026-02-29", None, False),
        ("20.11.2026", None, False),
        ("", None, False),
        ("2027-01-02", "2026-11-20", True),
        ("2027-01-02T00:00:00", "2026-11-20", False),
        ("20270102", "2026-11-20", False),
        ("2027-01-02 10:00:00", "2026-11-20 12:30:59", True),
    ],
)
def test_dates_are_iso_and_of_the_form_that_is_asked_for(text, form, is_date):
    assert is_iso_date(text, form) is is_date
