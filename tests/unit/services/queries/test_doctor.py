import msgspec
import pytest

from app.domain.manifest import Parity
from app.services.queries import doctor
from tests.web.fakes import IRIS, manifest

MIB, GIB, NOW_US = 1024**2, 1024**3, 1_790_000_000_000_000


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (doctor.of_disk("/", 10 * GIB), "ok"),
        (doctor.of_disk("/", GIB), "warn"),
        (doctor.of_disk("/", 10 * MIB), "broken"),
        (doctor.of_disk("/", 10 * GIB, GIB / 2), "ok"),
        (doctor.of_disk("/", 10 * GIB, GIB), "warn"),
        (doctor.of_disk("/", 10 * GIB, 0.0), "ok"),
        (doctor.of_backup(47 * 3600.0), "ok"),
        (doctor.of_backup(49 * 3600.0), "warn"),
        (doctor.of_backup(None), "warn"),
        (doctor.of_archive(71 * 3600.0, None), "ok"),
        (doctor.of_archive(73 * 3600.0, None), "warn"),
        (doctor.of_archive(1.0, "no file"), "broken"),
        (doctor.of_wal(4 * MIB), "ok"),
        (doctor.of_wal(GIB), "warn"),
        (doctor.of_integrity(None, True), "ok"),
        (doctor.of_integrity(None, False), "warn"),
        (doctor.of_integrity("row 5 missing from index", True), "broken"),
        (doctor.of_monitor(2.0), "ok"),
        (doctor.of_monitor(31.0), "warn"),
        (doctor.of_monitor(None), "warn"),
        (doctor.of_clock(NOW_US, NOW_US - 1), "ok"),
        (doctor.of_clock(NOW_US, NOW_US + 60_000_000), "warn"),
        (doctor.of_clock(NOW_US, None), "ok"),
        (doctor.of_clock(0, None), "broken"),
        (doctor.of_port("API_PORT", 5000, taken=False, ours=False), "ok"),
        (doctor.of_port("API_PORT", 5000, taken=True, ours=True), "ok"),
        (doctor.of_port("API_PORT", 5000, taken=True, ours=False), "broken"),
        (doctor.of_registry("models", 2, 1), "ok"),
        (doctor.of_registry("models", 2, 0), "broken"),
        (doctor.of_refused("v1", "torn", signed=True, other_key=False), "broken"),
        (doctor.of_registry("models", 0, 0), "broken"),
        (doctor.of_packages({"flask": "3"}, {"flask": "3"})[0], "ok"),
        (doctor.of_packages({"flask": "3"}, {"flask": "2"})[0], "warn"),
        (doctor.of_packages({"flask": "3"}, {"flask": None})[0], "broken"),
    ],
)
def test_each_rule_has_its_thresholds_and_its_advice(finding, state):
    assert finding.state == state
    assert (finding.advice is None) is (state == "ok")


def test_a_disk_says_in_how_many_days_it_is_full():
    assert doctor.of_disk("/data", 10 * GIB, GIB / 2).detail == (
        "10.0 GiB free at /data; at the log's present rate, 0.5 GiB a day, it is full in 20 days"
    )


def test_ages_are_hours_and_then_days():
    assert "5.0 hours" in doctor.of_backup(5 * 3600.0).detail
    assert "3.5 days" in doctor.of_backup(3.5 * 86_400).detail


@pytest.mark.parametrize(
    ("newest_us", "words"),
    [(NOW_US - 1, "not behind the newest prediction"), (None, "no prediction in the log to compare with")],
)
def test_a_clock_is_compared_only_with_a_log_that_has_a_prediction(newest_us, words):
    assert words in doctor.of_clock(NOW_US, newest_us).detail


@pytest.mark.parametrize(
    ("runtime", "holds", "installed", "state"),
    [
        ("onnx", True, "1.9", "ok"),
        ("onnx", True, "2.0", "ok"),
        ("onnx", False, "1.9", "broken"),
        ("sklearn", False, "1.9", "ok"),
        ("sklearn", False, "2.0", "warn"),
    ],
)
def test_a_version_is_judged_by_what_runs_it(runtime, holds, installed, state):
    parity = Parity(rows=100, flips=0, settled=0, largest_difference=0.0, holds=holds)
    version = msgspec.structs.replace(manifest("v1", 1, IRIS), runtime=runtime, parity=parity)
    assert doctor.of_version(version, installed).state == state
