from array import array

from app.services.intake import Intake
from tests.unit.services.recording import exposure

TWO_ROWS = [(1.0, 2.0), (3.0, 4.0)]


def test_the_limit_is_in_rows_not_in_requests():
    intake = Intake(limit_rows=3)
    for _ in range(2):
        intake.put(exposure(rows=TWO_ROWS))
    assert intake.waiting == 2
    assert intake.take_refused().rows == 2


def test_what_was_refused_is_told_once_and_by_version():
    intake = Intake(limit_rows=0)
    for version in ("v1", "v2", "v1"):
        intake.put(exposure(version))
    assert dict(intake.take_refused().requests) == {"v1": 2, "v2": 1}
    assert intake.take_refused() is None


def test_the_oldest_is_taken_first_and_makes_room():
    intake = Intake(limit_rows=2)
    first, second = exposure(), exposure()
    intake.put(first)
    intake.put(second)
    assert intake.take(1) == [first]
    intake.put(exposure())
    assert intake.take_refused() is None


def test_the_number_of_rows_accepted_goes_on_where_it_is_kept():
    intake, numbers = Intake(limit_rows=3), array("Q", (0, 0))
    intake.put(exposure())
    intake.count_into(numbers)
    intake.put(exposure(rows=TWO_ROWS))
    intake.put(exposure())  # refused
    assert numbers[0] == 3
