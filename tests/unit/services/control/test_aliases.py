import pytest
from msgspec.structs import replace

from app.errors import ArtefactRefused, Unavailable, UnknownVersion
from app.services.control.aliases import AliasKeeper, ChampionElsewhere, aliases_after, reconcile_aliases
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


def test_a_read_only_registry_is_logged_once_and_tried_again_after_a_while(caplog):
    registry, now = MemoryRegistry({"champion": "v1"}), {"s": 0.0}
    registry.error = PermissionError("read-only")
    keeper = AliasKeeper(registry, lambda: now["s"])
    keep_at(keeper, now, 0.0, 1.0, 30.0)
    assert [record.message for record in caplog.records] == ["aliases_not_moved"]
    registry.error = None
    keep_at(keeper, now, 59.0)
    assert registry.table == {"champion": "v1"}
    keep_at(keeper, now, 60.0)
    assert registry.table == {"champion": "v2"}


def test_a_champion_that_this_host_lacks_is_said_to_be_missing_here(caplog):
    registry = MemoryRegistry({"champion": "v1"})
    registry.error = UnknownVersion("there is no version 'v2' in the model registry")
    AliasKeeper(registry).keep(LED_BY_V2)
    [told] = caplog.records
    assert "in the model registry of this host (on S3: in its copy); the alias moves" in told.event_fields["reason"]


def keep_at(keeper, now, *seconds):
    for now["s"] in seconds:
        keeper.keep(LED_BY_V2)


class Elsewhere:
    """Another server, which raises `error`, or has `versions` under these names."""

    def __init__(self, versions=("v1", "v2")):
        self.versions, self.error, self.pointed, self.now_s = versions, None, [], 0.0
        self.configuration = LED_BY_V2
        self.keeper = ChampionElsewhere(lambda: self.configuration, self.point, lambda: self.now_s)

    def point(self, version):
        if self.error is not None:
            raise self.error
        self.pointed.append(version)
        return f"iris version {version[1:]}" if version in self.versions else None

    def promote(self, version):
        self.configuration = replace(BASE, champion=version)
        self.keeper.tick()


def test_each_new_champion_is_pointed_at_once_elsewhere():
    elsewhere = Elsewhere()
    elsewhere.keeper.tick()
    elsewhere.keeper.tick()
    elsewhere.promote("v1")
    elsewhere.promote(None)
    assert elsewhere.pointed == ["v2", "v1"]


def test_a_server_that_is_away_is_logged_once_and_asked_again_after_a_while(caplog):
    elsewhere = Elsewhere()
    elsewhere.error = Unavailable("it refuses connections")
    for now_s in (0.0, 1.0, 30.0):
        elsewhere.now_s = now_s
        elsewhere.keeper.tick()
    assert [record.message for record in caplog.records] == ["mlflow_alias_not_moved"]
    elsewhere.error, elsewhere.now_s = None, 59.0
    elsewhere.keeper.tick()
    assert elsewhere.pointed == []
    elsewhere.now_s = 60.0
    elsewhere.keeper.tick()
    assert elsewhere.pointed == ["v2"]


def test_a_champion_that_the_other_server_lacks_is_logged(caplog):
    elsewhere = Elsewhere(versions=())
    elsewhere.keeper.tick()
    elsewhere.keeper.tick()
    assert [record.message for record in caplog.records] == ["mlflow_lacks_champion"]
    assert elsewhere.pointed == ["v2"]
