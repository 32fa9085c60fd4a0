import pytest
from msgspec.structs import replace

from app.errors import ArtefactRefused, Contradiction, SettingError, StoreUnavailable, Unavailable
from app.services.ports import RefusedVersion
from app.services.serving.reload import Reload
from tests.builders import configuration, loaded_models
from tests.builders import loaded_version as version


class Host:
    """What the workers of a host share."""

    def __init__(self):
        self.wanted, self.confirmed, self.lost, self.versions = "", {}, False, {}
        self.busy = False

    def require(self):
        if self.lost:
            raise OSError("gone")

    def of(self, worker):
        host = self

        class Generations:
            def current(self):
                host.require()
                return host.wanted

            def advance(self):
                host.require()
                host.wanted += "+"
                return host.wanted

            def confirm(self, generation, versions):
                host.require()
                if host.busy:
                    raise StoreUnavailable("locked")
                host.confirmed[worker] = generation
                host.versions[worker] = set(versions)

            def lacking(self, generation=None):
                return {worker: sorted({"v1", "v2"} - has) for worker, has in host.versions.items() if len(has) < 2}

            def behind(self, generation):
                return 0

            def leave(self):
                host.require()
                del host.confirmed[worker]

        return Generations()


class Worker:
    def __init__(self, loaded_models, registry, host=None, name="a"):
        self.loaded_models, self.registry, self.served, self.refuses = loaded_models, registry, [], None
        self.loads, self.error, self.weights = 0, None, {"v1": 1.0}
        self.reload = Reload(lambda: self.loaded_models, self.load, self.serve, (host or Host()).of(name), "")

    def load(self, _before):
        self.loads += 1
        if self.error:
            raise self.error
        return self.registry

    def serve(self, loaded_models):
        if self.refuses:
            raise self.refuses
        self.loaded_models = loaded_models
        self.served.append(loaded_models)
        return configuration(self.weights, epoch=4)


def test_the_report_says_what_was_kept_loaded_replaced_and_removed():
    v1, v2, v3 = version("v1"), version("v2"), version("v3")
    report = Worker(loaded_models(v1, v2, v3), loaded_models(v1, version("v2", sha256="t"), version("v4"))).reload.now()
    assert {name: each.change for name, each in report.served.items()} == {
        "v1": "kept",
        "v2": "replaced",
        "v4": "loaded",
    }
    assert (report.removed, report.served["v2"].sha256, report.epoch) == (("v3",), "t", 4)


def test_the_report_says_which_loaded_version_waits_for_one_that_is_lacking_here():
    worker = Worker(loaded_models(version("v1")), loaded_models(version("v1"), version("v8")))
    assert worker.reload.now().excluded == {}
    worker.weights = {"v1": 1.0, "v6": 0.0}
    assert [*worker.reload.now().excluded] == ["v8"]


def test_what_is_refused_is_named_with_the_reason_and_whether_it_still_serves():
    v1 = version("v1")
    refused = (RefusedVersion("v1", "torn"), RefusedVersion("v5", "forged"))
    report = Worker(loaded_models(v1), loaded_models(v1, refused=refused)).reload.now()
    assert {name: (each.reason, each.still_served) for name, each in report.refused.items()} == {
        "v1": ("torn", True),
        "v5": ("forged", False),
    }


def test_an_empty_registry_does_not_end_a_running_service():
    worker = Worker(loaded_models(version("v1")), loaded_models())
    with pytest.raises(Contradiction, match=r"it is empty\); the loaded versions go on serving"):
        worker.reload.now()
    assert not worker.served


def test_the_first_versions_of_all_can_be_loaded_without_a_restart():
    worker = Worker(loaded_models(), loaded_models(version("v1")))
    assert worker.reload.now().served["v1"].change == "loaded"


def test_settings_that_do_not_fit_the_registry_are_a_conflict_and_no_other_worker_reloads():
    host = Host()
    worker = Worker(loaded_models(version("v1")), loaded_models(version("v2")), host)
    worker.refuses = SettingError("BASELINE", "no version 'v1'")
    with pytest.raises(Contradiction, match="BASELINE"):
        worker.reload.now()
    assert host.wanted == ""


def test_the_other_workers_follow_once():
    host = Host()
    one, other = (Worker(loaded_models(version("v1")), loaded_models(version("v2")), host, name) for name in "ab")
    one.reload.now()
    other.reload.follow(), other.reload.follow(), one.reload.follow()
    assert [len(one.served), len(other.served)] == [1, 1]
    assert host.confirmed == {"a": "+", "b": "+"}


