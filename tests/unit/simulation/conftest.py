"""A contract, its data, and a small server that answers like the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.simulation.small_service import SmallService


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService() as running:
        yield running
