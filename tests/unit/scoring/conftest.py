"""A monitor's log for the tests that project one."""

from tests.unit.monitor.conftest import small_log

__all__ = ["small_log"]