def test_the_report_says_which_host_lacks_what():
    host = Host()
    one = Worker(loaded_models(version("v1")), loaded_models(version("v1"), version("v2")), host, "a")
    other = Worker(loaded_models(version("v1")), loaded_models(version("v1")), host, "b")
    other.reload.start()
    assert one.reload.now().lacking == {"b": ["v2"]}
    other.registry = one.registry
    other.reload.again()
    assert one.reload.now().lacking == {}


def test_only_the_worker_that_was_asked_takes_what_is_gone_out_of_the_split():
    host = Host()
    one, other = (Worker(loaded_models(version("v1")), loaded_models(version("v2")), host, name) for name in "ab")
    one.reload.now()
    other.reload.follow()
    assert (one.loaded_models.removed, other.loaded_models.removed) == (("v1",), ())


def test_a_version_that_was_refused_is_gone_too_and_stays_so():
    broken = loaded_models(version("v1"), refused=(RefusedVersion("v2", "torn"),))
    worker = Worker(broken, loaded_models(version("v1")))
    for _ in range(2):
        worker.reload.now()
        assert worker.loaded_models.removed == ("v2",)


def test_what_was_removed_stays_so_until_it_is_back_when_nobody_asked():
    worker = Worker(loaded_models(version("v1"), version("v2")), loaded_models(version("v1")))
    worker.reload.now()
    worker.reload.again()
    assert worker.loaded_models.removed == ("v2",)
    worker.reload.now()
    assert worker.loaded_models.removed == ("v2",)
    worker.registry = loaded_models(version("v1"), version("v2"))
    worker.reload.again()
    assert worker.loaded_models.removed == ()


def test_what_cannot_be_loaded_again_is_tried_with_pauses_and_said_once(caplog, monkeypatch):
    now = {"s": 100.0}
    monkeypatch.setattr("app.services.serving.reload.time.monotonic", lambda: now["s"])
    worker = Worker(loaded_models(version("v1")), loaded_models())
    for after_s in (0, 1, 1, 4, 1, 10):  # 5 s, and 10 s after the second failure
        now["s"] += after_s
        worker.reload.again()
    assert worker.loads == 3
    assert [record.message for record in caplog.records] == ["not_loaded_again"]
    worker.registry = loaded_models(version("v1"))
    now["s"] += 20
    worker.reload.again(), worker.reload.again()
    assert (worker.loads, len(worker.served)) == (5, 2)


def test_what_keeps_the_registry_from_being_loaded_again_is_told_as_it_is_now(caplog, monkeypatch):
    now = {"s": 100.0}
    monkeypatch.setattr("app.services.serving.reload.time.monotonic", lambda: now["s"])
    away = RefusedVersion("s3://models", "cannot be reached; the copy is used", registry=True)
    worker = Worker(loaded_models(version("v1"), refused=[away, RefusedVersion("v2", "torn")]), loaded_models())
    for error in (
        Unavailable("the model registry at s3://models answers 403"),
        None,
        ArtefactRefused("v1", "torn"),
        ArtefactRefused("v1", "torn"),
    ):
        worker.error = error
        now["s"] += 100
        worker.reload.again()
        told = [each.reason for each in worker.loaded_models.refused]
        alone = str(error).removeprefix("the model registry at s3://models ")  # whoever shows it names the registry
        assert told == [alone if error else told[0], "torn"]
        assert "cannot be reached" not in told[0]
    logged = [record.event_fields["reason"] for record in caplog.records if record.message == "not_loaded_again"]
    assert ["it is empty" in logged[0], logged[1:]] == [True, ["v1: torn"]]


def test_a_store_that_still_does_not_know_the_versions_is_not_asked_in_every_tick():
    worker = Worker(loaded_models(version("v1")), replace(loaded_models(version("v1")), unrecorded=True))
    worker.reload.again(), worker.reload.again()
    assert worker.loads == 1


def test_a_worker_that_cannot_follow_says_so_once_and_serves_on(caplog):
    host = Host()
    one, other = (
        Worker(loaded_models(version("v1")), loaded_models(version("v2")), host),
        Worker(loaded_models(version("v1")), loaded_models(), host),
    )
    one.reload.now()
    other.reload.follow(), other.reload.follow()
    assert [record.message for record in caplog.records].count("reload_not_followed") == 1
    assert list(other.loaded_models.versions) == ["v1"]


