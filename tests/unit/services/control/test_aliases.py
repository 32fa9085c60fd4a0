import pytest
from msgspec.structs import replace

from app.errors import ArtefactRefused
from app.services.control.aliases import AliasKeeper, aliases_after, reconcile_aliases
from tests.unit.services.control.deciders import BASE


class MemoryRegistry:
    """Aliases in memory; the process dies after `pointings` of them."""

    def __init__(self, table, pointings=9):
        self.table, self.left, self.error = dict(table), pointings, None

    def aliases(self):
        if self.error is not None:
            raise self.error
        return dict(self.table)

    def point(self, alias, version):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.table[alias] = version


LED_BY_V2 = replace(BASE, champion="v2")


@pytest.mark.parametrize(
    ("table", "after"),
    [
        ({"champion": "v1", "challenger": "v2"}, {"champion": "v2", "challenger": "v1"}),
        ({"champion": "v1", "challenger": "v3"}, {"champion": "v2", "challenger": "v3"}),
        ({"champion": "v1"}, {"champion": "v2"}),
        ({}, {"champion": "v2"}),
        ({"champion": "v2", "mine": "v1"}, {"champion": "v2", "mine": "v1"}),
    ],
)
def test_the_champions_alias_follows_and_a_challenger_changes_places(table, after):
    assert aliases_after(table, "v2") == after
    registry = MemoryRegistry(table)
    assert reconcile_aliases(registry, LED_BY_V2) is (table != after)
    assert registry.table == after
    assert reconcile_aliases(registry, LED_BY_V2) is False


@pytest.mark.parametrize("pointings", [0, 1])
def test_a_crash_on_the_way_heals(pointings):
    registry = MemoryRegistry({"champion": "v1", "challenger": "v2"}, pointings)
    with pytest.raises(KeyboardInterrupt):
        reconcile_aliases(registry, LED_BY_V2)
    registry.left = 9
    reconcile_aliases(registry, LED_BY_V2)
    assert registry.table == {"champion": "v2", "challenger": "v1"}


@pytest.mark.parametrize("changes", [{"champion": None}, {"epoch": 0}])
def test_where_nothing_is_decided_nothing_is_moved(changes):
    registry = MemoryRegistry({"champion": "v3"})
    assert reconcile_aliases(registry, replace(BASE, **changes)) is False
    assert registry.table == {"champion": "v3"}


def test_a_broken_table_is_written_anew():
    registry = MemoryRegistry({})
    registry.error = ArtefactRefused("aliases.json", "torn")
    reconcile_aliases(registry, LED_BY_V2)
    assert registry.table == {"champion": "v2"}


def test_a_read_only_registry_is_logged_once_and_tried_again(caplog):
    registry = MemoryRegistry({"champion": "v1"})
    registry.error = PermissionError("read-only")
    keeper = AliasKeeper(registry)
    keeper.keep(LED_BY_V2)
    keeper.keep(LED_BY_V2)
    assert [record.message for record in caplog.records] == ["aliases_not_moved"]
    registry.error = None
    keeper.keep(LED_BY_V2)
    assert registry.table == {"champion": "v2"}
