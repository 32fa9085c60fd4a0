import itertools
import multiprocessing

import pytest
from msgspec.structs import replace

from app.domain.experiment import CaseFacts, CovariateColumn
from app.errors import SettingError, StoreUnavailable
from app.services.control.config_watcher import Configurations, available_versions
from app.services.ports import RefusedVersion
from app.settings import Settings
from app.store.configurations import ConfigurationLog
from app.store.deployment import DeploymentKey
from app.store.engine import Database
from tests import builders
from tests.unit.services.recording.recorders import LOADED, Constant, models_of


class MemoryStore:
    def __init__(self):
        self.rows = []
        self.away = False

    def _reach(self):
        if self.away:
            raise StoreUnavailable("locked")

    def newer_than(self, known):
        self._reach()
        return self.rows[-1] if len(self.rows) > known.epoch else None

    def settle(self, decide):
        self._reach()
        wanted = decide(self.rows[-1] if self.rows else None)
        if wanted is not None:
            self.rows.append(replace(wanted, epoch=len(self.rows) + 1))
        return self.rows[-1] if self.rows else None


@pytest.fixture
def store():
    return MemoryStore()


def configurations(store, **settings):
    numbers = itertools.count(1)
    return Configurations(store, Settings(**settings), lambda: 7, lambda: f"e{next(numbers)}")


def test_the_start_settles_what_is_in_force(store):
    configuration = configurations(store).load(LOADED)
    assert (configuration.epoch, configuration.weights) == (1, {"v1": 0.5, "v2": 0.5})


def test_a_second_process_joins_what_the_first_settled(store):
    assert configurations(store).load(LOADED) == configurations(store).load(LOADED)
    assert len(store.rows) == 1


def test_a_poll_brings_news_once(store):
    process = configurations(store)
    first = process.load(LOADED)
    assert process.poll() is None
    store.rows.append(replace(first, epoch=2, weights={"v1": 0.0, "v2": 1.0}))
    assert process.poll() is store.rows[-1]
    assert process.poll() is None
    assert process.current() is store.rows[-1]


def test_without_a_store_the_settings_hold_at_epoch_0_until_it_is_back(store):
    store.away = True
    process = configurations(store)
    unsettled = process.load(LOADED)
    assert (unsettled.epoch, unsettled.weights) == (0, {"v1": 0.5, "v2": 0.5})
    assert process.poll() is None
    store.away = False
    assert process.poll().epoch == 1


def test_a_store_that_goes_away_later_changes_nothing_and_is_logged_once(store, caplog):
    process = configurations(store)
    first = process.load(LOADED)
    store.away = True
    assert [process.poll(), process.poll()] == [None, None]
    assert process.current() is first
    assert [record.message for record in caplog.records] == ["configuration_unreachable"]


def test_a_store_of_another_deployment_settles_nothing(store):
    def admit():
        raise StoreUnavailable("another key")

    process = Configurations(store, Settings(), admit=admit)
    assert (process.load(LOADED).epoch, process.poll(), store.rows) == (0, None, [])


def test_a_running_process_learns_at_a_poll_that_another_key_was_accepted_and_back(tmp_path):
    database, now_s = Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}"), 0.0
    key = DeploymentKey(database, "a1" * 16, clock=lambda: now_s)
    process = Configurations(ConfigurationLog(database), Settings(), admit=key.admit)
    process.load(LOADED)
    for accepted, foreign in (("b2" * 16, True), ("a1" * 16, False)):
        DeploymentKey(database, accepted).accept()
        now_s += 6.0
        assert process.poll() is None
        assert key.foreign is foreign
    database.close()


def test_settings_that_do_not_fit_the_loaded_models_stop_the_start_even_without_a_store(store):
    store.away = True
    with pytest.raises(SettingError, match="BASELINE"):
        configurations(store, baseline="v9").load(LOADED)


def test_an_empty_registry_has_a_configuration_that_counts_nothing(store):
    process = configurations(store)
    assert (process.load(models_of()).epoch, process.current().weights) == (0, {})
    assert process.poll() is None
    assert store.rows == []


def test_the_cases_of_the_loaded_versions_are_those_of_their_manifests():
    facts = CaseFacts(repeated_share=0.25, covariates=(CovariateColumn(feature=0, level="red"),))
    described = builders.loaded_version("v1", manifest=builders.manifest("v1", cases=facts))
    older = builders.loaded_version("v2", manifest={"version": "v2"})
    assert available_versions(builders.loaded_models(described, older)).cases == {"v1": facts, "v2": CaseFacts()}


def test_other_versions_loaded_later_settle_again(store):
    process = configurations(store)
    process.load(LOADED)
    later = process.load(models_of(v1=Constant(0), v2=Constant(1), v3=Constant(1)))
    assert (later.epoch, later.weights["v3"]) == (2, 0.0)


def test_the_available_versions_are_those_of_the_loaded_models():
    loaded_models = replace(LOADED, aliases={"champion": "v2"}, refused=(RefusedVersion("v3", "torn"),))
    available = available_versions(loaded_models)
    assert (available.versions, available.refused, available.champion) == (("v1", "v2"), ("v3",), "v2")


def _start(url):
    Configurations(ConfigurationLog(Database(url)), Settings()).load(LOADED)


def test_processes_that_start_at_once_begin_one_experiment(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    context = multiprocessing.get_context("fork")
    starters = [context.Process(target=_start, args=(url,)) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert [starter.exitcode for starter in starters] == [0] * 4
    assert ConfigurationLog(Database(url)).latest().epoch == 1


def test_a_patch_survives_a_restart_with_a_real_store(tmp_path):
    log = ConfigurationLog(Database(f"sqlite:///{tmp_path / 'x.sqlite'}"))
    Configurations(log, Settings(error_range=(0.0, 1.5))).load(LOADED)
    log.settle(lambda latest: replace(latest, weights={"v1": 0.1, "v2": 0.9}, source="patch"))
    again = Configurations(log, Settings(error_range=(0.0, 1.5))).load(LOADED)
    assert (again.epoch, again.weights) == (2, {"v1": 0.1, "v2": 0.9})


def test_what_was_loaded_without_the_store_decides_nothing_until_it_is_loaded_again(store):
    process = configurations(store)
    assert process.load(replace(LOADED, unrecorded=True)).epoch == 0
    assert process.poll() is None
    assert store.rows == []
    assert process.load(LOADED).epoch == 1


def test_a_version_that_another_host_has_otherwise_keeps_its_traffic_there(store):
    configurations(store).load(LOADED)
    refused = (RefusedVersion("v2", "another one", elsewhere=True),)
    here = configurations(store).load(replace(models_of(v1=Constant(0)), refused=refused))
    assert (here.epoch, here.weights) == (1, {"v1": 0.5, "v2": 0.5})


def test_a_version_that_one_host_of_several_refuses_keeps_its_traffic(store):
    configurations(store).load(LOADED)
    torn = replace(models_of(v1=Constant(0)), refused=(RefusedVersion("v2", "torn"),))
    assert configurations(store).load(replace(torn, shared=True)).weights == {"v1": 0.5, "v2": 0.5}
    assert configurations(store).load(torn).weights == {"v1": 1.0, "v2": 0.0}  # on one host the other one serves on