def test_a_worker_that_could_not_follow_tries_again(monkeypatch):
    now = {"s": 100.0}
    monkeypatch.setattr("app.services.serving.reload.time.monotonic", lambda: now["s"])
    host = Host()
    one, other = (Worker(loaded_models(version("v1")), loaded_models(version("v2")), host, name) for name in "ab")
    one.reload.now()
    registry, other.registry = other.registry, loaded_models()
    other.reload.follow()
    other.registry = registry
    other.reload.follow()
    assert list(other.loaded_models.versions) == ["v1"]
    now["s"] += 6
    other.reload.follow()
    assert (list(other.loaded_models.versions), host.confirmed) == (["v2"], {"a": "+", "b": "+"})


def test_a_new_worker_catches_up_before_it_serves():
    host = Host()
    host.wanted = "earlier"
    late = Worker(loaded_models(version("v1")), loaded_models(version("v1"), version("v2", 2)), host)
    late.reload.start()
    assert list(late.loaded_models.versions) == ["v1", "v2"]
    assert host.confirmed == {"a": "earlier"}


def test_a_lost_folder_does_not_keep_this_worker_from_reloading():
    host = Host()
    host.lost = True
    worker = Worker(loaded_models(version("v1")), loaded_models(version("v2")), host)
    report = worker.reload.now()
    assert (report.announced, report.workers_behind) == (False, None)
    worker.reload.follow()
    assert list(worker.loaded_models.versions) == ["v2"]


def two_workers(host):
    return (Worker(loaded_models(version("v1")), loaded_models(version("v2")), host, name) for name in "ab")


def events(caplog):
    return [record.message for record in caplog.records if "announced" in record.message or "confirm" in record.message]


def test_a_reload_that_could_not_be_announced_is_once_the_store_answers_and_only_once(caplog):
    caplog.set_level("INFO")
    host = Host()
    one, other = two_workers(host)
    host.lost = True
    for _ in range(2):
        one.reload.now()
        one.reload.follow()
    host.lost = False
    for _ in range(3):
        one.reload.follow(), other.reload.follow()
    assert (host.wanted, host.confirmed) == ("+", {"a": "+", "b": "+"})
    assert [len(one.served), len(other.served)] == [2, 1]
    assert events(caplog) == ["reload_not_announced", "reload_announced"]


def test_the_next_reload_announces_what_the_one_before_could_not():
    host = Host()
    one, other = two_workers(host)
    host.lost = True
    one.reload.now()
    host.lost = False
    assert one.reload.now().announced
    one.reload.follow(), other.reload.follow()
    assert (host.wanted, len(other.served)) == ("+", 1)


def test_a_reload_of_another_host_meanwhile_is_followed_before_ones_own_is_announced():
    host = Host()
    one, other = two_workers(host)
    host.lost = True
    one.reload.now()  # which other hosts may have done before, or after
    host.lost = False
    other.reload.now()
    one.reload.follow(), other.reload.follow(), one.reload.follow()
    assert (host.wanted, host.confirmed) == ("++", {"a": "++", "b": "++"})
    assert [len(one.served), len(other.served)] == [2, 2]


def test_a_reload_of_another_worker_while_one_loads_is_not_hidden():
    host = Host()
    one, other = two_workers(host)
    newer = loaded_models(version("v2"), version("v3"))

    def load_slowly(_before):
        other.registry = newer
        other.reload.now()
        return one.registry

    loads = iter([load_slowly, lambda _before: newer])
    one.reload = Reload(lambda: one.loaded_models, lambda before: next(loads)(before), one.serve, host.of("a"), "")
    assert one.reload.now().announced
    one.reload.follow()
    assert list(one.loaded_models.versions) == ["v2", "v3"]


def test_a_store_that_is_busy_is_told_again_what_a_worker_has_loaded(caplog):
    host = Host()
    host.busy = True
    worker = Worker(loaded_models(version("v1")), loaded_models(version("v1")), host)
    worker.reload.start()
    assert (host.confirmed, events(caplog)) == ({}, [])  # as where many workers start at once
    worker.reload.follow(), worker.reload.follow()
    assert (host.confirmed, events(caplog)) == ({}, ["reload_not_confirmed"])
    assert not any(record.exc_info for record in caplog.records)
    host.busy = False
    worker.reload.follow()
    assert host.versions == {"a": {"v1"}}
    host.busy, worker.registry = True, loaded_models(version("v1"), version("v2"))
    worker.reload.again()
    host.busy = False
    worker.reload.follow()
    assert host.versions == {"a": {"v1", "v2"}}


@pytest.mark.parametrize("lost", [False, True])
def test_a_worker_that_ends_leaves_and_a_store_that_is_away_does_not_stop_it(lost):
    host = Host()
    worker = Worker(loaded_models(version("v1")), loaded_models(version("v1")), host)
    worker.reload.start()
    host.lost = lost
    worker.reload.stop()
    assert bool(host.confirmed) is lost
