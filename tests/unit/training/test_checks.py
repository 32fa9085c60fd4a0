import numpy as np
import pytest

from app.errors import DataRefused
from app.training.checks import CheckOptions, check
from app.training.columns import categorical, numeric, typed

LABELS = ["no", "yes"] * 20


def names(checked):
    return [column.name for column in checked.dataset.columns]


def test_clean_data_pass_without_a_finding(dataset_of):
    checked = check(dataset_of(categorical("c", list("abcd") * 10)), CheckOptions())
    assert checked.report.findings == ()
    assert (checked.report.rows, checked.report.columns) == (40, 2)


def test_columns_without_information_are_dropped_and_reported(dataset_of):
    constant = categorical("always", ["x"] * 40)
    identifier = categorical("id", [f"k{n}" for n in range(40)])
    number = numeric("nr", np.arange(40))
    checked = check(dataset_of(constant, identifier, number), CheckOptions())
    assert names(checked) == ["x"]
    assert [finding.column for finding in checked.report.findings] == ["always", "id", "nr"]


def test_infinite_values_become_missing_ones(dataset_of):
    checked = check(dataset_of(typed("c", ["inf", "1", "2", "3"] * 10)), CheckOptions())
    assert [finding.check for finding in checked.report.findings] == ["infinite values", "missing values"]
    assert np.isnan(checked.dataset.columns[1].values).sum() == 10


def test_a_column_of_infinities_alone_is_constant(dataset_of):
    assert names(check(dataset_of(typed("c", ["inf"] * 40)), CheckOptions())) == ["x"]


def test_rows_without_a_target_are_dropped(dataset_of):
    checked = check(dataset_of(target=[None, "no", *LABELS[2:]]), CheckOptions())
    assert checked.report.rows == 39
    assert "lacks 1 of 40 values: those rows are dropped" in checked.report.findings[0].sentence


def test_all_that_is_wrong_is_refused_in_one_message(dataset_of):
    dates = categorical("day", ["2024-01-01", "2024-01-02"] * 20)
    copy = categorical("copy", LABELS)
    with pytest.raises(DataRefused) as refusal:
        check(dataset_of(dates, copy), CheckOptions())
    assert "'day' holds dates" in refusal.value.message
    assert "'copy' is a copy of the target" in refusal.value.message


def test_the_user_may_drop_what_is_refused(dataset_of):
    assert names(check(dataset_of(categorical("copy", LABELS)), CheckOptions(drop=("copy",)))) == ["x"]


def test_the_user_may_insist_on_a_suspect_column(dataset_of):
    kept = check(
        dataset_of(categorical("copy", LABELS), numeric("nr", np.arange(40))), CheckOptions(keep=("copy", "nr"))
    )
    assert names(kept) == ["x", "copy", "nr"]


@pytest.mark.parametrize("options", [CheckOptions(drop=("nope",)), CheckOptions(keep=("nope",))])
def test_options_for_unknown_columns_are_refused(dataset_of, options):
    with pytest.raises(DataRefused, match="no feature column 'nope'; there are: x"):
        check(dataset_of(), options)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (["only"] * 40, "only the class 'only'"),
        (["rare", *LABELS[1:]], "too rare to split: 'rare'"),
        (["a", "b", *[None] * 38], "2 rows with a value of the target .*; at least 10 are needed"),
    ],
)
def test_targets_that_cannot_be_learnt_are_refused(dataset_of, target, complaint):
    with pytest.raises(DataRefused, match=complaint):
        check(dataset_of(target=target), CheckOptions())


def test_a_regression_on_texts_is_refused(dataset_of):
    with pytest.raises(DataRefused, match="is not numbers"):
        check(dataset_of(), CheckOptions(task="regression"))


def test_nothing_left_to_learn_from_is_refused(dataset_of):
    dataset = dataset_of(categorical("c", ["k"] * 40))
    with pytest.raises(DataRefused, match="no feature is left: column 'c' is always 'k'"):
        check(dataset, CheckOptions(drop=("x",)))
    with pytest.raises(DataRefused, match="--drop leaves no feature"):
        check(dataset, CheckOptions(drop=("x", "c")))


def test_a_few_duplicates_are_kept_together(dataset_of):
    dataset = dataset_of().take(np.array([*range(40), 3]))
    checked = check(dataset, CheckOptions())
    assert "1 row the same as an earlier one: kept" in checked.report.of("duplicates")[0].sentence
    assert checked.first[40] == 3


def test_many_equal_rows_are_ordinary(dataset_of):
    dataset = dataset_of().take(np.array([*range(40)] * 3))
    checked = check(dataset, CheckOptions())
    assert "ordinary" in checked.report.of("duplicates")[0].sentence
    assert checked.first.tolist() == list(range(120))
